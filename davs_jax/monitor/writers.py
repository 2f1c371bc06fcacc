"""Writers of metrics and images: files, TensorBoard, Weights & Biases. All scalars of one call form one event."""

import hashlib
import json
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from etils import epath
from tensorboardX import SummaryWriter

from davs_jax.display import plots
from davs_jax.errors import DavsError, first_line

EVENTS = "metrics.jsonl"


class WriterError(DavsError):
    """A writer that cannot be used."""


class Writer(Protocol):
    """Writes metrics and images. Steps come in order; a resumed run rewrites the events after its checkpoint."""

    def scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one event."""

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Writes an image, uint8 RGB `[H, W, 3]`."""

    def close(self) -> None:
        """Writes everything that is still buffered."""


class Files:
    """`metrics.jsonl`, one JSON object per event, and `images/NAME_STEP.png`.

    Args:
      first: step from which the run starts or resumes; later events, of a killed run, are removed.
    """

    def __init__(self, workdir: epath.Path, first: int):
        self._images, self._events = workdir / "images", workdir / EVENTS
        self._images.mkdir(parents=True, exist_ok=True)
        lines = self._events.read_text().splitlines(keepends=True) if self._events.exists() else []
        # A killed run may have left the last line incomplete.
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= first]
        self._events.write_text("".join(kept))

    def scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        append(self._events, json.dumps({"step": step, **scalars}))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        (self._images / f"{name}_{step:08d}.png").write_bytes(plots.png(image))

    def close(self) -> None:
        pass


class TensorBoard:
    """`tensorboard/`; arguments as of `Files`."""

    def __init__(self, workdir: epath.Path, first: int):
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=first + 1)

    def scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        self._board.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        self._board.close()


class WeightsAndBiases:
    """One Weights & Biases run per workdir; it resumes with the workdir. WANDB_MODE=offline keeps it on this machine.

    Args:
      project: name of the project at Weights & Biases.

    Raises:
      WriterError: the package is not installed, or cannot start a run.
    """

    def __init__(self, workdir: epath.Path, project: str):
        try:
            import wandb
        except ImportError as error:
            raise WriterError(
                f"config.log.wandb={project} needs the extra `wandb`", "pip install 'davs_jax[wandb]'"
            ) from error
        name = workdir.resolve().as_posix()
        self._image = wandb.Image
        try:
            self._run = wandb.init(
                project=project,
                name=name.rsplit("/", 1)[-1],
                id=hashlib.sha256(name.encode()).hexdigest()[:16],
                resume="allow",
                dir=str(workdir),
                settings=wandb.Settings(silent=True),
            )
        except wandb.Error as error:
            raise WriterError(
                f"config.log.wandb={project}: {first_line(error)}", "set WANDB_MODE=offline to log to the disk only"
            ) from error
        # wandb's own counter only grows; a resumed run must be able to rewrite steps.
        self._run.define_metric("*", step_metric="step")

    def scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log({"step": step, **scalars})

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        self._run.log({"step": step, name: self._image(image)})

    def close(self) -> None:
        self._run.finish()


def append(path: epath.Path, line: str) -> None:
    """Appends a line to a file, local or in a bucket."""
    if "://" in str(path):  # object stores cannot append
        before = path.read_text() if path.exists() else ""
        path.write_text(f"{before}{line}\n")
        return
    with path.open("a") as file:
        file.write(f"{line}\n")

"""Where metrics and pictures go: one interface, one class for each place. All scalars of a call are one event."""

import hashlib
import json
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from etils import epath
from tensorboardX import SummaryWriter

from davs_jax.display import plots

EVENTS = "metrics.jsonl"


class WriterError(RuntimeError):
    """A place that cannot be written to; the message says what to do."""


class Writer(Protocol):
    """A place for metrics. Steps come in order; a run that goes on writes again what came after its checkpoint."""

    def scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one event."""

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Writes a picture, uint8 RGB `[H, W, 3]`."""

    def close(self) -> None:
        """Writes what is still held back."""


class Files:
    """`metrics.jsonl`, one JSON object per event, and `images/NAME_STEP.png`.

    Args:
      first: events after this step, of a run that was killed, are cut off.
    """

    def __init__(self, workdir: epath.Path, first: int):
        self._images, self._events = workdir / "images", workdir / EVENTS
        self._images.mkdir(parents=True, exist_ok=True)
        lines = self._events.read_text().splitlines(keepends=True) if self._events.exists() else []
        # The last line may have been being written when the run was killed.
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= first]
        self._events.write_text("".join(kept))

    def scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        append(self._events, json.dumps({"step": step, **scalars}))

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        (self._images / f"{name}_{step:08d}.png").write_bytes(plots.png(picture))

    def close(self) -> None:
        pass


class TensorBoard:
    """`tensorboard/`; arguments as of `Files`."""

    def __init__(self, workdir: epath.Path, first: int):
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=first + 1)

    def scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._board.add_scalar(name, value, step)

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        self._board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        self._board.close()


class WeightsAndBiases:
    """A run of Weights & Biases for each workdir, which goes on where that does; $WANDB_MODE=offline keeps it here.

    Args:
      project: its name there.

    Raises:
      WriterError: the package is not installed, or refuses.
    """

    def __init__(self, workdir: epath.Path, project: str):
        try:
            import wandb
        except ImportError as error:
            raise WriterError(f"config.log.wandb={project} needs the extra: pip install 'davs_jax[wandb]'") from error
        name = workdir.resolve().as_posix()
        self._picture = wandb.Image
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
                f"config.log.wandb={project}: {error}; WANDB_MODE=offline keeps all on the disk"
            ) from error
        # Its own counter only grows; a run that goes on must be able to write steps again.
        self._run.define_metric("*", step_metric="step")

    def scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        self._run.log({"step": step, **scalars})

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        self._run.log({"step": step, name: self._picture(picture)})

    def close(self) -> None:
        self._run.finish()


def append(path: epath.Path, line: str) -> None:
    """Appends a line to a file."""
    if "://" in str(path):  # object stores cannot append
        before = path.read_text() if path.exists() else ""
        path.write_text(f"{before}{line}\n")
        return
    with path.open("a") as file:
        file.write(f"{line}\n")

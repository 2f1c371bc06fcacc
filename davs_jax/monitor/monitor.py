"""Training metrics, throughput, progress bar and NaN guard of a run.

The workdir gets `metrics.jsonl` (one JSON object per event: `step` and scalars), `tensorboard/`, `images/` (PNG) and
`goodput.jsonl` (see `goodput`). `python -m davs_jax.monitor WORKDIR` shows them on one page of the terminal.
"""

import collections
import contextlib
import math
import time
from collections.abc import Iterator, Mapping

import jax
import numpy as np
from etils import epath
from tqdm import tqdm

from davs_jax.display.progress import progress
from davs_jax.errors import DavsError
from davs_jax.monitor import goodput
from davs_jax.monitor.goodput import Account
from davs_jax.monitor.writers import Files, TensorBoard, WeightsAndBiases, Writer

DELAY = 2  # steps after which a step's metrics are read, so that the devices always have dispatched work
# Shown beside the progress bar, where the stage has them.
SHOWN = ("time/clips_per_second", "time/waiting_for_data", "loss/total", "loss/l1_audio", "accuracy/word_video")


class NotFiniteError(DavsError):
    """A metric became NaN or infinite; the message names the step and the metric."""


class Monitor:
    """Monitors the steps of one run. Every process makes the same calls; only process 0 writes.

    Each step is `with monitor.waiting(): batch = next(batches)`, dispatch, `monitor.step(number, metrics)`.

    Args:
      workdir: folder of the run.
      first: step from which the run starts or resumes; later events, of a killed run, are removed.
      last: step at which it ends.
      clips: examples per step, for the throughput.
      account: of the run's time; a new one by default.
      wandb: project at Weights & Biases; "" is none.

    Raises:
      WriterError: Weights & Biases is requested and cannot be used.
    """

    def __init__(
        self, workdir: epath.Path, first: int, last: int, clips: int, account: Account | None = None, wandb: str = ""
    ):
        self._clips, self._writes = clips, jax.process_index() == 0
        self._account = account or Account(workdir, first, last, self._writes)
        self._pending: collections.deque[tuple[int, Mapping[str, jax.Array]]] = collections.deque()
        self._sums: collections.Counter[str] = collections.Counter()
        self._steps, self._busy, self._waited, self._began = 0, 0.0, 0.0, 0.0
        self._bar = progress(total=last, initial=first, unit="step", disable=not self._writes)
        self._writers: list[Writer] = []
        if self._writes:
            self._writers = [Files(workdir, first), TensorBoard(workdir, first)]
            if wandb:
                self._writers.append(WeightsAndBiases(workdir, wandb))

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Times the wait for the next batch, in which a step's time begins."""
        self._began = time.perf_counter()
        yield
        waited = time.perf_counter() - self._began
        self._waited += waited
        self._account.add("data", waited)
        self._account.add("step", -waited)  # `step` counts from when the wait began

    def step(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Records the metrics of a dispatched step, and reads those of the step `DELAY` steps before.

        Args:
          step: its number, from 1.
          metrics: scalars, still on the devices.

        Raises:
          NotFiniteError: a metric of the earlier step is not finite.
        """
        for value in metrics.values():
            value.copy_to_host_async()
        self._pending.append((step, metrics))
        self._settle(DELAY)
        self._steps += 1
        self._count(self._began)
        self._bar.update()

    def settle(self) -> None:
        """Reads the metrics of all steps so far; to be called before their state is saved.

        Raises:
          NotFiniteError: a metric is not finite.
        """
        began = time.perf_counter()
        self._settle(0)
        self._count(began)

    def _count(self, began: float) -> None:
        """Counts the time since `began` as step time."""
        seconds = time.perf_counter() - began
        self._busy += seconds
        self._account.add("step", seconds)

    def _settle(self, left: int) -> None:
        """Reads the metrics of pending steps until `left` are pending."""
        while len(self._pending) > left:
            step, metrics = self._pending.popleft()
            values = {name: float(value) for name, value in metrics.items()}
            if bad := [f"{name} is {value}" for name, value in sorted(values.items()) if not math.isfinite(value)]:
                raise NotFiniteError(
                    f"step {step}: {', '.join(bad)}; stopped before saving it",
                    "lower config.optim.learning_rate and rerun the command: it resumes from the last checkpoint; or "
                    "set config.optim.clip_norm and start anew in another workdir",
                )
            self._sums.update(values)

    def log(self, step: int) -> None:
        """Writes the mean metrics and the throughput of the steps since the last call.

        Raises:
          NotFiniteError: as `settle`.
        """
        self.settle()
        scalars = {name: total / self._steps for name, total in self._sums.items()}
        scalars["time/steps_per_second"] = self._steps / self._busy
        scalars["time/clips_per_second"] = self._steps * self._clips / self._busy
        scalars["time/waiting_for_data"] = self._waited / self._busy
        scalars |= goodput.shares(self._account.total(step))
        self.scalars(step, scalars)
        self._bar.set_postfix({name.split("/")[1]: f"{scalars[name]:.3g}" for name in SHOWN if name in scalars})
        self._sums.clear()
        self._steps, self._busy, self._waited = 0, 0.0, 0.0

    def scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one event."""
        for writer in self._writers:
            writer.scalars(step, scalars)
        self._account.note(step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """Writes an image, uint8 RGB `[H, W, 3]`."""
        for writer in self._writers:
            writer.image(step, name, image)

    def say(self, text: str) -> None:
        """Prints a line above the progress bar."""
        if self._writes:
            tqdm.write(text)

    def close(self) -> None:
        """Closes the progress bar and the writers."""
        self._bar.close()
        for writer in self._writers:
            writer.close()

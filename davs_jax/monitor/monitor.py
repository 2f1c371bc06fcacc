"""What a training run says of itself: throughput, the progress bar, the NaN stop, and what all writers are told.

    python -m davs_jax.monitor W           shows the run in the workdir W on one page, live; Ctrl-C ends it
    python -m davs_jax.monitor W --once    shows it once

In the workdir: `metrics.jsonl` (one JSON object per event: `step` and scalars), `tensorboard/`, `images/` (PNG) and
`goodput.jsonl` (the account of time).
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
from davs_jax.monitor import goodput
from davs_jax.monitor.goodput import Account
from davs_jax.monitor.writers import Files, TensorBoard, WeightsAndBiases, Writer

DELAY = 2  # steps after which a step's metrics are looked at: the devices always have work, and never too much
# Beside the progress bar, where the stage has them.
SHOWN = ("time/clips_per_second", "time/waiting_for_data", "loss/total", "loss/l1_audio", "accuracy/word_video")


class NotFiniteError(ArithmeticError):
    """A metric became NaN or infinite; the message names step and terms."""


class Monitor:
    """Follows the steps of one run; every process makes the same calls, only the first writes.

    Args:
      workdir: folder of the run.
      first: step at which the run starts or goes on; events after it, of a run that was killed, are cut off.
      last: step at which it ends.
      clips: examples per step, for the throughput.
      account: of the run's time; a new one where none is given.
      wandb: project of Weights & Biases; "" is none.

    Raises:
      WriterError: Weights & Biases is asked for and cannot be used.
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
        """To be wrapped around the wait for the next batch: a step's time begins here."""
        self._began = time.perf_counter()
        yield
        waited = time.perf_counter() - self._began
        self._waited += waited
        self._account.add("data", waited)
        self._account.add("step", -waited)  # `step` counts from when the wait began

    def step(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Takes note of a dispatched step, and looks at the one `DELAY` steps before.

        Raises:
          NotFiniteError: that earlier step's metrics are not all finite.
        """
        for value in metrics.values():
            value.copy_to_host_async()
        self._pending.append((step, metrics))
        self._settle(DELAY)
        self._steps += 1
        self._work(self._began)
        self._bar.update()

    def settle(self) -> None:
        """Looks at all steps so far: to be called before their state is saved.

        Raises:
          NotFiniteError: metrics of a step are not all finite.
        """
        began = time.perf_counter()
        self._settle(0)
        self._work(began)

    def _work(self, began: float) -> None:
        seconds = time.perf_counter() - began
        self._busy += seconds
        self._account.add("step", seconds)

    def _settle(self, left: int) -> None:
        while len(self._pending) > left:
            step, metrics = self._pending.popleft()
            values = {name: float(value) for name, value in metrics.items()}
            if bad := [f"{name} is {value}" for name, value in sorted(values.items()) if not math.isfinite(value)]:
                raise NotFiniteError(
                    f"step {step}: {', '.join(bad)}; stopped before saving it. Lower config.optim.learning_rate or set "
                    "config.optim.clip_norm, and run again: it goes on from the last checkpoint"
                )
            self._sums.update(values)

    def log(self, step: int) -> None:
        """Writes the metrics' means, and the throughput, over the steps since the last call.

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

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Writes a picture, uint8 RGB `[H, W, 3]`."""
        for writer in self._writers:
            writer.image(step, name, picture)

    def say(self, text: str) -> None:
        """Prints a line above the progress bar."""
        if self._writes:
            tqdm.write(text)

    def close(self) -> None:
        self._bar.close()
        for writer in self._writers:
            writer.close()

"""Profiles of a few steps, for TensorBoard's profiler (`pip install xprof`) and https://ui.perfetto.dev."""

from typing import Any

import jax
from etils import epath


class Profile:
    """Captures `config.profile.steps` steps, `config.profile.after` steps into this start of the run.

    Files are `profile/plugins/profile/TIME/*.xplane.pb`, and `perfetto_trace.json.gz` beside them.

    Args:
      config: the run's.
      workdir: its folder.
      first: step from which it starts or goes on.
    """

    def __init__(self, config, workdir: epath.Path, first: int):
        profile = config.profile
        self._folder = workdir / "profile"
        self._begin = first + profile.after + 1 if profile.steps else 0
        self._end = first + profile.after + profile.steps if profile.steps else 0
        self._runs = False

    def before(self, step: int) -> None:
        """To be called before the data of a step are waited for."""
        if step == self._begin:
            jax.profiler.start_trace(str(self._folder), create_perfetto_trace=True)
            self._runs = True

    def after(self, step: int, outputs: Any) -> str | None:
        """To be called after a step was dispatched; waits for it where it is the last one. Returns a line to print."""
        if step != self._end or not self._runs:
            return None
        jax.block_until_ready(outputs)
        self.close()
        return f"profile of steps {self._begin} to {self._end}: tensorboard --logdir {self._folder}"

    def close(self) -> None:
        """Writes what was captured, also where the run ends before the last step of it."""
        if self._runs:
            self._runs = False
            jax.profiler.stop_trace()

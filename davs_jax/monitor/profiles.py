"""Profiles a few steps, for TensorBoard's profiler (`pip install xprof`) and https://ui.perfetto.dev."""

from typing import Any

import jax
from etils import epath


class Profile:
    """Captures `config.profile.steps` steps, beginning `config.profile.after` steps after this start of the run.

    Files are `profile/plugins/profile/TIME/*.xplane.pb`, and `perfetto_trace.json.gz` beside them.

    Args:
      config: config of the run.
      workdir: folder of the run.
      first: step from which it starts or resumes.
    """

    def __init__(self, config, workdir: epath.Path, first: int):
        profile = config.profile
        self._folder = workdir / "profile"
        self._begin = first + profile.after + 1 if profile.steps else 0
        self._end = first + profile.after + profile.steps if profile.steps else 0
        self._runs = False

    def before(self, step: int) -> None:
        """Starts the capture where this step is its first; to be called before waiting for the step's batch."""
        if step == self._begin:
            jax.profiler.start_trace(str(self._folder), create_perfetto_trace=True)
            self._runs = True

    def after(self, step: int, outputs: Any) -> str | None:
        """Ends the capture where this step is its last; to be called after the step was dispatched.

        Args:
          outputs: of the step; the capture waits for them.

        Returns:
          a line to print where the capture has ended, else None.
        """
        if step != self._end or not self._runs:
            return None
        jax.block_until_ready(outputs)
        self.close()
        return f"profile of steps {self._begin} to {self._end}: tensorboard --logdir {self._folder}"

    def close(self) -> None:
        """Writes the capture, even where the run ends before its last step."""
        if self._runs:
            self._runs = False
            jax.profiler.stop_trace()

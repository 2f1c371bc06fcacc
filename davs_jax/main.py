"""Trains one stage of DAVS, or resumes it from its newest checkpoint.

example: python -m davs_jax.main --config configs/common.py --workdir runs/joint --config.data.batch_size=32

  --config FILE[:STAGE]  a config file; configs/common.py states every setting, its unit and the reason for its default.
                         configs/… is also found outside the checkout
  --config.KEY=VALUE     changes one setting: --config.model.width=0.5, --config.loss.gan_frame=1
  --workdir FOLDER       for checkpoints, metrics.jsonl, tensorboard/ and images/; local or gs://…
  --help                 this text

Rerun the same command to resume a run that was stopped or killed. A workdir takes one run at a time: a second run is
refused, and changes nothing. The exit status is 0 when all steps are done, 75 when SIGTERM or Ctrl-C stopped the run
(saved; rerun it), 2 for a wrong command line, 1 for any other error.
"""

import signal
import sys

from absl import app, flags, logging
from ml_collections import config_flags

from davs_jax import command_line
from davs_jax.constants import STOPPED
from davs_jax.errors import DavsError

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
PROGRAM = "davs_jax.main"


def main(argv: list[str]) -> int:
    """Trains as the parsed flags say; returns the exit status."""
    # Imported here, so that a wrong command line is refused without the seconds that JAX takes to load.
    from davs_jax.parallel import processes
    from davs_jax.training import loop

    logging.set_verbosity(logging.WARNING)  # app.run's default makes Orbax log every file it writes
    try:
        job = processes.initialize()
        print(f"training in {_WORKDIR.value}: {job}")
        if loop.train(_CONFIG.value, _WORKDIR.value):
            return 0
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # everything is saved: a second one must not change the status
        return STOPPED
    except DavsError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
    except KeyboardInterrupt:  # the second Ctrl-C; the first one saves
        print(f"{PROGRAM}: interrupted before the step was saved", file=sys.stderr)
    except OSError as error:  # a full disk, most likely
        print(f"{PROGRAM}: {error}; --workdir={_WORKDIR.value} keeps its checkpoints", file=sys.stderr)
    return 1


def parse(argv: list[str]) -> list[str]:
    """Parses the flags; an invalid one ends the process with one sentence and status 2."""
    rest = command_line.parse(PROGRAM, __doc__, argv)
    if not _WORKDIR.value:
        command_line.refuse(PROGRAM, "--workdir is missing; see --help")
    return rest


@command_line.command
def run() -> None:
    """Entry point of the command line."""
    app.run(main, flags_parser=parse)


if __name__ == "__main__":
    run()

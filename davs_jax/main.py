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

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
PROGRAM = "davs_jax.main"
STOPPED = 75  # EX_TEMPFAIL: not done, worth trying again


def main(argv: list[str]) -> int:
    """Runs the job that the parsed flags describe; returns the exit status."""
    # Imported here: a wrong command line is refused at once, without the seconds that JAX takes to load.
    from davs_jax.checkpoint import CheckpointError
    from davs_jax.data.sources import DataError
    from davs_jax.errors import DavsError
    from davs_jax.monitor.monitor import NotFiniteError
    from davs_jax.monitor.writers import WriterError
    from davs_jax.parallel import processes
    from davs_jax.training import loop

    logging.set_verbosity(logging.WARNING)  # app.run's default lets Orbax log every file it writes
    try:
        job = processes.initialize()
        print(f"training in {_WORKDIR.value}: {job}")
        if loop.train(_CONFIG.value, _WORKDIR.value):
            return 0
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # all is saved: another one must not change the exit status
        return STOPPED
    except (DavsError, processes.JobError, DataError, CheckpointError, NotFiniteError, WriterError) as error:
        print(f"davs_jax.main: {error}", file=sys.stderr)
    except KeyboardInterrupt:  # the second Ctrl-C; the first one saves
        print("davs_jax.main: interrupted before the step was saved", file=sys.stderr)
    except OSError as error:  # a full disk, most likely
        print(f"davs_jax.main: {error}; --workdir={_WORKDIR.value} keeps its checkpoints", file=sys.stderr)
    return 1


def parse(argv: list[str]) -> list[str]:
    """Parses the flags; whatever is wrong with them ends the process with one sentence and status 2."""
    rest = command_line.parse(PROGRAM, __doc__, argv)
    if not _WORKDIR.value:
        command_line.refuse(PROGRAM, "--workdir is missing; see --help")
    return rest


def run() -> None:
    """Entry point of the command line."""
    app.run(main, flags_parser=parse)


if __name__ == "__main__":
    run()

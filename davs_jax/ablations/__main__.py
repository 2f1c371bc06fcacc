"""Command line: tests the article's claims.

python -m davs_jax.claims --config configs/claims/synthetic.py --output runs/claims/synthetic
"""

import argparse
import runpy
import sys
from pathlib import Path

STOPPED = 75  # as davs_jax.main: not done, worth trying again


def main(argv: list[str] | None = None) -> int:
    """Runs all arms with all seeds, or goes on with them; writes claims.json, claims.md and claims.html."""
    parser = argparse.ArgumentParser(
        prog="python -m davs_jax.claims",
        description="Train the arms of a comparison, measure them, and answer the article's questions in one table. "
        "Killed or stopped anywhere, the same command goes on where it was.",
        epilog="example: python -m davs_jax.claims --config configs/claims/synthetic.py --output runs/claims/synthetic",
    )
    add = parser.add_argument
    add("--config", required=True, metavar="FILE", help="a file with ARMS and get_config, as configs/claims/*.py")
    add("--output", required=True, type=Path, metavar="DIR", help="workdirs and tables go here")
    add("--seeds", nargs="+", type=_seed, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    add("--only", nargs="+", default=[], metavar="ARM", help="these arms, and those that they start from")
    args = parser.parse_args(argv)
    try:
        config = runpy.run_path(args.config)
        arms, get_config = config["ARMS"], config["get_config"]
    except Exception as error:  # the file is the user's own code: it may raise anything
        parser.error(f"--config={args.config} cannot be loaded ({type(error).__name__}: {error})")
    # Here, because a wrong command line should be told at once, without the seconds that JAX takes to load.
    from davs_jax.ablations.run import Study, StudyError
    from davs_jax.checkpoint.export import CheckpointError
    from davs_jax.data.sources import DataError
    from davs_jax.training.loop import ConfigError

    study = Study(arms, get_config, args.output)
    try:
        done = study.run(args.seeds, args.only)
        print(f"{study.write(args.seeds)}: {'done' if done else 'stopped; run the same command again to go on'}")
        return 0 if done else STOPPED
    except (StudyError, ConfigError, DataError, CheckpointError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from error
    except OSError as error:
        raise SystemExit(
            f"{parser.prog}: {error.filename or args.output} cannot be written ({error.strerror})"
        ) from error


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed: a whole number from 0 on")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

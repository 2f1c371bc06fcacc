"""Command line: runs ablations to test the paper's claims.

python -m davs_jax.ablations --config configs/ablations/synthetic.py --output runs/ablations/synthetic
"""

import argparse
import runpy
import sys
from pathlib import Path

from davs_jax import command_line
from davs_jax.command_line import whole
from davs_jax.constants import STOPPED


@command_line.command
def main(argv: list[str] | None = None) -> int:
    """Runs or resumes all arms with all seeds; writes ablations.json, ablations.md and ablations.html."""
    parser = argparse.ArgumentParser(
        prog="python -m davs_jax.ablations",
        description="Train the arms of an ablation study, measure them, and answer the study's questions in tables. "
        "Rerun the same command to resume a killed or stopped study.",
        epilog="example: python -m davs_jax.ablations --config configs/ablations/synthetic.py "
        "--output runs/ablations/synthetic",
    )
    add = parser.add_argument
    add(
        "--config",
        required=True,
        metavar="FILE",
        help="a file with ARMS and get_config: configs/ablations/*.py, configs/baselines/table.py",
    )
    add("--output", required=True, type=Path, metavar="DIR", help="folder of workdirs and tables")
    add("--seeds", nargs="+", type=whole(), default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    add("--only", nargs="+", default=[], metavar="ARM", help="run these arms, and those that they start from")
    args = parser.parse_args(argv)
    try:
        config = runpy.run_path(args.config)
        arms, get_config = config["ARMS"], config["get_config"]
    except Exception as error:  # the file is the user's own code: it may raise anything
        parser.error(f"--config={args.config} cannot be loaded ({type(error).__name__}: {error})")
    # Imported here, so that an invalid command line is refused at once, without the seconds that JAX takes to load.
    from davs_jax.ablations.run import Study

    options = {key.lower(): config[key] for key in ("WRITER", "JUDGES", "TESTED") if key in config}
    study = Study(arms, get_config, args.output, **options)
    with command_line.sentences(parser.prog, args.output):
        done = study.run(args.seeds, args.only)
        print(f"{study.write(args.seeds)}: {'done' if done else 'stopped; run the same command again to resume'}")
    return 0 if done else STOPPED


if __name__ == "__main__":
    sys.exit(main())

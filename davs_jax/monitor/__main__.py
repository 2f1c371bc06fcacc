"""Shows a training run on one page of the terminal: `python -m davs_jax.monitor WORKDIR`."""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from davs_jax import command_line
from davs_jax.errors import DavsError
from davs_jax.monitor import status


@command_line.command
def main(argv: Sequence[str] | None = None) -> int:
    """Shows a run; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m davs_jax.monitor", description="Shows a run on one page of the terminal."
    )
    parser.add_argument("workdir", type=Path, help="folder of the run")
    parser.add_argument("--once", action="store_true", help="print the page once and exit")
    parser.add_argument("--every", type=float, default=2.0, metavar="S", help="seconds between updates; default: 2")
    args = parser.parse_args(argv)
    try:
        if args.once or not sys.stdout.isatty():
            print(status.page(args.workdir, time.time(), *shutil.get_terminal_size((120, 1_000))))
        else:
            status.follow(
                args.workdir, args.every, shutil.get_terminal_size, lambda text: print(text, end="", flush=True)
            )
    except (DavsError, OSError) as error:
        print(f"davs_jax.monitor: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())

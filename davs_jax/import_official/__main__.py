"""The command line of `davs_jax.import_official`: the official checkpoint into our format, or ours into its format.

python -m davs_jax.import_official 101_DAVS_checkpoint.pth.tar weights/official
python -m davs_jax.import_official --export weights/official official.pth.tar
"""

import argparse
import sys
from pathlib import Path

from davs_jax import command_line
from davs_jax.import_official import convert


@command_line.command
def main(argv: list[str] | None = None) -> int:
    """Converts a checkpoint; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="davs-import-official",
        description="Import the official PyTorch checkpoint, or export weights to its format. Only the export needs "
        "PyTorch: pip install 'davs_jax[torch]'",
        epilog="example: davs-import-official 101_DAVS_checkpoint.pth.tar weights/official",
    )
    parser.add_argument(
        "source", metavar="IN", help="the official .pth.tar; with --export, a workdir or exported folder"
    )
    parser.add_argument("out", metavar="OUT", help="folder to write; with --export, the .pth.tar to write")
    parser.add_argument("--export", action="store_true", help="write our weights in the official layout")
    args = parser.parse_args(argv)
    with command_line.sentences(parser.prog, args.out):
        if args.export:
            convert.export_checkpoint(args.source, Path(args.out))
        else:
            convert.import_checkpoint(Path(args.source), args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

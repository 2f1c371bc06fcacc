"""Command line: measures by how much a video's audio is late or early, and repairs it.

python -m davs_jax.sync talk.mp4 --checkpoint runs/joint
python -m davs_jax.sync talk.mp4 --checkpoint runs/joint --fix mended.mp4
"""

import argparse
import sys
from pathlib import Path

from davs_jax import command_line
from davs_jax.constants import INTERRUPTED


@command_line.command
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0, or 130 after Ctrl-C. To repair an uncertain offset without --force is an error."""
    try:  # around the heavy imports too: they take seconds, in which Ctrl-C must end quietly
        args = _parser().parse_args(argv)
        from davs_jax.sync import command

        with command_line.sentences("davs-sync"):
            return command.run(args)
    except KeyboardInterrupt:
        print("davs-sync: interrupted", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="davs-sync",
        description="Measure by how much a talking video's audio is late or early, and repair it.",
        epilog="example: davs-sync talk.mp4 --checkpoint runs/joint --fix mended.mp4",
    )
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="a video of a talking face")
    command_line.add_checkpoint_option(add)
    command_line.add_track_option(add)
    add("--fix", type=Path, metavar="OUTPUT", help="also write the video with its audio in time, without re-encoding")
    add("--force", action="store_true", help="with --fix: move the audio although the offset is uncertain")
    add(
        "--syncnet",
        metavar="W",
        help="also score it with SyncNet; its weights: syncnet_v2.model, .npz, or a run's folder",
    )
    add("--reach", type=command_line.whole(1), metavar="N", help="search offsets up to N frames (default: 15)")
    return parser


if __name__ == "__main__":
    sys.exit(main())

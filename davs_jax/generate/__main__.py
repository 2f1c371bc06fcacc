"""Command line: generates a talking-face video from a photo, and speech or a driving video.

    python -m davs_jax.generate --checkpoint runs/joint --photo me.jpg --audio speech.wav --output talking.mp4

Images and audio stream: they are read, generated and written block by block, so memory does not grow with the length.
"""

import argparse
import sys
from pathlib import Path

from davs_jax import command_line
from davs_jax.constants import FPS, INTERRUPTED


@command_line.command
def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0 when all is done, 1 when jobs of a manifest failed, 130 after Ctrl-C."""
    try:  # around the heavy imports too: they take seconds, in which Ctrl-C must end quietly
        args = _parser().parse_args(argv)
        from davs_jax.generate import command

        with command_line.sentences("davs-generate"):
            return command.run(args)
    except KeyboardInterrupt:
        print("davs-generate: interrupted; an output that was being written is incomplete", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    from davs_jax.media.photo import POINTS
    from davs_jax.provenance.verification import Verify

    parser = argparse.ArgumentParser(
        prog="davs-generate",
        description="Generate a talking-face video from a photo, and speech or a driving video.",
        epilog="example: davs-generate --checkpoint runs/joint --photo me.jpg --audio speech.wav --output talking.mp4",
    )
    add = parser.add_argument
    command_line.add_checkpoint_option(add)
    add(
        "--photo",
        "--source",
        type=Path,
        metavar="P",
        help="the face: any image file, in which the face is found and aligned; or a video, which keeps moving while "
        "its speech is replaced. Where the audio is longer than the video, its frames run back and forth",
    )
    driver = parser.add_mutually_exclusive_group()
    driver.add_argument("--audio", type=Path, metavar="A", help="speech: any file with audio")
    driver.add_argument("--video", type=Path, metavar="V", help="a video of a face speaking; its audio is used too")
    command_line.add_track_option(add)
    add(
        "--output",
        type=Path,
        metavar="O",
        help="written: O.mp4, H.264 with the driver's audio; O.gif, at most 480 pixels long; O, a folder of PNG files",
    )
    add(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="instead of these, a .csv or .jsonl of jobs: photo, audio or video, output (and points, aligned, face); "
        "relative paths start at its folder; outputs that exist are not generated again",
    )
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--face", type=command_line.whole(1), metavar="N", help="which of several faces (default: 1, the largest)"
    )
    known.add_argument(
        "--points", nargs="+", metavar="x,y", help=f"where no face is found: {POINTS}; or a JSON file of these five"
    )
    known.add_argument("--aligned", action="store_true", help="the photo is an aligned square crop already")
    add("--faces", type=Path, metavar="PNG", help="write the photo with its faces numbered; needs only --photo")
    command_line.add_gain_options(add)
    add(
        "--adapt-steps",
        type=command_line.whole(),
        metavar="N",
        help="steps of fitting the networks to the photo first (default: 5 for official weights, 0 for ours)",
    )
    add(
        "--fps",
        type=command_line.whole(),
        default=FPS,
        metavar="F",
        help="frames per second, 10 to 60 (default: %(default)s)",
    )
    add("--crop", action="store_true", help="write the face's crop, not the whole photo with the face pasted in")
    add("--side-by-side", action="store_true", help="with the driving video, or else the photo, on the left")
    add("--preview", action="store_true", help="quick and small: the first 4 seconds, at most 320 pixels long")
    add(
        "--steady",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="of a photo, average everything but the mouth over time, against flicker",
    )
    add("--mark", action="store_true", help='write "AI-generated" into a corner of the image')
    add("--certificate", type=Path, metavar="PEM", help="sign with this certificate (default: one made for you, once)")
    add("--key", type=Path, metavar="PEM", help="its private key")
    add("--verify", action=Verify, metavar="FILE", help=Verify.HELP)
    add("--contact-sheet", type=Path, metavar="PNG", help="also write frames of the result side by side")
    return parser


if __name__ == "__main__":
    sys.exit(main())

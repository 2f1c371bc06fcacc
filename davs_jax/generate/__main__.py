"""One photo and any speech, or any driving video → a talking face with sound. The command line.

    python -m davs_jax.generate --checkpoint runs/joint --photo me.jpg --audio speech.wav --output talking.mp4

Pictures and sound stream: they are read, generated and written as they come, so an hour needs no more memory than a
second. `drivers.py` says what moves the mouth, `talk.py` how pictures are made, `film.py` how they are written.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from davs_jax import checkpoint
from davs_jax.checkpoint.export import DEMO, CheckpointError, add_gain_options, with_gains
from davs_jax.constants import FPS
from davs_jax.display import plots
from davs_jax.errors import MediaError
from davs_jax.generate.film import Film
from davs_jax.generate.follow import GenerationError
from davs_jax.generate.jobs import Job, Style, make
from davs_jax.generate.manifest import read_manifest, run_manifest
from davs_jax.inference import Davs
from davs_jax.media.images import read_image
from davs_jax.media.photo import POINTS, PhotoError, find_faces, parse_points
from davs_jax.parallel.compilation import keep_compilations
from davs_jax.provenance import credentials, verification
from davs_jax.provenance.credentials import ProvenanceError

INTERRUPTED = 130  # exit status after Ctrl-C, as shells have it


def main(argv: list[str] | None = None) -> int:
    """Command line: photos and drivers into files; 0 when all is done, 1 when jobs of a work list failed, 130 after
    Ctrl-C."""
    args = _parser().parse_args(argv)
    try:
        return _run(args)
    except (CheckpointError, GenerationError, MediaError, PhotoError, ProvenanceError) as error:
        raise SystemExit(f"davs-generate: {' '.join(str(error).split())}") from error
    except KeyboardInterrupt:
        _say("stopped at once; what was being written is not finished")
        return INTERRUPTED


def _run(args: argparse.Namespace) -> int:
    if args.faces:
        _show_faces(args)
        if not args.output:
            return 0
    if args.manifest:
        if args.photo or args.audio or args.video or args.output:
            raise GenerationError("--manifest: its lines say photo, audio or video, and output; leave those out here")
        jobs = read_manifest(args.manifest)
    else:
        jobs = [_job(args)]
    signer = credentials.signer(args.certificate, args.key, _say)
    style = Style(
        args.crop, args.side_by_side, args.steady, args.preview, args.fps, args.adapt_steps, args.mark, signer
    )
    model = _load(args)
    if args.manifest:
        tally = run_manifest(model, jobs, style, _say)
        print(f"{args.manifest}: {tally.made} made, {tally.there} there before, {len(tally.failed)} failed")
        return INTERRUPTED if tally.stopped else int(bool(tally.failed))
    made = make(model, jobs[0], style, _say)
    _report(args, made)
    return INTERRUPTED if made.stopped else 0


def _job(args: argparse.Namespace) -> Job:
    missing = [name for name in ("photo", "output") if not getattr(args, name)]
    if missing or not (args.audio or args.video):
        raise GenerationError(
            f"--{missing[0] if missing else 'audio or --video'} is missing; give --photo, --audio or --video, and "
            "--output, or a --manifest"
        )
    points = parse_points(args.points) if args.points else None
    return Job(args.photo, args.output, args.audio, args.video, points, args.aligned, args.face)


def _load(args: argparse.Namespace) -> Davs:
    keep_compilations()
    config, params, batch_stats = checkpoint.load_weights(args.checkpoint)
    config = with_gains(config, args.audio_gain, args.video_gain)
    return Davs.on_this_host(config, params, batch_stats)


def _report(args: argparse.Namespace, made: Film) -> None:
    print(f"{args.output}: {made.frames} frames, {made.frames / args.fps:.2f} s")
    print(f"time: {made.stages} (they overlap)")
    if made.steady and made.frames > 2:
        print(f"flicker outside the mouth: {made.steady.before:.2f} → {made.steady.after:.2f} gray levels per frame²")
    if args.contact_sheet:
        _write_png(args.contact_sheet, made.sheet)
        print(f"{args.contact_sheet}: the photo, then frames in order")


def _show_faces(args: argparse.Namespace) -> None:
    if not args.photo:
        raise GenerationError("--faces: shows the faces of a photo; give --photo")
    picture = read_image(args.photo)
    faces = find_faces(picture)
    _write_png(args.faces, plots.numbered(picture, [face.box for face in faces]))
    what = "numbered for --face from the largest" if faces else f"none of a human; give --points ({POINTS})"
    print(f"{args.faces}: {len(faces)} faces, {what}")


def _write_png(path: Path, picture: np.ndarray) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(plots.png(picture))
    except OSError as error:
        raise GenerationError(f"{path}: cannot be written ({error.strerror}); check its folder") from error


def _say(sentence: str) -> None:
    print(f"davs-generate: {sentence}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="davs-generate",
        description="Make a talking face from one photo, and speech or a driving video.",
        epilog="example: davs-generate --checkpoint runs/joint --photo me.jpg --audio speech.wav --output talking.mp4",
    )
    add = parser.add_argument
    add(
        "--checkpoint",
        default=DEMO,
        metavar="W",
        help="a workdir, one checkpoint in it, or an exported folder (default: the demo model of the package)",
    )
    add(
        "--photo",
        type=Path,
        metavar="P",
        help="the face: any picture file; it is found and aligned. Or a video, whose face keeps moving while its "
        "speech changes; where the sound is longer, its frames run back and forth",
    )
    driver = parser.add_mutually_exclusive_group()
    driver.add_argument("--audio", type=Path, metavar="A", help="speech: any file with sound")
    driver.add_argument("--video", type=Path, metavar="V", help="a video of a face speaking; its sound goes along")
    add(
        "--output",
        type=Path,
        metavar="O",
        help="written: O.mp4, H.264 with the driver's sound; O.gif, at most 480 pixels long; O, a folder of PNG files",
    )
    add(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="instead of these, a .csv or .jsonl of jobs: photo, audio or video, output (and points, aligned, face); "
        "paths count from its folder; what is there already is not made again",
    )
    known = parser.add_mutually_exclusive_group()
    known.add_argument("--face", type=int, default=1, metavar="N", help="which of several faces, from 1, the largest")
    known.add_argument(
        "--points", nargs="+", metavar="x,y", help=f"where no face is found: {POINTS}; or a JSON file of these five"
    )
    known.add_argument("--aligned", action="store_true", help="the photo is an aligned square crop already")
    add("--faces", type=Path, metavar="PNG", help="write the photo with its faces numbered; needs only --photo")
    add_gain_options(add)
    add(
        "--adapt-steps",
        type=_steps,
        metavar="N",
        help="steps of fitting the networks to the photo first (default: 5 for official weights, 0 for ours)",
    )
    add("--fps", type=int, default=FPS, metavar="F", help="frames per second, 10 to 60 (default: %(default)s)")
    add("--crop", action="store_true", help="write the bare face, not the whole photo with the face put back into it")
    add("--side-by-side", action="store_true", help="with the driving video, or else the photo, on the left")
    add("--preview", action="store_true", help="quick and small: the first 4 seconds, at most 320 pixels long")
    add(
        "--steady",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="of a photo, average over time what is not the mouth, so that it does not flicker",
    )
    add("--mark", action="store_true", help='write "AI-generated" into a corner of the picture')
    add("--certificate", type=Path, metavar="PEM", help="sign with this certificate (default: one made for you, once)")
    add("--key", type=Path, metavar="PEM", help="its private key")
    add("--verify", action=verification.Verify, metavar="FILE", help=verification.Verify.HELP)
    add("--contact-sheet", type=Path, metavar="PNG", help="also write frames of the result side by side")
    return parser


def _steps(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of steps")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

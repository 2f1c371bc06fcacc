"""Carries out the parsed options of the command line."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from davs_jax import inference
from davs_jax.constants import INTERRUPTED
from davs_jax.display import plots
from davs_jax.files import replacing
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.jobs import Job, Style, make
from davs_jax.generate.manifest import read_manifest, run_manifest
from davs_jax.generate.result import Result
from davs_jax.media.images import read_image
from davs_jax.media.photo import POINTS, find_faces, parse_points
from davs_jax.parallel.compilation import keep_compilations
from davs_jax.provenance import signing

OF_ONE_JOB = ("photo", "audio", "video", "output", "points", "aligned", "face", "faces", "contact_sheet")


def run(args: argparse.Namespace) -> int:
    """Generates what the options ask for; returns the exit status.

    Raises:
      DavsError: it cannot be done.
    """
    if args.manifest and (given := [name for name in OF_ONE_JOB if getattr(args, name)]):
        raise GenerationError(
            f"--{given[0].replace('_', '-')} beside --manifest, whose lines name inputs and outputs", "leave it out"
        )
    if args.faces:
        _show_faces(args)
        if not args.output:
            return 0
    if args.manifest:
        jobs = [replace(job, audio_track=args.audio_track) for job in read_manifest(args.manifest)]
    else:
        jobs = [_job(args)]
    signer = signing.signer(args.certificate, args.key, _say)
    style = Style(
        args.crop, args.side_by_side, args.steady, args.preview, args.fps, args.adapt_steps, args.mark, signer
    )
    keep_compilations()
    model = inference.load(args.checkpoint, audio_gain=args.audio_gain, video_gain=args.video_gain)
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
            f"--{missing[0] if missing else 'audio or --video'} is missing",
            "give --photo, --audio or --video, and --output, or a --manifest",
        )
    points = parse_points(args.points) if args.points else None
    inputs = (args.photo, args.output, args.audio, args.video)
    return Job(*inputs, points, args.aligned, args.face or 1, args.audio_track)


def _report(args: argparse.Namespace, made: Result) -> None:
    print(f"{args.output}: {made.frames} frames, {made.frames / args.fps:.2f} s")
    print(f"time: {made.stages} (they overlap)")
    if made.steady and made.frames > 2:
        print(f"flicker outside the mouth: {made.steady.before:.2f} → {made.steady.after:.2f} gray levels per frame²")
    if args.contact_sheet:
        _write_png(args.contact_sheet, made.sheet)
        print(f"{args.contact_sheet}: the photo, then frames in order")


def _show_faces(args: argparse.Namespace) -> None:
    if not args.photo:
        raise GenerationError("--faces: shows the faces of a photo", "give --photo")
    photo = read_image(args.photo)
    faces = find_faces(photo)
    _write_png(args.faces, plots.numbered(photo, [face.box for face in faces]))
    what = "numbered for --face from the largest" if faces else f"none of a human; give --points ({POINTS})"
    print(f"{args.faces}: {len(faces)} {'face' if len(faces) == 1 else 'faces'}, {what}")


def _write_png(path: Path, image: np.ndarray) -> None:
    try:
        with replacing(path) as draft:
            draft.write_bytes(plots.png(image))
    except OSError as error:
        raise GenerationError(f"{path}: cannot be written ({error.strerror})", "check its folder") from error


def _say(sentence: str) -> None:
    print(f"davs-generate: {sentence}", file=sys.stderr)

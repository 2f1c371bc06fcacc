"""Carries out the parsed options of the command line."""

import argparse
import sys
from pathlib import Path

from davs_jax import inference
from davs_jax.constants import FPS
from davs_jax.errors import DavsError
from davs_jax.evaluate import lip_sync
from davs_jax.evaluate.lip_sync import Scorer
from davs_jax.media.audio import as_int16
from davs_jax.media.video.read import read_clip
from davs_jax.media.video.remux import shift_audio
from davs_jax.media.video.tracks import choose
from davs_jax.sync import audio_offset
from davs_jax.sync.audio_offset import SyncError


def run(args: argparse.Namespace) -> int:
    """Measures a file's offset and, on request, repairs it; returns the exit status.

    Raises:
      DavsError: it cannot be done.
    """
    if args.fix and args.fix.resolve() == args.file.resolve():
        raise SyncError(f"{args.fix}: is the input itself, and would be overwritten", "give --fix another name")
    model = inference.load(args.checkpoint)
    reach = args.reach or audio_offset.REACH
    offset = audio_offset.measure_file(model, args.file, reach, args.audio_track)
    if note := choose(args.file, args.audio_track).note:
        print(f"davs-sync: {note}", file=sys.stderr)
    print(f"{args.file}: {audio_offset.describe(offset)}")
    for doubt in audio_offset.doubts(offset, reach):
        print(f"{args.file}: {doubt}")
    if args.syncnet:
        for line in syncnet_scores(Scorer.load(args.syncnet), args.file, args.audio_track):
            print(line)
    if args.fix:
        if offset.confidence < audio_offset.SURE and not args.force:
            reason = f"confidence {offset.confidence:.3f} is below {audio_offset.SURE}, so nothing was moved"
            raise SyncError(f"{args.file}: {reason}", "give weights trained on such faces, or --force")
        if offset.compared < audio_offset.COMPARED and not args.force:
            reason = f"only {offset.compared} frames could be compared, so nothing was moved"
            raise SyncError(f"{args.file}: {reason}", "give a longer video, a smaller --reach, or --force")
        shift_audio(args.file, args.fix, offset.frames / FPS, args.audio_track)
        print(f"{args.fix}: written, audio moved by {-offset.frames} frames; nothing was re-encoded")
    return 0


def syncnet_scores(scorer: Scorer, path: Path, track: int | None = None) -> list[str]:
    """SyncNet's scores of a file, a line for each variant.

    Raises:
      MediaError: it cannot be read.
      SyncError: it has no audio, shows no face, or is too short.
    """
    clip = read_clip(path, track=track)
    if clip.samples is None:
        raise SyncError(f"{path}: has no audio to compare its images with", "give a talking video")
    samples = as_int16(clip.samples)
    try:
        scores = scorer(clip.frames, samples) | {"face-track": scorer.face_track(clip.frames, samples)}
    except DavsError as error:  # too short; no face
        raise SyncError(f"{path}: {error}") from error
    return [lip_sync.describe(name, scores[name]) for name in lip_sync.VARIANTS]

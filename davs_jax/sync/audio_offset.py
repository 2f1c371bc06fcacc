"""By how much a video's sound is late or early, by a trained model's own vectors; and its repair.

python -m davs_jax.sync talk.mp4 --checkpoint runs/joint
python -m davs_jax.sync talk.mp4 --checkpoint runs/joint --fix mended.mp4
"""

import argparse
from pathlib import Path

import numpy as np

from davs_jax import checkpoint
from davs_jax.checkpoint.export import DEMO, CheckpointError
from davs_jax.constants import FPS
from davs_jax.errors import NotMeasurable
from davs_jax.evaluate import lip_sync
from davs_jax.evaluate.lip_sync import Scorer
from davs_jax.generate.drivers import read_performance
from davs_jax.generate.follow import GenerationError
from davs_jax.inference import Davs
from davs_jax.media.audio import clip_mfcc, windows
from davs_jax.media.offsets import Offset, best_offset, frame_distances, offset_distances
from davs_jax.media.video.read import read_audio, read_clip
from davs_jax.media.video.remux import shift_sound
from davs_jax.media.video.streams import MediaError

REACH = 15  # frames of offset looked for, as SyncNet does: ±0.6 s
BLOCK = 250  # frames whose distances are taken at once, with REACH on either side: 10 s


class SyncError(ValueError):
    """An offset cannot be measured; the message says what to do."""


def measure(video: np.ndarray, audio: np.ndarray, reach: int = REACH) -> Offset:
    """The offset of a whole file: wid of its pictures and of its sound, `[T, E]` twice, frame by frame.

    Raises:
      SyncError: fewer than 2·reach + 1 frames.
    """
    if len(video) <= 2 * reach:
        raise SyncError(
            f"{len(video)} frames are too few for offsets of ±{reach}, which take {2 * reach + 1}; give a longer video "
            "or a smaller --reach"
        )
    total = np.zeros(2 * reach + 1)
    for start in range(0, len(video) - 2 * reach, BLOCK):
        part = slice(start, start + BLOCK + 2 * reach)  # its pictures are BLOCK or fewer, its sounds reach further
        distances = frame_distances(video[part], audio[part])
        total += offset_distances(distances, reach) * (len(distances) - 2 * reach)
    return best_offset(total / (len(video) - 2 * reach))


def measure_file(model: Davs, path: Path, reach: int = REACH) -> Offset:
    """The offset of a video file, whose face is found and followed.

    Raises:
      GenerationError: it shows no face.
      MediaError: it cannot be read.
      SyncError: it has no sound, is too short, or the weights lack an encoder.
    """
    if not model.has("visual_encoder", "audio_encoder"):
        raise SyncError("the weights have no word encoders; name those of the word or the joint stage")
    clip, _ = read_performance(path)
    if not clip.speaks:
        raise SyncError(f"{path}: has no sound to compare its pictures with; give a talking video")
    heard = model.wid_from_audio(windows(clip_mfcc(read_audio(path), clip.frames), np.arange(clip.frames)))
    try:
        return measure(np.concatenate(list(clip.wid(model))), heard, reach)
    except SyncError as error:
        raise SyncError(f"{path}: {error}") from error


def describe(offset: Offset) -> str:
    """The offset in words."""
    seconds = abs(offset.frames) / FPS
    where = "in time" if not offset.frames else f"{abs(offset.frames)} frames ({seconds:.2f} s) "
    if offset.frames:
        where += "late" if offset.frames > 0 else "early"
    return f"the sound is {where}; distance {offset.distance:.3f}, confidence {offset.confidence:.3f}"


def judged(scorer: Scorer, path: Path) -> list[str]:
    """SyncNet's scores of a file, a line for each variant.

    Raises:
      MediaError: it cannot be read.
      SyncError: it has no sound, shows no face, or is too short.
    """
    clip = read_clip(path)
    if clip.samples is None:
        raise SyncError(f"{path}: has no sound to compare its pictures with; give a talking video")
    samples = np.clip(np.rint(clip.samples * 2**15), -(2**15), 2**15 - 1).astype(np.int16)
    try:
        scores = scorer(clip.frames, samples) | {"face-track": scorer.face_track(clip.frames, samples)}
    except (ValueError, NotMeasurable) as error:
        raise SyncError(f"{path}: {error}") from error
    return [lip_sync.describe(name, scores[name]) for name in lip_sync.VARIANTS]


def main(argv: list[str] | None = None) -> int:
    """Command line: measures a file's offset and, where asked, repairs it."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        if args.fix and args.fix.resolve() == args.file.resolve():
            raise SyncError(f"{args.fix}: is the input itself, and would be overwritten; give --fix another name")
        model = Davs(*checkpoint.load_weights(args.checkpoint))
        offset = measure_file(model, args.file, args.reach)
        print(f"{args.file}: {describe(offset)}")
        if args.syncnet:
            for line in judged(Scorer.load(args.syncnet), args.file):
                print(line)
        if args.fix:
            shift_sound(args.file, args.fix, offset.frames / FPS)
            print(f"{args.fix}: written, sound moved by {-offset.frames} frames; pictures and sound as they were")
    except (CheckpointError, GenerationError, MediaError, SyncError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from error
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="davs-sync",
        description="Measure by how much a talking video's sound is late or early, and repair it.",
        epilog="example: davs-sync talk.mp4 --checkpoint runs/joint --fix mended.mp4",
    )
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="a video of a talking face")
    add(
        "--checkpoint",
        default=DEMO,
        metavar="W",
        help="a workdir, one checkpoint in it, or an exported folder (default: the demo model of the package)",
    )
    add("--fix", type=Path, metavar="OUTPUT", help="also write the video with its sound in time; nothing is recoded")
    add("--syncnet", metavar="W", help="also judge by SyncNet; its weights: syncnet_v2.model, .npz, or a run's folder")
    add(
        "--reach", type=_reach, default=REACH, metavar="N", help="look for offsets up to N frames; default: %(default)s"
    )
    return parser


def _reach(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of frames above 0")
    return int(text)

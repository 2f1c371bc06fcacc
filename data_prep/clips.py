"""The one way from a recording to clip records, for every source: read, track, align, cut, measure."""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np

from data_prep import folders, measures
from data_prep.folders import AnyPath
from data_prep.shards import Rejection
from davs_jax.constants import CLIP_FRAMES, SAMPLES_PER_FRAME, stored_size
from davs_jax.errors import MediaError
from davs_jax.media import offsets
from davs_jax.media.audio import clip_mfcc
from davs_jax.media.faces import alignment, detectors, tracking
from davs_jax.media.video.read import Clip, read_clip

JPEG_QUALITY = 95
LIPS_SIZE = 64  # pixels: image size at which the lips of several faces are compared
UNKNOWN = -1  # label
SPEAKERS = ("central", "lips")

# How faces are followed, by default; a plan's options say how it was done.
FOLLOWING = {
    "detector": detectors.DEFAULT,
    "detect_every": tracking.EVERY,
    "smooth": tracking.SMOOTH,
    "speaker": SPEAKERS[0],
}


@dataclass(frozen=True)
class Cut:
    """A clip of CLIP_FRAMES frames to be cut out of a recording."""

    clip_id: str
    word: int  # label
    middle: float | None = None  # in frames from the recording's start; None is the recording's own middle
    measures: Mapping[str, Any] = field(default_factory=dict)  # kept in the record beside our own


@dataclass(frozen=True)
class Recording:
    """A video file and what is to be cut out of it."""

    path: AnyPath
    file: str  # how it is named in a rejection: its path in the input folder
    cuts: Sequence[Cut] | Callable[[int], Sequence[Cut]]  # if it depends on the number of frames, a function of it
    speaker: int = UNKNOWN  # label
    points: np.ndarray | None = None  # [T, 5, 2] where known: taken as exact, neither detected nor smoothed
    mouth_opening: np.ndarray | None = None  # [T] where known
    sound: AnyPath | None = None  # the file beside that holds the sound


class Unusable(Exception):
    """A file, or one cut of it, gives no record: the stage at which it failed, the reason, the remedy."""

    @classmethod
    def because(cls, stage: str, path: AnyPath, error: Exception) -> "Unusable":
        """From an error whose message reads `path: reason; remedy`."""
        reason, _, remedy = str(error).removeprefix(f"{path}: ").rpartition("; ")
        return cls(stage, reason, remedy)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that every source of clips has."""
    add_detector(parser)
    parser.add_argument(
        "--detect-every",
        type=int,
        choices=range(1, 26),
        metavar="N",
        default=tracking.EVERY,
        help=f"frames between detections, which are interpolated (default {tracking.EVERY}; 1: a detection in each)",
    )
    parser.add_argument(
        "--smooth",
        type=_not_negative,
        metavar="S",
        default=tracking.SMOOTH,
        help=f"standard deviation in frames of the Gaussian that smooths the face points over time, so that aligned "
        f"faces do not swim (default {tracking.SMOOTH:g}; 0: none)",
    )
    parser.add_argument(
        "--speaker",
        choices=SPEAKERS,
        default=SPEAKERS[0],
        help="of several faces, the largest and most central one (default), or the one whose lips move with the sound",
    )


def add_detector(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--detector", choices=detectors.DETECTORS, default=detectors.DEFAULT, help="what finds faces (default mtcnn)"
    )


def options(args: argparse.Namespace) -> dict[str, Any]:
    """What of a plan's options every source of clips has."""
    detectors.detector(args.detector)  # what is not installed is to be known before the first file
    return {"image_size": args.image_size, "seed": args.seed} | {name: getattr(args, name) for name in FOLLOWING}


def clip_records(recording: Recording, options: Mapping[str, Any]) -> Iterator[dict | Rejection]:
    """Makes the records of one recording, or says why there is none.

    The file is decoded and the face tracked once, whatever the number of cuts.

    Args:
      options: `image_size` of the networks (stored frames are `stored_size` of it on a side), and what differs
        from FOLLOWING.
    """
    image_size, following = options["image_size"], {name: options.get(name, FOLLOWING[name]) for name in FOLLOWING}
    try:
        clip = _read(recording)
        points, lost, tracked = _points(recording, clip, following)
    except Unusable as error:
        yield Rejection(recording.file, *error.args)
        return
    faces: dict[int, _Face] = {}  # cuts overlap, and each frame is aligned once
    for cut in recording.cuts(len(clip.frames)) if callable(recording.cuts) else recording.cuts:
        try:
            start, shift = _place(cut, len(clip.frames))
            _in_sight(lost[start : start + CLIP_FRAMES])
            audio = _audio(clip.samples, start)
        except Unusable as error:
            yield Rejection(f"{recording.file} ({cut.clip_id})", *error.args)
            continue
        span = range(start, start + CLIP_FRAMES)
        for index in span:
            if index not in faces:
                faces[index] = _aligned(clip.frames[index], points[index], image_size)
        shown = [faces[index] for index in span]
        opening = recording.mouth_opening
        own = {"shift": shift, **_measured(shown, points[start : span.stop], audio, image_size)}
        yield {
            "clip_id": cut.clip_id,
            "word": cut.word,
            "speaker": recording.speaker,
            "frames": [aligned.jpeg for aligned in shown],
            "audio": audio,
            "mfcc": clip_mfcc(audio, CLIP_FRAMES),
            "mouth_opening": np.zeros(0, np.float32) if opening is None else opening[start : span.stop],
            "measures": json.dumps({**tracked, **own, **cut.measures}, sort_keys=True),
        }


def by_lips(people: Sequence[tracking.Track], clip: Clip) -> tracking.Track:
    """Of several tracks, that whose lips go best with the sound over the whole recording (`measures.speaking`)."""
    if len(people) == 1:
        return people[0]
    agreement = []
    for track in people:
        aligned = (
            alignment.align(*pair, stored_size(LIPS_SIZE)) for pair in zip(clip.frames, track.points, strict=True)
        )
        mouths = np.stack([measures.mouth(picture, LIPS_SIZE) for picture in aligned])
        agreement.append(measures.speaking(mouths, clip.samples))
    return people[int(np.argmax(agreement))]


def encode_jpeg(image: np.ndarray) -> bytes:
    """uint8 RGB `[H, W, 3]` → JPEG."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()


def _read(recording: Recording):
    beside = folders.local(recording.sound) if recording.sound else nullcontext()
    with folders.local(recording.path) as path, beside as sound:
        try:
            clip = read_clip(path, sound)
        except MediaError as error:
            if sound and str(error).startswith(f"{sound}: "):
                raise Unusable.because("sound", sound, error) from error
            raise Unusable.because("read", path, error) from error
    if len(clip.frames) < CLIP_FRAMES:
        raise Unusable("length", f"has {len(clip.frames)} frames, {CLIP_FRAMES} are needed", "copy the file again")
    if clip.samples is None:
        raise Unusable("sound", "has no sound track", "leave it out, or give a file with sound")
    return clip


def _points(recording: Recording, clip: Clip, following: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, dict]:
    """The face points of every frame, in which frames they are a guess, and what is known of how good they are."""
    points, found, frames = recording.points, 1.0, clip.frames
    lost = np.zeros(len(frames), bool)
    if points is None:
        finder = detectors.detector(following["detector"])
        try:
            people = tracking.tracks(frames, finder, following["detect_every"], following["smooth"])
            track = by_lips(people, clip) if following["speaker"] == "lips" else people[0]
            points, found, lost = track.points, track.found_fraction, track.lost
        except tracking.NoFace as error:
            raise Unusable("face", str(error), "leave the file out, or give its points") from error
    for name, known in (("points", points), ("mouth_opening", recording.mouth_opening)):
        if known is not None and len(known) != len(frames):
            raise Unusable("label", f"{name} of {len(known)} frames, the video has {len(frames)}", "correct them")
    try:
        for five in points:
            alignment.similarity(five)
    except ValueError as error:
        raise Unusable("face", str(error), "correct its points, or leave the file out") from error
    return (
        points,
        lost,
        {
            "found": round(found, 3),
            "jitter": round(tracking.jitter(points), 3),
            "eye_distance": round(alignment.eye_distance(points), 2),
        },
    )


def _place(cut: Cut, frames: int) -> tuple[int, int]:
    """First frame of a cut, and by how many frames it was moved inwards to stay in the recording."""
    middle = frames / 2 if cut.middle is None else cut.middle
    if not 0 <= middle < frames:
        reason = f"its middle is at frame {middle:g}, the video has {frames}"
        raise Unusable("length", reason, "copy the video again: its end is missing")
    wanted = int(np.floor(middle - CLIP_FRAMES / 2 + 0.5))
    start = min(max(wanted, 0), frames - CLIP_FRAMES)
    return start, start - wanted


def _in_sight(lost: np.ndarray) -> None:
    """Refuses a cut in which the face is out of sight for a while: the record would show anything there."""
    if lost.any():
        reason = f"no face is found for a while, in {lost.sum()} of its {len(lost)} frames"
        raise Unusable("face", reason, "look at the video: is it damaged? then copy it again, or leave it out")


def _audio(samples: np.ndarray, start: int) -> np.ndarray:
    """The int16 sound of CLIP_FRAMES frames."""
    sound = samples[start * SAMPLES_PER_FRAME : (start + CLIP_FRAMES) * SAMPLES_PER_FRAME]
    audio = np.round(sound * 2**15).clip(-(2**15), 2**15 - 1).astype(np.int16)
    if not audio.any():
        raise Unusable("sound", "is digital silence", "leave it out, or give a file with speech")
    return audio


class _Face(NamedTuple):
    """One aligned frame, and what is measured of it."""

    jpeg: bytes
    sharpness: float
    mouth: np.ndarray  # float32 [h, w], gray


def _aligned(frame: np.ndarray, points: np.ndarray, image_size: int) -> _Face:
    aligned = alignment.align(frame, points, stored_size(image_size))
    return _Face(encode_jpeg(aligned), measures.sharpness(aligned), measures.mouth(aligned, image_size))


def _measured(shown: Sequence[_Face], points: np.ndarray, audio: np.ndarray, image_size: int) -> dict[str, Any]:
    """What is measured of a clip's own frames and sound; docs/architecture.md says what each means."""
    together = measures.lip_sound(np.stack([aligned.mouth for aligned in shown]), audio)
    best = offsets.best_offset(-together)
    return {
        "face_size": measures.face_size(points),
        "sharpness": round(float(np.median([aligned.sharpness for aligned in shown])), 1),
        "loudness": measures.loudness(audio),
        "lip_sound": np.round(together, 2).tolist(),
        "offset_hint": best.frames if together.any() else None,  # nothing moves, or the sound is steady
        "offset_strength": round(-best.distance, 2),
        "points": measures.aligned_points(points, stored_size(image_size)),
    }


def _not_negative(text: str) -> float:
    if not 0 <= (value := float(text)) <= 25:
        raise argparse.ArgumentTypeError(f"{text} is not in 0 … 25 frames")
    return value

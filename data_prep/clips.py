"""Turns a recording into clip records, for every source: read, track the face, align, cut, measure."""

import argparse
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np

from data_prep import folders, measures
from data_prep.folders import AnyPath
from data_prep.shards import Rejection, Unusable
from data_prep.speaker import SPEAKERS, TRACKING, Tracked, track
from davs_jax.command_line import real
from davs_jax.constants import CLIP_FRAMES, SAMPLES_PER_FRAME
from davs_jax.errors import MediaError
from davs_jax.face_geometry import stored_size
from davs_jax.media import offsets
from davs_jax.media.audio import as_int16, clip_mfcc
from davs_jax.media.faces import alignment, detectors, tracking
from davs_jax.media.video.read import Clip, read_clip
from davs_jax.media.video.tracks import choose

JPEG_QUALITY = 95
UNKNOWN = -1  # label
MAX_SMOOTH = 25  # frames

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cut:
    """A clip of CLIP_FRAMES frames to cut out of a recording."""

    clip_id: str
    word: int  # label
    middle: float | None = None  # in frames from the recording's start; None is the recording's own middle
    measures: Mapping[str, Any] = field(default_factory=dict)  # the source's own, kept in the record with ours


@dataclass(frozen=True)
class Recording:
    """A video file and the clips to cut out of it."""

    path: AnyPath
    file: str  # its name in a rejection: its path in the input folder
    cuts: Sequence[Cut] | Callable[[int], Sequence[Cut]]  # or a function of the number of frames
    speaker: int = UNKNOWN  # label
    points: np.ndarray | None = None  # [T, 5, 2] where known: taken as exact, neither detected nor smoothed
    mouth_opening: np.ndarray | None = None  # [T] where known
    audio: AnyPath | None = None  # a separate audio file, where the video has none


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that every source of clips has."""
    add_detector(parser)
    parser.add_argument(
        "--detect-every",
        type=int,
        choices=range(1, 26),
        metavar="N",
        default=tracking.EVERY,
        help=f"detect the face in every N-th frame and interpolate between them (default {tracking.EVERY})",
    )
    parser.add_argument(
        "--smooth",
        type=real(0, MAX_SMOOTH),
        metavar="S",
        default=tracking.SMOOTH,
        help=f"standard deviation in frames of the Gaussian that smooths the face points over time, so that aligned "
        f"faces do not swim (default {tracking.SMOOTH:g}; 0: none)",
    )
    parser.add_argument(
        "--speaker",
        choices=SPEAKERS,
        default=SPEAKERS[0],
        help="of several faces, take the largest and most central one (default), or the one whose lips move with the "
        "audio",
    )


def add_detector(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--detector", choices=detectors.DETECTORS, default=detectors.DEFAULT, help="face detector (default mtcnn)"
    )


def options(args: argparse.Namespace) -> dict[str, Any]:
    """The options in a plan that every source of clips has.

    Raises:
      DetectorError: the detector is not installed.
    """
    detectors.detector(args.detector)  # fails before the first file, not at it
    return {"image_size": args.image_size, "seed": args.seed} | {name: getattr(args, name) for name in TRACKING}


def clip_records(recording: Recording, options: Mapping[str, Any]) -> Iterator[dict | Rejection]:
    """Yields the records and rejections of one recording.

    The file is decoded and the face tracked once, whatever the number of cuts.

    Args:
      options: `image_size` of the networks (stored frames are `stored_size` of it on a side), and those options of
        TRACKING that differ from the default.
    """
    try:
        clip = _read(recording)
        tracked = _known(recording, clip) if recording.points is not None else track(clip, options)
        _check_length("mouth_opening", recording.mouth_opening, clip)
    except Unusable as error:
        yield error.rejection(recording.file)
        return
    cuts = recording.cuts(len(clip.frames)) if callable(recording.cuts) else recording.cuts
    yield from cut_records(recording, cuts, clip, tracked, options["image_size"])


def cut_records(
    recording: Recording, cuts: Sequence[Cut], clip: Clip, tracked: Tracked, image_size: int
) -> Iterator[dict | Rejection]:
    """Yields the record, or the rejection, of each cut of a clip whose face is tracked.

    Args:
      cuts: in their order in time, so that each frame is aligned once.
      clip: the recording, or a part of it on which the cuts count their frames. Its frames may be read while they are
        used, as `footage.Footage`.
    """
    faces: dict[int, _Face] = {}  # cuts overlap
    for cut in cuts:
        try:
            start, shift = _place(cut, len(clip.frames))
            _check_tracked(tracked.lost[start : start + CLIP_FRAMES])
            audio = _audio(clip.samples, start)
        except Unusable as error:
            yield error.rejection(f"{recording.file} ({cut.clip_id})")
            continue
        span = range(start, start + CLIP_FRAMES)
        faces = {index: face for index, face in faces.items() if index >= start}
        for index in span:
            if index not in faces:
                faces[index] = _aligned(clip.frames[index], tracked.points[index], image_size)
        aligned = [faces[index] for index in span]
        opening = recording.mouth_opening
        own = {"shift": shift, **_measured(aligned, tracked.points[start : span.stop], audio, image_size)}
        yield {
            "clip_id": cut.clip_id,
            "word": cut.word,
            "speaker": recording.speaker,
            "frames": [face.jpeg for face in aligned],
            "audio": audio,
            "mfcc": clip_mfcc(audio, CLIP_FRAMES),
            "mouth_opening": np.zeros(0, np.float32) if opening is None else opening[start : span.stop],
            "measures": json.dumps({**tracked.measures, **own, **cut.measures}, sort_keys=True),
        }


def check(clip: Clip) -> None:
    """Raises Unusable where no clip can be cut out of a recording."""
    if len(clip.frames) < CLIP_FRAMES:
        reason = f"has {len(clip.frames)} frames, {CLIP_FRAMES} are needed"
        raise Unusable("length", reason, "copy the file again, or leave it out")
    if clip.samples is None:
        raise Unusable("sound", "has no audio track", "leave it out, or give a file with audio")


def encode_jpeg(image: np.ndarray) -> bytes:
    """uint8 RGB `[H, W, 3]` → JPEG."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()


def _read(recording: Recording) -> Clip:
    separate = folders.local(recording.audio) if recording.audio else nullcontext()
    with folders.local(recording.path) as path, separate as audio:
        try:
            clip = read_clip(path, audio)
            if clip.samples is not None and (note := choose(audio or path).note):
                log.warning(note)
        except MediaError as error:
            if audio and error.reason.startswith(f"{audio}: "):
                raise Unusable.of_file("sound", audio, error) from error
            raise Unusable.of_file("read", path, error) from error
    check(clip)
    return clip


def _known(recording: Recording, clip: Clip) -> Tracked:
    """The face at the recording's own points."""
    _check_length("points", recording.points, clip)
    return Tracked.of(recording.points, np.zeros(len(clip.frames), bool), {}, 1.0)


def _check_length(name: str, known: np.ndarray | None, clip: Clip) -> None:
    if known is not None and len(known) != len(clip.frames):
        raise Unusable("label", f"{name} of {len(known)} frames, the video has {len(clip.frames)}", "correct them")


def _place(cut: Cut, frames: int) -> tuple[int, int]:
    """(first frame of a cut, number of frames by which it was moved to stay inside the recording)."""
    middle = frames / 2 if cut.middle is None else cut.middle
    if not 0 <= middle < frames:
        reason = f"its middle is at frame {middle:g}, the video has {frames}"
        raise Unusable("length", reason, "copy the video again, its end is missing")
    wanted = int(np.floor(middle - CLIP_FRAMES / 2 + 0.5))
    start = min(max(wanted, 0), frames - CLIP_FRAMES)
    return start, start - wanted


def _check_tracked(lost: np.ndarray) -> None:
    """Refuses a cut in which the face is lost for some frames: they would not show it."""
    if lost.any():
        reason = f"no face is found for a while, in {lost.sum()} of its {len(lost)} frames"
        raise Unusable("face", reason, "watch the video; if it is damaged, copy it again, otherwise leave it out")


def _audio(samples: np.ndarray, start: int) -> np.ndarray:
    """The audio of CLIP_FRAMES frames, int16 `[CLIP_FRAMES · 640]`."""
    samples = samples[start * SAMPLES_PER_FRAME : (start + CLIP_FRAMES) * SAMPLES_PER_FRAME]
    audio = as_int16(samples)
    if not audio.any():
        raise Unusable("sound", "is digital silence", "leave it out, or give a file with speech")
    return audio


class _Face(NamedTuple):
    """One aligned frame and its measures."""

    jpeg: bytes
    sharpness: float
    mouth: np.ndarray  # float32 [h, w], gray


def _aligned(frame: np.ndarray, points: np.ndarray, image_size: int) -> _Face:
    aligned = alignment.align(frame, points, stored_size(image_size))
    return _Face(encode_jpeg(aligned), measures.sharpness(aligned), measures.mouth(aligned, image_size))


def _measured(faces: Sequence[_Face], points: np.ndarray, audio: np.ndarray, image_size: int) -> dict[str, Any]:
    """The measures of a clip's frames and audio; docs/architecture.md explains each."""
    correlation = measures.lip_sound(np.stack([face.mouth for face in faces]), audio)
    best = offsets.best_offset(-correlation)
    return {
        "face_size": measures.face_size(points),
        "sharpness": round(float(np.median([face.sharpness for face in faces])), 1),
        "loudness": measures.loudness(audio),
        "lip_sound": np.round(correlation, 2).tolist(),
        "offset_hint": best.frames if correlation.any() else None,  # the lips are still, or the loudness constant
        "offset_strength": round(-best.distance, 2),
        "points": measures.aligned_points(points, stored_size(image_size)),
    }

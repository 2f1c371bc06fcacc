"""Video files in and out, by PyAV: pictures at 25 fps and sound, placed by the container's own timestamps.

Sound and pictures share one clock here, which starts at the first shown frame. Counting samples instead
shifts the two by more than a frame: AAC begins with 1,024 samples of priming (64 ms at 16 kHz) that some
readers skip and some do not, and recordings start their two streams at different times.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from davs_jax.constants import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from davs_jax.media.video.streams import (
    MediaError,
    audio_stream,
    check_complete,
    decode,
    frame_rate,
    opened,
    shown_for,
    sound_pieces,
    time_of,
    timed_frames,
    video_stream,
)

BLOCK = 5  # s of sound in memory at once while a long one is read


@dataclass(frozen=True)
class Media:
    """What a file holds; the figures of a stream that it lacks are 0."""

    has_video: bool
    has_audio: bool
    duration: float  # s, as the container declares it; 0 where it does not
    fps: float  # frames per second on average
    width: int  # pixels, as shown: after rotation
    height: int
    sample_rate: int  # Hz
    start: float  # s on the container's clock of the first frame (where there is none, of the first sound)


@dataclass(frozen=True)
class Clip:
    """Pictures and sound on one clock."""

    frames: np.ndarray  # uint8 [T, H, W, 3], RGB, 25 fps
    samples: np.ndarray | None  # float32 [T · 640], mono, 16 kHz, from the first frame's time; None if silent


def probe(path: str | Path) -> Media:
    """Says what a file holds, by its header and its first frame.

    Raises:
      MediaError: the file is missing, empty, or not a media file.
    """
    with opened(path) as container:
        video, audio = video_stream(container), audio_stream(container)
        first = next(timed_frames(path, container, video), None) if video else None
        sound = next(decode(path, container, audio), None) if audio and first is None else None
        if first is None and sound is None:
            raise MediaError(f"{path}: nothing of it can be decoded; copy it again (it may be damaged)")
        duration, rate = (container.duration or 0) / av.time_base, audio.rate if audio else 0
        if first is None:
            return Media(False, True, duration, 0.0, 0, 0, rate, time_of(sound) or 0.0)
        start, frame = first
        width, height = (frame.height, frame.width) if frame.rotation % 180 else (frame.width, frame.height)
        return Media(True, audio is not None, duration, frame_rate(video), width, height, rate, start)


def read_clip(path: str | Path, sound: str | Path | None = None) -> Clip:
    """Reads a whole file into memory (0.2 MB a frame at 256 × 256); for long ones see `read_frames`.

    Sound from before the first frame is cut, gaps and a missing end are silence.

    Args:
      sound: the file that holds the sound, where it is another; the two files' clocks count as one.

    Raises:
      MediaError: as `read_frames` and `read_audio`, except that a clip without sound is fine.
    """
    frames = np.stack(list(read_frames(path)))
    media = probe(path)
    if sound is None and not media.has_audio:
        return Clip(frames, None)
    samples = read_audio(sound or path, origin=media.start)[: len(frames) * SAMPLES_PER_FRAME]
    return Clip(frames, np.pad(samples, (0, len(frames) * SAMPLES_PER_FRAME - len(samples))))


def read_frames(path: str | Path, fps: int = FPS) -> Iterator[np.ndarray]:
    """Yields uint8 RGB `[H, W, 3]`, upright, at a constant rate: for each tick the frame nearest in time.

    Raises:
      MediaError: the file is missing, empty, not media, without picture, or ends before its header says.
    """
    with opened(path) as container:
        stream = video_stream(container)
        if stream is None:
            raise MediaError(f"{path}: has no picture; give a video file")
        held = start = None
        ticks = 0  # how many pictures were given out
        for time, frame in timed_frames(path, container, stream):
            if held is None:
                start, size = time, (frame.width, frame.height)
            else:
                while ticks < ((held[0] + time) / 2 - start) * fps:
                    yield _picture(held[1], size)
                    ticks += 1
            held = time, frame
        if held is None:
            raise MediaError(f"{path}: none of its pictures can be decoded; copy it again (it may be truncated)")
        end = held[0] + shown_for(held[1], stream)
        check_complete(path, stream, end)
        for _ in range(ticks, max(1, round((end - start) * fps))):
            yield _picture(held[1], size)


def read_audio(path: str | Path, sample_rate: int = SAMPLE_RATE, origin: float | None = None) -> np.ndarray:
    """Reads the whole sound into memory as float32 `[N]` (230 MB an hour); for long ones see `read_sound`.

    Args, Raises: as `read_sound`.
    """
    return np.concatenate([np.zeros(0, np.float32), *read_sound(path, sample_rate, origin)])


def read_sound(path: str | Path, sample_rate: int = SAMPLE_RATE, origin: float | None = None) -> Iterator[np.ndarray]:
    """Yields the sound in consecutive blocks float32 `[N]` of about BLOCK s, mono, resampled to `sample_rate` Hz.

    Sample 0 is at the time of the first frame where the file has pictures (so it lines up with
    `read_frames`), else at the first sound. Gaps in the timestamps become silence.

    Args:
      origin: time of sample 0 in seconds on the container's clock, where it is to be another.

    Raises:
      MediaError: the file is missing, empty, not media, without sound, or ends before its header says.
    """
    origin = probe(path).start if origin is None else origin
    block, length, end, found = [], 0, 0, False  # of the block, of all the sound so far
    with opened(path) as container:
        stream = audio_stream(container)
        if stream is None:
            raise MediaError(f"{path}: has no sound; give a file with an audio track")
        for time, first, samples in sound_pieces(path, container, stream, sample_rate):
            found = True
            position = round((time - origin) * sample_rate) + first
            samples = samples[max(0, end - position) :]  # from before the origin, or told twice
            if not len(samples):
                continue
            gap = max(0, position - end)
            block += [np.zeros(gap, np.float32), samples] if gap else [samples]
            length, end = length + gap + len(samples), end + gap + len(samples)
            if length >= BLOCK * sample_rate:
                yield np.concatenate(block)
                block, length = [], 0
    if not found:
        raise MediaError(f"{path}: none of its sound can be decoded; copy it again (it may be truncated)")
    if block:
        yield np.concatenate(block)


def _picture(frame, size: tuple[int, int]) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
    return np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))

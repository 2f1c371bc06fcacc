"""Reads media files: frames at 25 fps and audio, both placed by the container's timestamps.

Audio and video share one clock, which starts at the first shown frame. Counting samples instead would shift the two by
more than a frame: AAC begins with 1,024 samples of priming (64 ms at 16 kHz), which some readers skip and some do not,
and recordings start their two streams at different times.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from davs_jax.constants import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME
from davs_jax.errors import MediaError
from davs_jax.media.video.shown import Shown
from davs_jax.media.video.stated import check_complete, stated_duration, stated_end
from davs_jax.media.video.streams import (
    audio_pieces,
    audio_streams,
    decode,
    frame_rate,
    opened,
    shown_for,
    time_of,
    timed_frames,
    video_stream,
)
from davs_jax.media.video.tracks import choose

BLOCK = 5  # s of audio in memory at once while a long file is read


@dataclass(frozen=True)
class Media:
    """What a file holds; the values of a missing stream are 0."""

    has_video: bool
    has_audio: bool
    duration: float  # s, as the container states it; 0 where it states none
    fps: float  # average frames per second
    width: int  # pixels, as shown: square, after rotation
    height: int
    sample_rate: int  # Hz
    start: float  # time of the first frame (without video: of the first sample) on the container's clock, s


@dataclass(frozen=True)
class Clip:
    """Frames and audio on one clock."""

    frames: np.ndarray  # uint8 [T, H, W, 3], RGB, 25 fps
    samples: np.ndarray | None  # float32 [T · 640], mono, 16 kHz, from the first frame's time; None without audio


def probe(path: str | Path) -> Media:
    """What a file holds, from its header and its first frame.

    Raises:
      MediaError: the file is missing, empty, or not a media file.
    """
    with opened(path) as container:
        video, (_, audio) = video_stream(container), next(iter(audio_streams(container)), (0, None))
        first = next(timed_frames(path, container, video), None) if video else None
        heard = next(decode(path, container, audio), None) if audio and first is None else None
        if first is None and heard is None:
            raise MediaError(f"{path}: is empty or damaged, for nothing of it can be decoded", "copy it again")
        duration, rate = stated_duration(path, container), audio.rate if audio else 0
        if first is None:
            return Media(False, True, duration, 0.0, 0, 0, rate, time_of(heard) or 0.0)
        start, shown = first[0], Shown(path, video, first[1])
        return Media(True, audio is not None, duration, frame_rate(video), shown.width, shown.height, rate, start)


def stated_frames(path: str | Path) -> int:
    """About how many frames `read_frames` yields, from the file's header alone; 0 where it states no length.

    Raises:
      MediaError: as `probe`.
    """
    with opened(path) as container:
        if (stream := video_stream(container)) is None:
            return 0
        if (end := stated_end(path, stream)) is None:  # FFmpeg's estimate
            return round((container.duration or 0) / 1e6 * FPS)
        return round((end - float((stream.start_time or 0) * stream.time_base)) * FPS)


def read_clip(path: str | Path, audio: str | Path | None = None, track: int | None = None) -> Clip:
    """Reads a whole file into memory (0.2 MB per frame of 256 × 256); for long ones use `read_frames`.

    Audio before the first frame is cut; gaps and a missing end become silence.

    Args:
      audio: the file that holds the audio, where it is another; both files are taken to share one clock.
      track: as of `read_audio_blocks`.

    Raises:
      MediaError: as `read_frames` and `read_audio`, except that a clip may lack audio.
    """
    frames = np.stack(list(read_frames(path)))
    return Clip(frames, read_fitted_audio(path, len(frames), audio, track))


def read_fitted_audio(
    path: str | Path, frames: int, audio: str | Path | None = None, track: int | None = None
) -> np.ndarray | None:
    """The audio of a video's frames, float32 `[frames · 640]`; None where it has none.

    Args:
      frames: as many as `read_frames` yields.
      audio, track, Raises: as of `read_clip`.
    """
    media = probe(path)
    if audio is None and not media.has_audio:
        return None
    samples = read_audio(audio or path, media.start, track)[: frames * SAMPLES_PER_FRAME]
    return np.pad(samples, (0, frames * SAMPLES_PER_FRAME - len(samples)))


def read_frames(path: str | Path, fps: int = FPS) -> Iterator[np.ndarray]:
    """Yields frames uint8 RGB `[H, W, 3]` at a constant rate: for each tick the frame nearest in time.

    Frames are as a player shows them: turned and mirrored, with square pixels, progressive, in SDR with BT.709 colours.

    Raises:
      MediaError: the file is missing, empty, not media, has no video or too large frames, or ends before its header
        says.
    """
    with opened(path) as container:
        stream = video_stream(container)
        if stream is None:
            raise MediaError(f"{path}: has no video track", "give a video file")
        held = start = None
        ticks = 0  # frames yielded
        for time, frame in timed_frames(path, container, stream):
            if held is None:
                start, shown = time, Shown(path, stream, frame)
            else:
                while ticks < ((held[0] + time) / 2 - start) * fps:
                    yield shown.rgb(held[1])
                    ticks += 1
            held = time, frame
        if held is None:
            raise MediaError(f"{path}: none of its frames can be decoded", "copy it again (it may be truncated)")
        end = held[0] + shown_for(held[1], stream)
        check_complete(path, stream, end, max(0.1, 2 / frame_rate(stream)))
        for _ in range(ticks, max(1, round((end - start) * fps))):
            yield shown.rgb(held[1])


def read_audio(path: str | Path, origin: float | None = None, track: int | None = None) -> np.ndarray:
    """Reads the whole audio, at 16 kHz, into memory as float32 `[N]` (230 MB per hour).

    For long files use `read_audio_blocks`.

    Args, Raises: as `read_audio_blocks`.
    """
    return np.concatenate([np.zeros(0, np.float32), *read_audio_blocks(path, origin=origin, track=track)])


def read_audio_blocks(
    path: str | Path,
    sample_rate: int = SAMPLE_RATE,
    origin: float | None = None,
    track: int | None = None,
    longest: float = math.inf,
) -> Iterator[np.ndarray]:
    """Yields the audio in consecutive blocks float32 `[N]` of about BLOCK s, mono, resampled to `sample_rate` Hz.

    Sample 0 is at the time of the first frame, in step with `read_frames`, or of the first sample where the file has no
    video. Gaps in the timestamps become silence.

    Args:
      origin: another time for sample 0, in seconds on the container's clock.
      track, longest: as `number` and `longest` of `tracks.choose`.

    Raises:
      MediaError: the file is missing, empty, not media, has no audio or no such track, ends before its header says, or
        holds numbers that are not finite.
    """
    chosen = choose(path, track, longest)
    origin = probe(path).start if origin is None else origin
    block, length, end, found = [], 0, 0, False  # samples in the block; samples so far
    with opened(path) as container:
        stream = container.streams.audio[chosen.index]
        for time, first, samples in audio_pieces(path, container, stream, sample_rate, chosen.channel):
            found = True
            if not np.isfinite(samples).all():
                raise MediaError(f"{path}: its audio holds numbers that are not finite", "convert it to wav or mp3")
            position = round((time - origin) * sample_rate) + first
            samples = samples[max(0, end - position) :]  # without those before the origin, and repeated ones
            if not len(samples):
                continue
            gap = max(0, position - end)
            block += [np.zeros(gap, np.float32), samples] if gap else [samples]
            length, end = length + gap + len(samples), end + gap + len(samples)
            if length >= BLOCK * sample_rate:
                yield np.concatenate(block)
                block, length = [], 0
    if not found:
        raise MediaError(f"{path}: none of its audio can be decoded", "copy it again (it may be truncated)")
    if block:
        yield np.concatenate(block)

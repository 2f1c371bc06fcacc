"""Video files in and out, by PyAV: pictures at 25 fps and sound, placed by the container's own timestamps.

Sound and pictures share one clock here, which starts at the first shown frame. Counting samples instead
shifts the two by more than a frame: AAC begins with 1,024 samples of priming (64 ms at 16 kHz) that some
readers skip and some do not, and recordings start their two streams at different times.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace

from davs_jax.media.streams import (
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
from davs_jax.records import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME

BLOCK = 5  # s of sound in memory at once while a long one is read
AAC_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz


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


class Writer:
    """Writes an mp4 (H.264 and AAC) that every player takes; frames are encoded as they come.

        with Writer("out.mp4", samples=speech, metadata={"comment": "generated"}) as writer:
            for frame in frames:
                writer.write(frame)

    The size is the first frame's; an odd side grows by one pixel, which H.264's 4:2:0 needs. The sound starts
    with the first frame and is cut, or filled with silence, to end with the last. Leaving the block by an
    exception (Ctrl-C too) still finishes the file, so that what was written so far plays.

    Args:
      path: the mp4 to write; its folder must exist.
      fps: frames per second.
      samples: float32 `[N]` in −1…1, mono, or blocks of it, which are taken as they are needed; None for a silent file.
      sample_rate: of the samples, Hz; one of AAC_RATES.
      metadata: container tags, e.g. title, comment; any name is kept.
      preset: x264's trade of time for size.
      threads: of x264; 0 is one per core. The bytes depend on it.

    Raises:
      MediaError: the file cannot be written, or the block ended without a frame.
      ValueError: the sample rate is none of AAC's, or a frame differs from the first in size.
    """

    def __init__(
        self,
        path: str | Path,
        fps: int = FPS,
        samples: np.ndarray | Iterable[np.ndarray] | None = None,
        sample_rate: int = SAMPLE_RATE,
        metadata: Mapping[str, str] | None = None,
        preset: str = "veryfast",
        threads: int = 0,
    ):
        if sample_rate not in AAC_RATES:
            raise ValueError(f"AAC has no sample rate of {sample_rate} Hz; resample to one of {AAC_RATES}")
        self.path = Path(path)
        self.fps = fps
        self._sample_rate = sample_rate
        self._blocks = iter([samples] if isinstance(samples, np.ndarray) else samples or [])
        self._held = np.zeros(0, np.float32)  # of the sound, not encoded yet
        self._frames = self._sent = 0  # frames written, samples encoded
        self._shape = None
        options = {"movflags": "faststart+use_metadata_tags"}
        with naming(self.path, "written"):
            self.path.open("wb").close()  # av.open notices an impossible path only at the first frame
            self._container = av.open(f"file:{self.path}", "w", format="mp4", options=options)
        self._container.metadata.update(metadata or {})
        self._video = self._container.add_stream("libx264", rate=fps, options={"preset": preset, "crf": "18"})
        self._video.pix_fmt = "yuv420p"
        self._video.codec_context.thread_count = threads
        self._video.codec_context.colorspace = Colorspace.SMPTE170M  # what the conversion from RGB makes
        self._audio = None
        if samples is not None:
            coder = {"aac_coder": "fast"}  # the default takes as long as the pictures
            self._audio = self._container.add_stream("aac", rate=sample_rate, layout="mono", options=coder)
            self._audio.bit_rate = min(128_000, 6 * sample_rate)

    def __enter__(self) -> "Writer":
        return self

    def write(self, frame: np.ndarray) -> None:
        """Appends uint8 RGB `[H, W, 3]`."""
        if self._shape is None:
            self._shape = frame.shape
            self._video.height, self._video.width = (side + side % 2 for side in frame.shape[:2])
        if frame.shape != self._shape:
            raise ValueError(f"{self.path}: frame {self._frames} is {frame.shape}, the first is {self._shape}")
        even = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        picture.pts, picture.time_base = self._frames, Fraction(1, self.fps)
        with naming(self.path, "written"):
            self._container.mux(self._video.encode(picture))
            self._frames += 1
            self._send_sound(round(self._frames / self.fps * self._sample_rate))

    def __exit__(self, kind, error, traceback) -> None:
        with naming(self.path, "finished"):
            if self._frames:
                self._container.mux(self._video.encode(None))
                if self._audio:
                    self._container.mux(self._audio.encode(None))
            self._container.close()
        if not self._frames:
            self.path.unlink(missing_ok=True)
            if kind is None:
                raise MediaError(f"{self.path}: no frame was written to it; the source has none")

    def _send_sound(self, end: int) -> None:
        if self._audio is None:
            return
        count = end - self._sent
        while len(self._held) < count and (block := next(self._blocks, None)) is not None:
            self._held = np.concatenate([self._held, block.astype(np.float32)])
        samples, self._held = self._held[:count], self._held[count:]
        samples = np.pad(samples, (0, count - len(samples)))
        sound = av.AudioFrame.from_ndarray(samples[None].clip(-1, 1), format="flt", layout="mono")
        sound.sample_rate, sound.time_base = self._sample_rate, Fraction(1, self._sample_rate)
        sound.pts = self._sent
        self._container.mux(self._audio.encode(sound))
        self._sent = end


@contextmanager
def naming(path: str | Path, done: str):
    """Whatever the writers raise within the block becomes a MediaError."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or "unknown error"
        raise MediaError(f"{path}: cannot be {done} ({reason.lower()}); check its folder and disk") from error


def _picture(frame, size: tuple[int, int]) -> np.ndarray:
    pixels = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
    return np.ascontiguousarray(np.rot90(pixels, frame.rotation // 90))

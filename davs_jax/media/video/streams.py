"""The streams of a media file, decoded by PyAV with times that can be trusted; `video.py` builds on it."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np

from davs_jax.constants import FPS
from davs_jax.errors import MediaError

LONGEST_GAP = 60.0  # s without a frame or a sound; more is a damaged timestamp, to be filled for hours
# What a file may be: not a list of other files or addresses, which would be read in its place, whoever's they are.
LISTS = {"hls", "concat", "concatf", "dash", "imf", "sdp", "rtsp", "sap", "smoothstreaming", "image2", "lavfi"}
FORMATS = ",".join(sorted(av.formats_available - LISTS))
SOUND_TOLERANCE = 0.02  # s by which a piece of sound may miss the end of the one before without being moved
# Tags may be in any encoding. PyAV 18 must be told so; 19 takes them as they are, and no longer knows the word.
TAGS = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}

log = logging.getLogger(__name__)


@contextmanager
def opened(path: str | Path):
    """Opens a file to read; whatever PyAV raises within the block becomes a MediaError."""
    path = Path(path)
    if path.is_dir():
        raise MediaError(f"{path}: is a folder; name a file in it")
    if not path.is_file():
        raise MediaError(f"{path}: no such file; check the path")
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: is empty (0 bytes); copy or download it again")
    try:  # "file:" so that no name is taken for a network address
        with av.open(f"file:{path}", options={"format_whitelist": FORMATS}, **TAGS) as container:
            yield container
    except av.error.FFmpegError as error:
        reason = (error.strerror or "unknown error").lower()
        remedy = "copy it again (it may be truncated), or convert it to mp4"
        raise MediaError(f"{path}: cannot be read as sound or video ({reason}); {remedy}") from error


def video_stream(container):
    """The first moving picture that can be decoded, or None; an mp3's cover is none."""
    cover = av.stream.Disposition.attached_pic
    return next((s for s in container.streams.video if s.codec_context and not s.disposition & cover), None)


def audio_stream(container):
    """The first sound that can be decoded, or None."""
    return next((s for s in container.streams.audio if s.codec_context), None)


def frame_rate(stream) -> float:
    """Frames per second on average."""
    return float(stream.average_rate or stream.guessed_rate or FPS)


def time_of(frame) -> float | None:
    """Seconds on the container's clock, or None where the frame does not say."""
    return None if frame.pts is None else float(frame.pts * frame.time_base)


def shown_for(frame, stream) -> float:
    """Seconds that a frame stays on the screen."""
    return float(frame.duration * frame.time_base) if frame.duration else 1 / frame_rate(stream)


def decode(path, container, stream) -> Iterator:
    """Decodes one stream; damaged packets are left out and counted in a warning."""
    damaged = 0
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            damaged += 1
    if damaged:
        log.warning("%s: %d damaged packets of %s were left out", path, damaged, stream.type)


def timed_frames(path, container, stream) -> Iterator[tuple]:
    """Yields (seconds, frame) with strictly growing times, even where the container's do not grow.

    Raises:
      MediaError: the times leap.
    """
    last = None
    for frame in decode(path, container, stream):
        time = time_of(frame)
        if last is None:
            time = time or 0.0
        elif time is None or time <= last:
            time = last + 1 / frame_rate(stream)
        else:
            _check_gap(path, last, time)
        yield time, frame
        last = time


def sound_pieces(path, container, stream, sample_rate: int) -> Iterator[tuple[float, int, np.ndarray]]:
    """Yields (seconds, first, float32 samples `[N]`), a packet at a time.

    Stretches with continuous times are resampled on their own: `seconds` is when the stretch starts, `first` how many
    of its samples came before these.

    Raises:
      MediaError: the times leap, or the sound ends before its header says.
    """
    start = kind = frame = resampler = None
    decoded, given, held = 0, 0, np.zeros(0, np.float32)  # samples read, and given out; those not given out yet
    for frame in decode(path, container, stream):
        expected = None if start is None else start + decoded / kind[0]
        time = time_of(frame)
        time = (expected or 0.0) if time is None else time
        if kind != _kind(frame) or abs(time - expected) > SOUND_TOLERANCE:
            if start is not None:
                _check_gap(path, expected, time)
                yield start, given, np.concatenate([held, *_resampled(resampler, None)])
            resampler = av.AudioResampler(format="flt", layout="mono", rate=sample_rate)
            start, kind, decoded, given, held = time, _kind(frame), 0, 0, np.zeros(0, np.float32)
        held = np.concatenate([held, *_resampled(resampler, frame)])
        # The last packet may turn out to be filled up, so what it brings is held back until the next one.
        sure = max(0, int(decoded * sample_rate / kind[0]) - given)
        yield start, given, held[:sure]
        given, held = given + len(held[:sure]), held[sure:]
        decoded += frame.samples
    if frame is not None:
        length = decoded / frame.sample_rate
        check_complete(path, stream, start + length)
        if frame.duration:  # AAC fills its last packet up to 1,024 samples, but says where the sound ends
            length -= max(0.0, frame.samples / frame.sample_rate - float(frame.duration * frame.time_base))
        held = np.concatenate([held, *_resampled(resampler, None)])
        yield start, given, held[: max(0, round(length * sample_rate) - given)]


def resampled(blocks: Iterable[np.ndarray], rate: int, wanted: int) -> Iterator[np.ndarray]:
    """Consecutive blocks of mono sound, int16 or float `[N]`, at `rate` Hz → float32 at `wanted` Hz, as it comes."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=wanted)
    for block in blocks:
        scale = 1 / 2**15 if block.dtype == np.int16 else 1
        frame = av.AudioFrame.from_ndarray((block[None] * scale).astype(np.float32), format="flt", layout="mono")
        frame.sample_rate = rate
        yield from _resampled(resampler, frame)
    yield from _resampled(resampler, None)


def _kind(frame) -> tuple:
    return frame.sample_rate, frame.format.name, frame.layout.name


def _resampled(resampler, frame) -> list[np.ndarray]:
    return [part.to_ndarray()[0] for part in resampler.resample(frame)]


def _check_gap(path, before: float, after: float) -> None:
    if after - before > LONGEST_GAP:
        jump = f"its clock jumps from {before:.2f} s to {after:.2f} s"
        raise MediaError(f"{path}: {jump}, so its timestamps are damaged; convert it to mp4")


def check_complete(path, stream, end: float) -> None:
    """Raises MediaError where a stream ends at `end` seconds, but was to go on."""
    if stream.duration is None:
        return
    declared = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    slack = 2 / frame_rate(stream) if stream.type == "video" else 0.1
    if declared - end > max(0.1, slack):
        stop = f"its {stream.type} stops at {end:.2f} s of {declared:.2f} s"
        raise MediaError(f"{path}: {stop}, so the file is truncated; copy it again")

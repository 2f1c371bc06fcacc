"""The streams of a media file, decoded by PyAV, with reliable times."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np

from davs_jax.constants import FPS
from davs_jax.errors import MediaError
from davs_jax.media.video.channels import mono
from davs_jax.media.video.shown import MOST_PIXELS, check_size, deinterlaced
from davs_jax.media.video.stated import check_complete

LONGEST_GAP = 60.0  # s without a frame or a sample; a longer gap is a damaged timestamp, and is not filled
# Formats that name other files or addresses, which FFmpeg would read in the file's place, whoever owns them.
LISTS = {"hls", "concat", "concatf", "dash", "imf", "sdp", "rtsp", "sap", "smoothstreaming", "image2", "lavfi"}
FORMATS = ",".join(sorted(av.formats_available - LISTS))
# Opening decodes the first frames of some files, so the limit of pixels is needed there too.
OPTIONS = {"format_whitelist": FORMATS, "max_pixels": str(MOST_PIXELS)}
IMAGES = {"mjpeg", "png", "bmp", "gif", "webp"}  # codecs of covers and thumbnails, though also of some videos
FASTEST = 1000  # frames per second; FFmpeg states more where it knows no average, e.g. 60,000 for raw DV
LATE = 0.5  # s from a stream's start to its first decoded frame that are worth a warning
AUDIO_TOLERANCE = 0.02  # s between the end of one audio packet and the next that still count as continuous
# Tags may have any encoding. PyAV 18 needs this option for it; 19 needs none, and no longer takes it.
TAGS = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}

log = logging.getLogger(__name__)


@contextmanager
def opened(path: str | Path):
    """Opens a file to read; an error of PyAV within the block becomes a MediaError."""
    path = Path(path)
    _check_file(path)
    try:  # "file:", so that no name is taken for a network address
        with av.open(f"file:{path}", options=OPTIONS, **TAGS) as container:
            yield container
    except av.error.FFmpegError as error:
        reason = (error.strerror or "unknown error").lower()
        remedy = "copy it again (it may be truncated), or convert it to mp4"
        raise MediaError(f"{path}: cannot be read as audio or video ({reason})", remedy) from error


def _check_file(path: Path) -> None:
    """Raises MediaError where a path names no file with content."""
    try:
        if path.is_dir():
            raise MediaError(f"{path}: is a folder", "name a file in it")
        if not path.exists():
            raise MediaError(f"{path}: no such file", "check the path")
        if not path.is_file():  # it is read several times, and a pipe can be read once
            raise MediaError(f"{path}: is a pipe or a device", "save it to a file first")
        if path.stat().st_size == 0:
            raise MediaError(f"{path}: is empty (0 bytes)", "copy or download it again")
    except OSError as error:  # a name that is too long, a folder that may not be searched
        raise MediaError(f"{path}: cannot be read ({error.strerror})", "check the path") from error


def video_stream(container):
    """The first video stream that can be decoded, or None.

    A cover does not count, and images (a thumbnail that is not marked as a cover) only where there is no other stream.
    """
    cover = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if s.codec_context and not s.disposition & cover]
    return min(streams, key=lambda stream: stream.codec_context.name in IMAGES, default=None)


def audio_streams(container) -> list[tuple[int, Any]]:
    """The audio streams that can be decoded, each with its index among all audio streams."""
    return [(index, stream) for index, stream in enumerate(container.streams.audio) if stream.codec_context]


def frame_rate(stream) -> float:
    """Frames per second on average."""
    average = stream.average_rate
    if not average or average > FASTEST:
        average = stream.guessed_rate or FPS
    return float(average)


def time_of(frame) -> float | None:
    """Seconds on the container's clock, or None where the frame has no timestamp."""
    return None if frame.pts is None else float(frame.pts * frame.time_base)


def shown_for(frame, stream) -> float:
    """Seconds for which a frame is shown."""
    return float(frame.duration * frame.time_base) if frame.duration else 1 / frame_rate(stream)


def decode(path, container, stream, quiet: bool = False) -> Iterator:
    """Decodes one stream; damaged packets are skipped and, unless `quiet`, counted in a warning."""
    damaged = 0
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except (av.error.InvalidDataError, ValueError):  # the latter of PyAV 19, whose decoder did not open before
            damaged += 1
    if damaged and not quiet:
        log.warning("%s: %d damaged packets of %s were skipped", path, damaged, stream.type)


def timed_frames(path, container, stream) -> Iterator[tuple]:
    """Yields (seconds, progressive frame) with strictly increasing times, even where the container's do not increase.

    Raises:
      MediaError: the frames are too large, or their times jump by more than LONGEST_GAP.
    """
    check_size(path, stream.width, stream.height)
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # where the header is wrong
    last = None
    for frame in deinterlaced(decode(path, container, stream)):
        time = time_of(frame)
        if last is None:
            time = time or 0.0
            _warn_late(path, stream, time)
        elif time is None or time <= last:
            time = last + 1 / frame_rate(stream)
        else:
            _check_gap(path, last, time)
        yield time, frame
        last = time
    if last is None and not stream.width:
        reason = f"{path}: the size of its frames is unknown, or above {MOST_PIXELS / 1e6:.0f} megapixels"
        raise MediaError(reason, "convert it to an mp4 of smaller frames")


def audio_pieces(
    path, container, stream, sample_rate: int, channel: int | None = None
) -> Iterator[tuple[float, int, np.ndarray]]:
    """Yields (seconds, first, float32 samples `[N]`), mono, a packet at a time.

    Each stretch of continuous times is resampled separately: `seconds` is the start of the stretch, `first` the number
    of its samples before these.

    Args:
      channel: as of `channels.mono`.

    Raises:
      MediaError: the times jump by more than LONGEST_GAP, or the audio ends before its header says.
    """
    start = kind = frame = resampler = None
    decoded, given, held = 0, 0, np.zeros(0, np.float32)  # samples decoded; yielded; not yielded yet
    for frame in decode(path, container, stream):
        expected = None if start is None else start + decoded / kind[0]
        time = time_of(frame)
        time = (expected or 0.0) if time is None else time
        if kind != _kind(frame) or abs(time - expected) > AUDIO_TOLERANCE:
            if start is not None:
                _check_gap(path, expected, time)
                yield start, given, np.concatenate([held, *_resampled(resampler, None, channel)])
            resampler = av.AudioResampler(format="flt", layout=frame.layout, rate=sample_rate)
            start, kind, decoded, given, held = time, _kind(frame), 0, 0, np.zeros(0, np.float32)
        held = np.concatenate([held, *_resampled(resampler, frame, channel)])
        # The last packet may be padded, so a packet's samples are held back until the next one.
        sure = max(0, int(decoded * sample_rate / kind[0]) - given)
        yield start, given, held[:sure]
        given, held = given + len(held[:sure]), held[sure:]
        decoded += frame.samples
    if frame is not None:
        length = decoded / frame.sample_rate
        check_complete(path, stream, start + length, 0.1 + 2 * frame.samples / frame.sample_rate)
        if frame.duration:  # AAC pads its last packet to 1,024 samples, but declares where the audio ends
            length -= max(0.0, frame.samples / frame.sample_rate - float(frame.duration * frame.time_base))
        held = np.concatenate([held, *_resampled(resampler, None, channel)])
        yield start, given, held[: max(0, round(length * sample_rate) - given)]


def resampled(blocks: Iterable[np.ndarray], rate: int, wanted: int) -> Iterator[np.ndarray]:
    """Resamples streamed mono audio: blocks int16 or float `[N]` at `rate` Hz → blocks float32 at `wanted` Hz."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=wanted)
    for block in blocks:
        scale = 1 / 2**15 if block.dtype == np.int16 else 1
        frame = av.AudioFrame.from_ndarray((block[None] * scale).astype(np.float32), format="flt", layout="mono")
        frame.sample_rate = rate
        yield from _resampled(resampler, frame)
    yield from _resampled(resampler, None)


def _kind(frame) -> tuple:
    return frame.sample_rate, frame.format.name, frame.layout.name


def _resampled(resampler, frame, channel: int | None = None) -> list[np.ndarray]:
    return [mono(part, channel) for part in resampler.resample(frame)]


def _check_gap(path, before: float, after: float) -> None:
    if after - before > LONGEST_GAP:
        jump = f"its clock jumps from {before:.2f} s to {after:.2f} s"
        raise MediaError(f"{path}: {jump}, so its timestamps are damaged", "convert it to mp4")


def _warn_late(path, stream, time: float) -> None:
    if stream.start_time is not None:
        late = time - float(stream.start_time * stream.time_base)
        if late > LATE:
            log.warning(
                "%s: its first %.1f s show nothing, because the frame that they build on is missing", path, late
            )

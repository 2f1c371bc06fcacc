"""The lengths that files state, and whether their streams reach them.

FFmpeg estimates a missing length from the bitrate, or replaces a stated one by what the file holds; neither shows that
a file is truncated. Only a length in the file's own header does.
"""

import re
from pathlib import Path

from davs_jax.errors import MediaError

# Containers of which FFmpeg passes on the length in the header.
STATING = {"mov", "matroska", "flac", "aiff", "au", "avi", "asf", "flv", "tta", "wv", "ape", "mxf", "gif"}
# Of containers of chunks, from whose header FFmpeg does not pass it on, by their first bytes: bytes of the header, of
# a chunk's name and of its size, the byte order, and whether the size includes name and size.
CHUNKED = {b"RIFF": (12, 4, 4, "little", False), b"RIFX": (12, 4, 4, "big", False)}
CHUNKED |= {b"caff": (8, 4, 8, "big", False), b"riff": (40, 16, 8, "little", True)}
ENDLESS = 2**31 - 2**20  # bytes; programs that write to a pipe state such sizes, for they do not know theirs
HEADER = 2**16  # bytes within which an mp3's table, or a chunk of audio, begins
TAGGED = re.compile(r"(\d+):(\d+):(\d+\.?\d*)")  # hours, minutes, seconds


def stated_end(path: str | Path, stream) -> float | None:
    """The end of a stream in seconds on the container's clock, as the file states it; None where it states none.

    Args:
      stream: an open stream of PyAV.
    """
    start = float((stream.start_time or 0) * stream.time_base)
    kind = stream.container.format.name.partition(",")[0]
    if kind in ("wav", "w64", "caf"):
        return _by_chunk(Path(path), stream)
    if kind not in STATING and not (kind == "mp3" and _has_table(Path(path))):
        return None
    if stream.duration is not None:
        return start + float(stream.duration * stream.time_base)
    if not stream.container.duration:
        return None
    end = ((stream.container.start_time or 0) + stream.container.duration) / 1e6
    if len(stream.container.streams) == 1:
        return end
    if not (tagged := TAGGED.match(stream.metadata.get("DURATION", ""))):  # Matroska's, by stream
        return None
    hours, minutes, seconds = map(float, tagged.groups())
    return min(end, 3600 * hours + 60 * minutes + seconds)  # a copied tag may be another file's


def stated_duration(path: str | Path, container) -> float:
    """Seconds that a file states for its longest stream; 0 where it states none."""
    streams = [*container.streams.video, *container.streams.audio]
    return max((stated_end(path, stream) or 0.0 for stream in streams), default=0.0)


def check_complete(path: str | Path, stream, end: float, slack: float) -> None:
    """Raises MediaError where a stream ends at `end` seconds, more than `slack` before its file says."""
    stated = stated_end(path, stream)
    if stated is not None and stated - end > slack:
        stop = f"its {stream.type} stops at {end:.2f} s of {stated:.2f} s"
        raise MediaError(f"{path}: {stop}, so the file is truncated", "copy it again")


def _has_table(path: Path) -> bool:
    """Whether an mp3 begins with a table that states its length (Xing, Info or VBRI), after its tags."""
    with path.open("rb") as file:
        start = file.read(10)
        while start[:3] == b"ID3":
            size = sum((byte & 0x7F) << shift for byte, shift in zip(start[6:], (21, 14, 7, 0), strict=True))
            file.seek(size, 1)
            start = file.read(10)
        start += file.read(200)
    return any(name in start for name in (b"Xing", b"Info", b"VBRI"))


def _by_chunk(path: Path, stream) -> float | None:
    """The end as the size of the chunk `data` states it; None where that is unknown."""
    found = _data_chunk(path)
    if found is None or stream.duration is None:
        return None
    start, size = found
    there = path.stat().st_size - start
    held = float(stream.duration * stream.time_base)
    return held * size / there if 0 < there < size < ENDLESS else held


def _data_chunk(path: Path) -> tuple[int, int] | None:
    """Position and size in bytes of the chunk of audio; None where it is not found."""
    with path.open("rb") as file:
        if (layout := CHUNKED.get(file.read(4))) is None:  # RF64, whose sizes FFmpeg knows
            return None
        header, name_bytes, size_bytes, order, inclusive = layout
        position = header
        while position < HEADER:
            file.seek(position)
            name, size = file.read(name_bytes), int.from_bytes(file.read(size_bytes), order, signed=False)
            position += name_bytes + size_bytes
            size -= (name_bytes + size_bytes) * inclusive
            if not name or size < 0:
                return None
            if name.startswith(b"data"):
                return position, size
            position += size + size % 2 * (order == "little" and not inclusive)
    return None

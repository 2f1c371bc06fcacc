"""Moves a file's audio against its video without re-encoding either."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import av

from davs_jax.errors import MediaError
from davs_jax.files import replacing
from davs_jax.media.video.streams import audio_streams, opened, video_stream
from davs_jax.media.video.tracks import choose


def shift_audio(path: str | Path, output: str | Path, seconds: float, track: int | None = None) -> None:
    """Writes a copy of `path` with its audio `seconds` earlier (negative: later); packets are copied.

    Where the audio must come earlier, the video is delayed instead, so that no timestamp becomes negative. Audio before
    the first frame stays in the file, and players skip it. Only the first video stream and the audio stream that
    `tracks.choose` chooses are kept, with the container's tags.

    Args:
      track: as `number` of `tracks.choose`.

    Raises:
      MediaError: the file cannot be read, lacks video or audio, or cannot be written in the output's format.
    """
    path, output = Path(path), Path(output)
    with opened(path) as source:
        audio = source.streams.audio[choose(path, track).index] if audio_streams(source) else None
        streams = {"video": video_stream(source), "audio": audio}
        for name, stream in streams.items():
            if stream is None:
                raise MediaError(f"{path}: has no {name} track, so there is no offset", "give a talking video")
        delays = {streams["video"].index: max(seconds, 0.0), streams["audio"].index: max(-seconds, 0.0)}
        if not output.parent.is_dir():
            raise MediaError(f"{output}: cannot be written (no such folder)", f"make {output.parent} first")
        try:
            with replacing(output) as draft:
                _copy(source, draft, list(streams.values()), delays)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise MediaError(f"{output}: cannot be written ({reason})", f"end its name as {path.name} does") from error


def _copy(source, path: Path, streams: list, delays: dict[int, float]) -> None:
    options = {"movflags": "use_metadata_tags"} if path.suffix in (".mp4", ".mov", ".m4v") else {}
    with av.open(f"file:{path}", "w", options=options) as container:
        container.metadata.update(source.metadata)
        copies = {stream.index: container.add_stream_from_template(stream) for stream in streams}
        for packet in _dated(source.demux(streams)):
            index = packet.stream.index
            moved = math.floor(delays[index] / packet.time_base + 0.5)
            packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
            packet.stream = copies[index]
            container.mux(packet)


def _dated(packets: Iterable) -> Iterator:
    """Leaves out the empty packets at the end, and dates those without a decoding time.

    Matroska stores no decoding times, and FFmpeg knows none of the packets before the first reordered frame.
    """
    waiting: dict[int, list] = {}  # by stream
    for packet in packets:
        held = waiting.setdefault(packet.stream.index, [])
        if packet.dts is None and packet.pts is not None:
            held.append(packet)
            continue
        for back, undated in enumerate(reversed(held), 1):
            first = held[-1].pts if packet.dts is None else packet.dts
            undated.dts = first - back * (undated.duration or 1)
        yield from held
        held.clear()
        if packet.dts is not None:
            yield packet

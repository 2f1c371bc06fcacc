"""Moves a file's sound against its pictures without coding either anew."""

import math
import shutil
import tempfile
from pathlib import Path

import av

from davs_jax.media.video.streams import MediaError, audio_stream, opened, video_stream


def shift_sound(path: str | Path, output: str | Path, seconds: float) -> None:
    """Writes `path` again with its sound `seconds` earlier (negative: later) than it was; packets are copied.

    Where the sound must come earlier, the pictures come later instead: no time of the file becomes negative. Sound
    from before the first picture stays in the file, and players skip it. Streams other than the first picture
    and the first sound are left out; the container's tags are kept.

    Raises:
      MediaError: the file cannot be read, lacks picture or sound, or cannot be written in the output's format.
    """
    path, output = Path(path), Path(output)
    with opened(path) as source:
        streams = {"picture": video_stream(source), "sound": audio_stream(source)}
        for name, stream in streams.items():
            if stream is None:
                raise MediaError(f"{path}: has no {name}, so there is no offset between the two; give a talking video")
        delays = {streams["picture"].index: max(seconds, 0.0), streams["sound"].index: max(-seconds, 0.0)}
        # Beside the output, so that a failure leaves no half file under its name.
        with tempfile.TemporaryDirectory(dir=_folder(output)) as place:
            part = Path(place) / f"part{output.suffix}"
            try:
                _copy(source, part, list(streams.values()), delays)
                shutil.move(part, output)
            except (av.error.FFmpegError, OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                raise MediaError(f"{output}: cannot be written ({reason}); end its name as {path.name} does") from error


def _folder(output: Path) -> Path:
    if not output.parent.is_dir():
        raise MediaError(f"{output}: cannot be written (no such folder); make {output.parent} first")
    return output.parent


def _copy(source, path: Path, streams: list, delays: dict[int, float]) -> None:
    options = {"movflags": "use_metadata_tags"} if path.suffix in (".mp4", ".mov", ".m4v") else {}
    with av.open(f"file:{path}", "w", options=options) as container:
        container.metadata.update(source.metadata)
        copies = {stream.index: container.add_stream_from_template(stream) for stream in streams}
        for packet in source.demux(streams):
            if packet.dts is None:  # the empty packet at the end of each stream
                continue
            index = packet.stream.index
            moved = math.floor(delays[index] / packet.time_base + 0.5)
            packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
            packet.stream = copies[index]
            container.mux(packet)

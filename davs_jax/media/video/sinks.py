"""Where finished pictures go: an mp4, a GIF, or a folder of PNG files, by the output's name."""

import json
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av
import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from davs_jax.constants import FPS, SAMPLE_RATE
from davs_jax.media.photo import Photo, reduced
from davs_jax.media.video.streams import MediaError
from davs_jax.media.video.write import Writer, naming

GIF_LONGEST = 480  # pixels of a GIF on its longer side
GIF_FASTEST = 50  # frames per second: its clock counts hundredths, and browsers slow down what is faster
COLOURS = 256


class Sink(Protocol):
    """Takes pictures one by one; leaving its block, by an exception too, finishes what was written so far."""

    def __enter__(self) -> "Sink": ...

    def write(self, frame: np.ndarray) -> None:
        """Appends uint8 RGB `[H, W, 3]`."""

    def __exit__(self, kind, error, traceback) -> None: ...


def check_name(path: Path) -> None:
    """Raises MediaError where the output's name says nothing that can be written."""
    if path.suffix.lower() not in (".mp4", ".gif", ""):
        raise MediaError(f"{path}: end its name in .mp4 or .gif; a name without an ending is a folder of PNG files")
    if path.suffix and path.is_dir():
        raise MediaError(f"{path}: is a folder; give a file's name")


def open_sink(
    path: Path,
    fps: int = FPS,
    samples: Iterable[np.ndarray] | None = None,
    sample_rate: int = SAMPLE_RATE,
    metadata: Mapping[str, str] | None = None,
) -> Sink:
    """The sink for a name: `.mp4` (video.Writer), `.gif`, or a folder where it has no suffix. Only mp4 has sound.

    Raises:
      MediaError: the name says nothing of these, or nothing can be written there.
    """
    check_name(path)
    match path.suffix.lower():
        case ".mp4":
            return Writer(path, fps, samples, sample_rate, metadata)
        case ".gif":
            return Gif(path, fps, metadata)
        case _:
            return Folder(path, metadata)


class Folder:
    """A folder of PNG files, 000000.png, 000001.png, …; metadata stand in each as text.

    Raises:
      MediaError: the folder cannot be made or written, or holds something already.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str] | None = None):
        self.path, self._frames, self._info = path, 0, PngInfo()
        for key, value in (metadata or {}).items():
            self._info.add_itxt(key, value)
        with naming(path, "written"):
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise MediaError(f"{path}: holds files already; name a new or an empty folder")

    def __enter__(self) -> "Folder":
        return self

    def write(self, frame: np.ndarray) -> None:
        with naming(self.path, "written"):
            place = self.path / f"{self._frames:06}.png"
            Image.fromarray(frame).save(place, pnginfo=self._info, compress_level=3)
        self._frames += 1

    def __exit__(self, kind, error, traceback) -> None:
        if not self._frames and kind is None:
            raise MediaError(f"{self.path}: no frame was written to it; the source has none")


class Gif:
    """An endless GIF in the colours of its first frame, at most GIF_LONGEST pixels long; metadata stand in a comment.

    Raises:
      MediaError: the file cannot be written.
    """

    def __init__(self, path: Path, fps: int = FPS, metadata: Mapping[str, str] | None = None):
        self.path, self._fps, self._metadata = path, fps, dict(metadata or {})
        if fps > GIF_FASTEST:
            raise MediaError(f"{path}: a GIF shows at most {GIF_FASTEST} frames per second, not {fps}; lower --fps")
        self._frames, self._stream = 0, None
        with naming(path, "written"):
            path.open("wb").close()
            self._container = av.open(f"file:{path}", "w", format="gif")

    def __enter__(self) -> "Gif":
        return self

    def write(self, frame: np.ndarray) -> None:
        image = Image.fromarray(reduced(Photo(frame, None, frame), GIF_LONGEST).picture)
        if self._stream is None:
            self._stream = self._container.add_stream("gif", rate=self._fps)
            self._stream.width, self._stream.height, self._stream.pix_fmt = *image.size, "pal8"
            self._colours = image.quantize(COLOURS - 1)  # one is left for what does not change
            palette = np.array(self._colours.getpalette("RGB"), np.uint8).reshape(-1, 3)
            self._palette = np.full((COLOURS, 4), 255, np.uint8)  # alpha, red, green, blue
            self._palette[: len(palette), 1:] = palette
        numbers = np.asarray(image.quantize(palette=self._colours))
        picture = av.VideoFrame.from_ndarray((numbers, self._palette), format="pal8")
        picture.pts, picture.time_base = self._frames, Fraction(1, self._fps)
        with naming(self.path, "written"):
            self._container.mux(self._stream.encode(picture))
        self._frames += 1

    def __exit__(self, kind, error, traceback) -> None:
        with naming(self.path, "finished"):
            if self._frames:
                self._container.mux(self._stream.encode(None))
            self._container.close()
            if self._frames and self._metadata:
                self._comment(json.dumps(self._metadata).encode())
        if not self._frames:
            self.path.unlink(missing_ok=True)
            if kind is None:
                raise MediaError(f"{self.path}: no frame was written to it; the source has none")

    def _comment(self, text: bytes) -> None:
        """Puts a comment extension before the trailer, a lone semicolon, since the muxer writes none."""
        blocks = [text[i : i + 255] for i in range(0, len(text), 255)]
        with self.path.open("r+b") as file:
            file.seek(-1, 2)
            if file.read(1) == b";":
                file.seek(-1, 2)
                file.write(b"\x21\xfe" + b"".join(bytes([len(b)]) + b for b in blocks) + b"\0;")

"""Outputs for finished frames: an mp4, a GIF, or a folder of PNG files, by the output's name."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from davs_jax.constants import FPS, SAMPLE_RATE
from davs_jax.errors import MediaError
from davs_jax.media.video.gif import Gif
from davs_jax.media.video.write import Writer, media_errors, no_frame


class Sink(Protocol):
    """Takes frames one by one. Leaving its block, by an exception too, finishes what was written so far."""

    def __enter__(self) -> "Sink": ...

    def write(self, frame: np.ndarray) -> None:
        """Appends uint8 RGB `[H, W, 3]`."""

    def __exit__(self, kind, error, traceback) -> None: ...


def check_name(path: Path) -> None:
    """Raises MediaError where the output's name has no known format."""
    if path.suffix.lower() not in (".mp4", ".gif", ""):
        remedy = "end its name in .mp4 or .gif, or give a name without an ending for a folder of PNG files"
        raise MediaError(f"{path}: has an unknown ending", remedy)
    if path.suffix and path.is_dir():
        raise MediaError(f"{path}: is a folder", "give a file's name")


def open_sink(
    path: Path,
    fps: int = FPS,
    samples: Iterable[np.ndarray] | None = None,
    sample_rate: int = SAMPLE_RATE,
    metadata: Mapping[str, str] | None = None,
) -> Sink:
    """The sink for a name: `.mp4`, `.gif`, or a folder of PNG files where it has no suffix. Only mp4 has audio.

    Args:
      path, fps, samples, sample_rate, metadata: as `Writer` takes them.

    Raises:
      MediaError: the name has no known format, or nothing can be written there.
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
    """Writes a folder of PNG files, 000000.png, 000001.png, …; each holds the metadata as text.

    Raises:
      MediaError: the folder cannot be made or written, or is not empty.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str] | None = None):
        self.path, self._frames, self._info = path, 0, PngInfo()
        for key, value in (metadata or {}).items():
            self._info.add_itxt(key, value)
        with media_errors(path, "written"):
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise MediaError(f"{path}: holds files already", "name a new or an empty folder")

    def __enter__(self) -> "Folder":
        return self

    def write(self, frame: np.ndarray) -> None:
        """Appends uint8 RGB `[H, W, 3]`."""
        with media_errors(self.path, "written"):
            place = self.path / f"{self._frames:06}.png"
            Image.fromarray(frame).save(place, pnginfo=self._info, compress_level=3)
        self._frames += 1

    def __exit__(self, kind, error, traceback) -> None:
        if not self._frames and kind is None:
            raise no_frame(self.path)

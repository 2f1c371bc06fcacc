"""Writes GIF files."""

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from davs_jax.constants import FPS
from davs_jax.errors import MediaError
from davs_jax.media.images import shrink
from davs_jax.media.video.write import media_errors, no_frame

LONGEST = 480  # pixels on the longer side
FASTEST = 50  # frames per second: GIF times are in hundredths of a second, and browsers slow down faster files
COLOURS = 256


class Gif:
    """Writes an endlessly repeating GIF in the colours of its first frame, at most LONGEST pixels on its longer side.

    The metadata are written as JSON into a comment extension.

    Raises:
      MediaError: the file cannot be written.
    """

    def __init__(self, path: Path, fps: int = FPS, metadata: Mapping[str, str] | None = None):
        self.path, self._fps, self._metadata = path, fps, dict(metadata or {})
        if fps > FASTEST:
            reason = f"{path}: a GIF has at most {FASTEST} frames per second, not {fps}"
            raise MediaError(reason, "lower the frame rate", command_line="lower --fps")
        self._frames, self._stream = 0, None
        with media_errors(path, "written"):
            path.open("wb").close()
            self._container = av.open(f"file:{path}", "w", format="gif")

    def __enter__(self) -> "Gif":
        return self

    def write(self, frame: np.ndarray) -> None:
        """Appends uint8 RGB `[H, W, 3]`."""
        image = Image.fromarray(shrink(frame, LONGEST))
        if self._stream is None:
            self._stream = self._container.add_stream("gif", rate=self._fps)
            self._stream.width, self._stream.height, self._stream.pix_fmt = *image.size, "pal8"
            self._colours = image.quantize(COLOURS - 1)  # one is left for pixels that do not change
            palette = np.array(self._colours.getpalette("RGB"), np.uint8).reshape(-1, 3)
            self._palette = np.full((COLOURS, 4), 255, np.uint8)  # alpha, red, green, blue
            self._palette[: len(palette), 1:] = palette
        numbers = np.asarray(image.quantize(palette=self._colours))
        coded = av.VideoFrame.from_ndarray((numbers, self._palette), format="pal8")
        coded.pts, coded.time_base = self._frames, Fraction(1, self._fps)
        with media_errors(self.path, "written"):
            self._container.mux(self._stream.encode(coded))
        self._frames += 1

    def __exit__(self, kind, error, traceback) -> None:
        with media_errors(self.path, "finished"):
            if self._frames:
                self._container.mux(self._stream.encode(None))
            self._container.close()
            if self._frames and self._metadata:
                self._comment(json.dumps(self._metadata).encode())
        if not self._frames:
            self.path.unlink(missing_ok=True)
            if kind is None:
                raise no_frame(self.path)

    def _comment(self, text: bytes) -> None:
        """Inserts a comment extension before the trailer, a semicolon; FFmpeg's muxer writes none."""
        blocks = [text[i : i + 255] for i in range(0, len(text), 255)]
        with self.path.open("r+b") as file:
            file.seek(-1, 2)
            if file.read(1) == b";":
                file.seek(-1, 2)
                file.write(b"\x21\xfe" + b"".join(bytes([len(b)]) + b for b in blocks) + b"\0;")

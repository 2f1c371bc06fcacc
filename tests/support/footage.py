"""Video files of any codec, aspect, orientation and colour, for the tests of reading."""

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MATRICES = {  # (a, b, c, d) of x' = a·x + c·y, y' = b·x + d·y, by what the matrix does to the stored image
    "as it is": (1, 0, 0, 1),
    "mirrored": (-1, 0, 0, 1),
    "flipped": (1, 0, 0, -1),
    "turned by 180°": (-1, 0, 0, -1),
    "turned by 90°": (0, 1, -1, 0),
    "turned by 270°": (0, -1, 1, 0),
    "transposed": (0, 1, 1, 0),
    "transposed on the other diagonal": (0, -1, -1, 0),
}


def frames_of(images: Iterable[np.ndarray], fps: int, pix_fmt: str, times: Iterable[float] | None = None) -> list:
    """uint8 or uint16 RGB images as frames of the pixel format, at `times` in seconds or at a constant rate."""
    frames = []
    for index, image in enumerate(images):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24" if image.dtype == np.uint8 else "rgb48le")
        frame = frame.reformat(format=pix_fmt)
        frame.pts, frame.time_base = index, Fraction(1, fps)
        frames.append(frame)
    for frame, time in zip(frames, times or [], strict=False):
        frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
    return frames


def encode(
    path: Path, frames: list, codec: str = "libx264", fps: int = 25, aspect: Fraction = Fraction(1), **options
) -> Path:
    """Writes frames, whose pixel format and colours the file then has.

    Args:
      aspect: of a pixel, width to height.
      options: of the codec; `flags` are the codec context's.
    """
    with av.open(str(path), "w") as container:
        flags = options.pop("flags", 0)
        stream = container.add_stream(codec, rate=fps, options=options)
        first = frames[0]
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, first.format.name
        stream.codec_context.sample_aspect_ratio = aspect
        for name in ("color_range", "color_primaries", "color_trc", "colorspace"):
            setattr(stream.codec_context, name, getattr(first, name))
        stream.codec_context.flags |= flags
        for frame in frames:
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def orient(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Gives an mp4 file of one track this display matrix."""
    a, b, c, d = (value * 65_536 for value in matrix)
    upright = struct.pack(">9i", 65_536, 0, 0, 0, 65_536, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    before, header, after = path.read_bytes().partition(b"tkhd")
    path.write_bytes(before + header + after.replace(upright, turned, 1))
    return path

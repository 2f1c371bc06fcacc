"""Decoded frames as a player shows them: progressive, in BT.709, with square pixels, turned and mirrored."""

import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from math import cos, radians, sin

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation

from davs_jax.errors import MediaError
from davs_jax.media.video.colour import Colours

MOST_PIXELS = 8192 * 4320  # of a frame: 8K of cinema; a frame in memory has 3 bytes per pixel
SMALLEST = 4  # pixels: FFmpeg's deinterlacers take no smaller side


def check_size(path, width: int, height: int) -> None:
    """Raises MediaError where a frame has more than MOST_PIXELS."""
    if width * height > MOST_PIXELS:
        most = f"{MOST_PIXELS / 1e6:.0f} megapixels"
        raise MediaError(f"{path}: its frames of {width} × {height} pixels exceed {most}", "reduce its size")


def deinterlaced(frames: Iterable) -> Iterator:
    """Replaces interlaced frames by progressive ones, at the same rate and times (FFmpeg's `bwdif`).

    Streams mix both kinds, so progressive frames pass unchanged.
    """
    graph = size = None
    for frame in frames:
        if graph and size != _layout(frame):  # the filter has one size
            yield from _pulled(graph, None)
            graph = None
        if graph is None and frame.interlaced_frame and min(frame.width, frame.height) >= SMALLEST:
            graph, size = _deinterlacer(frame), _layout(frame)
        if graph is None:
            yield frame
        else:
            yield from _pulled(graph, frame)
    if graph:
        yield from _pulled(graph, None)


class Shown:
    """Converts the frames of one stream to RGB, each to the size at which the first one is shown.

    Args:
      path: the file, for errors.
      stream: its video stream.
      frame: the stream's first frame.

    Raises:
      MediaError: the shown size exceeds MOST_PIXELS.
    """

    def __init__(self, path, stream, frame):
        width, height, aspect = frame.width, frame.height, stream.sample_aspect_ratio or 1
        # The shorter sides of pixels are stretched, so that no detail is lost.
        self._size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
        check_size(path, *self._size)
        self._stretched, self._colours = aspect != 1, Colours(path)
        self.width, self.height = self._size[::-1] if _orientation(frame)[0] else self._size

    def rgb(self, frame) -> np.ndarray:
        """uint8 RGB `[H, W, 3]`, upright."""
        options = {"interpolation": Interpolation.BICUBIC} if self._stretched else {}
        width, height = self._size
        pixels = self._colours.sdr(frame).to_ndarray(format="rgb24", width=width, height=height, **options)
        transposed, mirror, flip = _orientation(frame)
        pixels = pixels.transpose(1, 0, 2) if transposed else pixels
        return np.ascontiguousarray(pixels[:: -1 if flip else 1, :: -1 if mirror else 1])


def _orientation(frame) -> tuple[bool, bool, bool]:
    """The frame's display matrix as (transpose, then mirror left and right, then flip top and bottom)."""
    try:
        matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    except ValueError:  # PyAV does not know all kinds of side data, and then shows none; mirrors are lost
        turn = radians(frame.rotation)
        return _nearest(cos(turn), -sin(turn), sin(turn), cos(turn))
    return _matrix(bytes(matrix)) if matrix else (False, False, False)


@lru_cache(maxsize=8)
def _matrix(data: bytes) -> tuple[bool, bool, bool]:
    a, b, _, c, d, *_ = struct.unpack("=9i", data)
    return _nearest(a, b, c, d)


def _nearest(a: float, b: float, c: float, d: float) -> tuple[bool, bool, bool]:
    """Of the eight orientations the one nearest to x' = a·x + c·y, y' = b·x + d·y."""
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return False, a < 0, d < 0
    return True, c < 0, b < 0


def _layout(frame) -> tuple:
    return frame.width, frame.height, frame.format.name


def _deinterlacer(frame) -> av.filter.Graph:
    graph = av.filter.Graph()
    parts = graph.add_buffer(template=frame), graph.add("bwdif", "send_frame:auto:interlaced"), graph.add("buffersink")
    graph.link_nodes(*parts).configure()
    return graph


def _pulled(graph, frame) -> Iterator:
    """Pushes a frame (None: the end) and yields the frames that are ready."""
    graph.push(frame)
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return

"""The frames of a recording of any length, read while they are used, and its shots."""

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data_prep import clips, shots
from data_prep.shards import Unusable
from davs_jax.constants import SAMPLES_PER_FRAME
from davs_jax.errors import MediaError
from davs_jax.media.video.read import Clip, read_fitted_audio, read_frames
from davs_jax.media.video.tracks import choose

KEPT = 2**29  # bytes of the frames read last that are kept: a minute of 256 × 256, three seconds of 1080p

log = logging.getLogger(__name__)


class Footage(Sequence):
    """A video file's frames, uint8 `[H, W, 3]` RGB at 25 fps, indexed from 0.

    Rising numbers read the file once. A frame before those that are kept (KEPT) reads it again from its beginning.

    Attributes:
      shape: `[T, H, W, 3]`.
      shots: the frames of each shot.

    Raises:
      MediaError: as `read_frames`; the constructor reads the whole file, so an error in it is known from the start.
    """

    def __init__(self, path: Path):
        self._path = path
        self._restart()
        thumbnails = []
        while (frame := self._read()) is not None:
            thumbnails.append(shots.thumbnail(frame))
        self.shape = (len(thumbnails), *self._kept[-1].shape)
        self.shots = shots.stretches(shots.borders(thumbnails), len(thumbnails))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        if index < self._next - len(self._kept):
            self._restart()
        while self._next <= index:
            self._read()
        return self._kept[index - self._next + len(self._kept)]

    def _restart(self) -> None:
        self._frames: Iterator[np.ndarray] = read_frames(self._path)
        self._kept: deque[np.ndarray] = deque()
        self._next = 0  # number of the frame to read

    def _read(self) -> np.ndarray | None:
        frame = next(self._frames, None)
        if frame is not None:
            if (len(self._kept) + 1) * frame.nbytes > KEPT and self._kept:
                self._kept.popleft()
            self._kept.append(frame)
            self._next += 1
        return frame


class Part(Sequence):
    """Consecutive frames of a footage, as if they were all of it."""

    def __init__(self, footage: Sequence[np.ndarray], span: range):
        self._footage, self._span = footage, span
        self.shape = (len(span), *footage.shape[1:])

    def __len__(self) -> int:
        return len(self._span)

    def __getitem__(self, index: int) -> np.ndarray:
        return self._footage[self._span[index]]


def read(path: Path) -> Clip:
    """A recording, whose frames are a Footage.

    Raises:
      Unusable: it cannot be read, is shorter than a clip, or has no audio.
    """
    try:
        frames = Footage(path)
        samples = read_fitted_audio(path, len(frames))
        if samples is not None and (note := choose(path).note):
            log.warning(note)
    except MediaError as error:
        raise Unusable.of_file("read", path, error) from error
    clip = Clip(frames, samples)
    clips.check(clip)
    return clip


def part(clip: Clip, span: range) -> Clip:
    """The frames `span` of a clip, and their audio."""
    samples = clip.samples[span.start * SAMPLES_PER_FRAME : span.stop * SAMPLES_PER_FRAME]
    return Clip(Part(clip.frames, span), samples)

"""Tracks the face in a video file without holding the video in memory."""

import math
from pathlib import Path

import numpy as np

from davs_jax.constants import FPS
from davs_jax.display.progress import progress
from davs_jax.generate.errors import GenerationError, check_length
from davs_jax.media import video
from davs_jax.media.faces import tracking


def follow(
    path: Path,
    fps: int = FPS,
    remedy: str = "give a video that shows a face",
    longest: float = math.inf,
    **by_front_end: str,
) -> tracking.Track:
    """Tracks the speaker's face through a file.

    Args:
      fps: frames per second at which the file is read.
      remedy, by_front_end: as in `DavsError`, for a video that shows no face.
      longest: seconds that are allowed.

    Raises:
      MediaError: it cannot be read or has no images.
      GenerationError: it shows no face, or is longer than allowed.
    """
    try:
        return tracking.track(_Frames(path, fps, longest))
    except tracking.NoFace as error:
        raise GenerationError(f"{path}: {error}", remedy, **by_front_end) from error


def describe(track: tracking.Track, fps: int = FPS) -> list[str]:
    """Remarks on a track for the user, a line each: how much smoothing reduced its jitter, when the face was lost."""
    lines = []
    if track.raw_jitter:
        lines.append(f"jitter of the alignment {track.raw_jitter:.2f} → {track.jitter:.2f} % of the eye distance")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], track.lost.astype(int), [0]]))) / fps
    if len(edges):
        spans = ", ".join(f"{a:.1f}–{b:.1f} s" for a, b in edges.reshape(-1, 2))
        lines.append(f"the face is out of sight at {spans}; the mouth holds still there")
    return lines


class _Frames:
    """A video's frames as `tracking.track` reads them, in ascending order: one in memory at a time."""

    def __init__(self, path: Path, fps: int, longest: float):
        first, count = None, 0
        for frame in video.read_frames(path, fps):
            first, count = frame if first is None else first, count + 1
            check_length(path, count / fps, longest, ended=False)
        self.shape = count, *first.shape
        self._frames = video.read_frames(path, fps)
        self._bar = progress(total=count, desc="tracking the face", unit="frame")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        while self._bar.n <= index:
            frame = next(self._frames)
            self._bar.update()
        if index == len(self) - 1:
            self._bar.close()
        return frame

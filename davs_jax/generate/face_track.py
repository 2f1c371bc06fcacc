"""Tracks the face in a video file without holding the video in memory."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from davs_jax.constants import FPS
from davs_jax.display.progress import progress
from davs_jax.generate.errors import GenerationError, check_length
from davs_jax.media import video
from davs_jax.media.faces import tracking, turned
from davs_jax.media.photo import find_faces

KEPT = 3  # frames in which the face's orientation is checked
# FFmpeg's filters that turn frames by so many quarters counterclockwise.
FILTERS = {1: "transpose=2", 2: "hflip,vflip", 3: "transpose=1"}


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
      GenerationError: it shows no upright face, or is longer than allowed.
    """
    frames, missing = _Frames(path, fps, longest), None
    try:
        track = tracking.track(frames)
    except tracking.NoFace as error:
        missing = error
    # The detector takes some turned faces for upright ones with wrong points, so a track alone proves nothing.
    if quarters := _quarters_to_upright(frames.kept):
        reason = f"{path}: its face is not upright, and nothing in the file says so"
        turn = f"turn it by {360 - 90 * quarters}° clockwise first (FFmpeg: -vf {FILTERS[quarters]})"
        raise GenerationError(reason, turn) from missing
    if missing:
        raise GenerationError(f"{path}: {missing}", remedy, **by_front_end) from missing
    return track


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


def _quarters_to_upright(images: Iterable[np.ndarray]) -> int:
    """As `turned.quarters_to_upright`, where the largest faces of all images that show one agree; else 0."""
    found = None
    for image in images:
        for face in find_faces(image)[:1]:
            quarters = turned.quarters_to_upright(face.points)
            if not quarters or quarters != (found or quarters):
                return 0
            found = quarters
    return found or 0


class _Frames:
    """A video's frames as `tracking.track` reads them, in ascending order: one in memory at a time.

    Attributes:
      kept: KEPT of the frames that were read, from its whole length.
    """

    def __init__(self, path: Path, fps: int, longest: float):
        first, count = None, 0
        for frame in video.read_frames(path, fps):
            first, count = frame if first is None else first, count + 1
            check_length(path, count / fps, longest, ended=False)
        self.shape = count, *first.shape
        self.kept: list[np.ndarray] = []
        self._frames = video.read_frames(path, fps)
        self._bar = progress(total=count, desc="tracking the face", unit="frame")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        while self._bar.n <= index:
            frame = next(self._frames)
            self._bar.update()
        if len(self.kept) < KEPT and index >= (2 * len(self.kept) + 1) * len(self) // (2 * KEPT):
            self.kept.append(frame)
        if index == len(self) - 1:
            self._bar.close()
        return frame

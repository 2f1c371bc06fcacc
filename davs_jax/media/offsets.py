"""By how many frames a clip's sound is late: pure functions of the distances between its picture's and its sound's
vectors."""

from typing import NamedTuple

import numpy as np

REACH = 5  # frames of offset looked for in a clip of 29 frames; at 25 fps ±0.2 s
SHIFTS = (-3, -2, -1, 0, 1, 2, 3)  # frames, by which sound is moved to see whether the move is found


class Offset(NamedTuple):
    """What was found of a clip."""

    frames: int  # the sound is that many frames late; negative: early
    distance: float  # the mean at that offset
    confidence: float  # the median over all offsets less that


def frame_distances(video: np.ndarray, audio: np.ndarray) -> np.ndarray:
    """Euclidean distances between the normalised vectors of every picture and every sound, `[…, T, E]` twice →
    float32 `[…, T, T]` (picture, sound)."""
    video, audio = (v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12) for v in (video, audio))
    return np.sqrt(np.maximum(2 - 2 * video @ np.swapaxes(audio, -1, -2), 0)).astype(np.float32)


def offset_distances(distances: np.ndarray, reach: int, first: int = 0, moved: int = 0) -> np.ndarray:
    """Mean distance at every offset: distances `[…, T, T]` → `[…, 2·reach + 1]`, for offsets −reach … reach.

    At offset s picture t meets sound t + s, and every offset is a mean over the same pictures, those whose sounds
    all lie in the clip: nothing is padded. (Means over what happens to overlap compare different pictures.)

    Args:
      first: pictures left out at both ends beyond those that `reach` costs.
      moved: the sound is taken from that many frames earlier, as if it were that much later.

    Raises:
      ValueError: the clip is too short.
    """
    margin = reach + first
    pictures = np.arange(margin, distances.shape[-1] - margin)
    if not len(pictures) or abs(moved) > first:
        raise ValueError(f"{distances.shape[-1]} frames are too few for offsets of ±{reach} with {first} to spare")
    sounds = pictures[:, None] + np.arange(-reach, reach + 1) - moved
    return distances[..., pictures[:, None], sounds].mean(-2)


def best_offset(means: np.ndarray) -> Offset:
    """The offset of least distance: means `[2·reach + 1]`, as from `offset_distances`. Of equals the earliest."""
    best = int(means.argmin())
    return Offset(best - len(means) // 2, float(means[best]), float(np.median(means) - means[best]))


def shift_hits(distances: np.ndarray, tolerance: int) -> np.ndarray:
    """Whether known shifts of the sound are found, `[N, T, T]` → bool `[N, shifts]`.

    The sound of every clip is moved by each of SHIFTS, and counts as found where the offset of least distance is
    that shift, give or take `tolerance` frames. Guessing finds (2·tolerance + 1) of 2·REACH + 1.
    """
    hits = []
    for shift in SHIFTS:
        means = offset_distances(distances, REACH, max(SHIFTS), shift)
        hits.append(np.abs(means.argmin(-1) - REACH - shift) <= tolerance)
    return np.stack(hits, 1)

"""The audio-visual offset of a clip, from the distances between its video and audio vectors."""

from typing import NamedTuple

import numpy as np

REACH = 5  # frames: the largest offset searched in a clip of 29 frames, ±0.2 s at 25 fps
# The confidence from which the offset of a whole file (davs_jax.sync) is believed: with the demo model, 99 % of wrong
# pairs stayed below 0.159 (tests/benchmarks/sync_confidence.py, docs/inputs.md).
SURE = 0.16
# The recordings of that measurement had 75 frames and more, of which so many are compared at every offset. Fewer reach
# such a confidence by chance: a single frame gave 0.17 to an offset of 12 frames, where 21 frames say −1.
COMPARED = 45
SHIFTS = (-3, -2, -1, 0, 1, 2, 3)  # frames by which the audio is moved, to test whether the shift is found


class Offset(NamedTuple):
    """The measured offset of a clip."""

    frames: int  # by which the audio is late; negative: early
    distance: float  # mean distance at that offset
    confidence: float  # median over all offsets minus that
    compared: int = COMPARED  # frames whose distances are averaged, at every offset


def frame_distances(video: np.ndarray, audio: np.ndarray) -> np.ndarray:
    """Euclidean distances between the normalised vectors of all frames: `[…, T, E]` twice → float32 `[…, T, T]`
    (video frame, audio frame)."""
    video, audio = (v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12) for v in (video, audio))
    return np.sqrt(np.maximum(2 - 2 * video @ np.swapaxes(audio, -1, -2), 0)).astype(np.float32)


def offset_distances(distances: np.ndarray, reach: int, first: int = 0, moved: int = 0) -> np.ndarray:
    """Mean distance at every offset: distances `[…, T, T]` → `[…, 2·reach + 1]`, for offsets −reach … reach.

    At offset s video frame t is compared with audio frame t + s. Every offset is a mean over the same video frames,
    those whose audio frames all lie in the clip; nothing is padded. (Means over each offset's own overlap would
    compare different frames.)

    Args:
      first: video frames left out at both ends in addition to the `reach` that offsets need.
      moved: the audio is taken from that many frames earlier, as if it were that much later.

    Raises:
      ValueError: the clip is too short.
    """
    margin = reach + first
    frames = np.arange(margin, distances.shape[-1] - margin)
    if not len(frames) or abs(moved) > first:
        raise ValueError(f"{distances.shape[-1]} frames are too few for offsets of ±{reach} with {first} to spare")
    heard = frames[:, None] + np.arange(-reach, reach + 1) - moved
    return distances[..., frames[:, None], heard].mean(-2)


def best_offset(means: np.ndarray) -> Offset:
    """The offset of least distance: means `[2·reach + 1]`, as from `offset_distances`. Of equals the earliest."""
    best = int(means.argmin())
    return Offset(best - len(means) // 2, float(means[best]), float(np.median(means) - means[best]))


def shift_hits(distances: np.ndarray, tolerance: int) -> np.ndarray:
    """Whether known shifts of the audio are found: `[N, T, T]` → bool `[N, len(SHIFTS)]`.

    The audio of every clip is moved by each of SHIFTS; a hit is an offset of least distance within `tolerance` frames
    of that shift. Chance is (2·tolerance + 1) / (2·REACH + 1).
    """
    hits = []
    for shift in SHIFTS:
        means = offset_distances(distances, REACH, max(SHIFTS), shift)
        hits.append(np.abs(means.argmin(-1) - REACH - shift) <= tolerance)
    return np.stack(hits, 1)

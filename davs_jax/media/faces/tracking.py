"""Tracking: a face detected in some frames of a clip → its points in all of them.

Points are (x, y) in pixels of the image, pixel centres at integers, in the order left eye, right eye, nose, left mouth
corner, right mouth corner as seen in the image.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from davs_jax.errors import DavsError
from davs_jax.media.faces import detectors
from davs_jax.media.faces.alignment import eye_distance
from davs_jax.media.faces.detectors import Detector, Face

EVERY = 5  # frames between detections: 0.2 s
SMOOTH = 2.0  # frames, standard deviation of the Gaussian that smooths a track; it spans about ±6 frames


class NoFace(DavsError):
    """No face was found; the message counts the frames searched."""


class Track(NamedTuple):
    """One face through a clip."""

    points: np.ndarray  # float32 [T, 5, 2]
    found_fraction: float  # share of the searched frames in which this face was found
    jitter: float  # as `jitter` measures it
    raw_jitter: float  # the same before smoothing
    lost: np.ndarray  # bool [T]: out of sight; its points are a guess


def track(frames: np.ndarray, detector: Detector | None = None, every: int = EVERY, smooth: float = SMOOTH) -> Track:
    """Tracks the speaker's face through a clip: the first of `tracks`, with its arguments."""
    return tracks(frames, detector, every, smooth)[0]


def tracks(
    frames: np.ndarray, detector: Detector | None = None, every: int = EVERY, smooth: float = SMOOTH
) -> list[Track]:
    """Tracks the faces of a clip, the speaker's first.

    Faces are detected in every `every`-th frame and in the last one, and detections are linked into chains. The
    speaker is the chain that is largest, most central, and moves least from one detection to the next; the others are
    the remaining chains that cover half of the searched frames. Points are interpolated between detections and held
    constant before the first and after the last. They are then smoothed over time, because an alignment that follows
    the noise of single detections makes the crop shake. (Measured on a GRID sentence aligned at 260 pixels: 1.8 pixels
    of shake per frame with a detection in each frame and no smoothing; 0.42 with these defaults; 0.42 and 0.44 with a
    detection in each frame, or optical flow between detections, smoothed.)

    A face that is missed once counts as present. A face that is missed twice in a row, or is beyond its first or last
    detection by more than `every` frames, is lost there.

    Args:
      frames: uint8 `[T, H, W, 3]` RGB, or anything with this `shape` that is indexed by rising frame numbers.
      detector: `detectors.detector()` if not given.
      every: frames between detections.
      smooth: standard deviation of the smoothing Gaussian in frames; 0 is none.

    Raises:
      NoFace: none of the searched frames shows a face.
    """
    detector = detector or detectors.detector()
    return link(search(frames, detector, every), frames.shape, every, smooth)


def search(frames: np.ndarray, detector: Detector, every: int = EVERY) -> dict[int, Sequence[Face]]:
    """The faces in every `every`-th frame and in the last one, by the frame's number.

    Args:
      frames: as of `tracks`.
    """
    searched = sorted({*range(0, len(frames), every), len(frames) - 1}) if len(frames) else []
    return {index: detector.detect(frames[index]) for index in searched}


def link(
    found: Mapping[int, Sequence[Face]], shape: Sequence[int], every: int = EVERY, smooth: float = SMOOTH
) -> list[Track]:
    """Links the faces of `search` into tracks, the speaker's first; see `tracks`.

    Args:
      shape: of the frames, `[T, H, W, 3]`.

    Raises:
      NoFace: none of the searched frames shows a face.
    """
    detections = [(index, face) for index, faces in found.items() for face in faces]
    if not detections:
        raise NoFace(f"no face in any of the {len(found)} frames searched (of {shape[0]})")
    chains = []
    while detections:
        chain = _best_chain(detections, shape[1:3])
        if chains and 2 * len(chain) < len(found):
            break
        chains.append(chain)
        taken = {(index, id(face)) for index, face in chain}
        detections = [(index, face) for index, face in detections if (index, id(face)) not in taken]
    return [_track(chain, shape[0], len(found), every, smooth) for chain in chains]


def _track(chain: list[tuple[int, Face]], frames: int, searched: int, every: int, smooth: float) -> Track:
    seen = np.array([index for index, _ in chain])
    found = np.stack([face.points for _, face in chain]).reshape(len(chain), -1)
    raw = points = np.stack([np.interp(np.arange(frames), seen, column) for column in found.T], 1)
    if smooth > 0:
        points = cv2.GaussianBlur(points, (1, 0), sigmaX=1, sigmaY=smooth, borderType=cv2.BORDER_REPLICATE)
    points = points.reshape(-1, 5, 2).astype(np.float32)
    raw_jitter = jitter(raw.reshape(-1, 5, 2))
    return Track(points, len(chain) / searched, jitter(points), raw_jitter, _lost(seen, frames, every))


def jitter(points: np.ndarray) -> float:
    """How much a track `[T, 5, 2]` shakes: the mean length of the points' second difference over time (their
    acceleration), in percent of the eye distance per frame². 0 for uniform motion, and below three frames."""
    if len(points) < 3:
        return 0.0
    acceleration = np.linalg.norm(np.diff(np.asarray(points, np.float64), 2, axis=0), axis=-1)
    return float(100 * acceleration.mean() / max(eye_distance(points), 1e-6))


def _best_chain(detections: list[tuple[int, Face]], shape: tuple[int, int]) -> list[tuple[int, Face]]:
    """The chain of detections, at most one per frame, with the largest total worth, by dynamic programming.

    The worth of a detection is its size times its centrality, reduced by its jump from the detection before it: to
    zero at a jump of one face width (or a change of size by e), and to its negative at two or more. So a detour to a
    second face or a false detection does not pay.
    """
    height, width = shape
    boxes = np.stack([face.box for _, face in detections]).astype(np.float64)
    when = np.array([index for index, _ in detections])
    sizes = np.sqrt(np.maximum(boxes[:, 2] * boxes[:, 3], 1))
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    off_centre = np.linalg.norm((centres - (width / 2, height / 2)) / (width, height), axis=1)
    worth = sizes * np.maximum(0.1, 1 - off_centre)

    total, before = worth.copy(), np.full(len(worth), -1)
    for j in range(1, len(worth)):
        earlier = np.flatnonzero(when[:j] < when[j])
        if not earlier.size:
            continue
        jump = np.linalg.norm(centres[earlier] - centres[j], axis=1) / sizes[j]
        jump += np.abs(np.log(sizes[earlier] / sizes[j]))
        through = total[earlier] + worth[j] * (1 - np.minimum(jump, 2))
        if through.max() > total[j]:
            total[j], before[j] = through.max(), earlier[through.argmax()]
    chain, j = [], int(total.argmax())
    while j >= 0:
        chain.append(detections[j])
        j = before[j]
    return chain[::-1]


def _lost(seen: np.ndarray, count: int, every: int) -> np.ndarray:
    """bool `[count]`: frames in gaps between detections, or beyond them, that are too long for a single miss."""
    lost = np.zeros(count, bool)
    for before, after in itertools.pairwise(seen):
        lost[before + 1 : after] = after - before > 2 * every
    lost[: seen[0]] = seen[0] > every
    lost[seen[-1] + 1 :] = count - 1 - seen[-1] > every
    return lost

"""Finding a face, following it through a clip, and aligning it as the published system does.

Points are (x, y) in pixels of the picture, pixel centres at whole numbers, in the order left eye, right eye,
nose, left mouth corner, right mouth corner as seen in the picture.
"""

import itertools
from typing import NamedTuple

import cv2
import numpy as np

from davs_jax.media.faces import detectors
from davs_jax.media.faces.alignment import NoFace, eye_distance
from davs_jax.media.faces.detectors import Detector, Face

EVERY = 5  # frames between detections: 0.2 s
SMOOTH = 2.0  # frames, standard deviation of the Gaussian that smooths a track; it spans about ±6 frames


class Track(NamedTuple):
    """One face through a clip."""

    points: np.ndarray  # float32 [T, 5, 2]
    found_fraction: float  # share of the frames looked at in which this face was found
    jitter: float  # as `jitter` measures it
    raw_jitter: float  # the same before smoothing
    lost: np.ndarray  # bool [T]: out of sight; its points are a guess


def default_detector() -> Detector:
    """The detector used where none is given."""
    return detectors.detector(detectors.DEFAULT)


def track(frames: np.ndarray, detector: Detector | None = None, every: int = EVERY, smooth: float = SMOOTH) -> Track:
    """Follows the speaker's face through a clip: the first of `tracks`, with its arguments."""
    return tracks(frames, detector, every, smooth)[0]


def tracks(
    frames: np.ndarray, detector: Detector | None = None, every: int = EVERY, smooth: float = SMOOTH
) -> list[Track]:
    """Follows the faces of a clip, the speaker's first.

    Faces are looked for in every `every`-th frame and in the last. Of several the speaker is the
    chain of detections that is largest, most central, and moves least from one to the next; the others are those of
    the chains left over that are seen in half of the frames looked at. Between
    detections the points are interpolated; before the first and after the last they rest. Then they are
    smoothed over time, because an alignment that follows each detection's noise makes the picture swim.
    (Measured on a GRID sentence aligned at 260 pixels: 1.8 pixels of swim per frame with a detection in each
    frame and no smoothing; 0.42 with these defaults; 0.42 and 0.44 with a detection in each frame, or optical
    flow between detections, smoothed.)

    A face that is missed once is taken to be there all the same; missed twice in a row, or beyond the first or the
    last sighting, it is lost until the next one.

    Args:
      frames: uint8 `[T, H, W, 3]` RGB, or whatever has its `shape` and gives frames by rising number.
      detector: finds the faces; `default_detector()` if not given.
      every: frames between detections.
      smooth: standard deviation of the smoothing Gaussian in frames; 0 is none.

    Raises:
      NoFace: none of the frames that were looked at shows a face.
    """
    detector = detector or default_detector()
    looked_at = sorted({*range(0, len(frames), every), len(frames) - 1}) if len(frames) else []
    sightings = [(index, face) for index in looked_at for face in detector.detect(frames[index])]
    if not sightings:
        raise NoFace(f"no face in any of the {len(looked_at)} frames looked at (of {len(frames)})")
    chains = []
    while sightings:
        chain = _best_chain(sightings, frames.shape[1:3])
        if chains and 2 * len(chain) < len(looked_at):
            break
        chains.append(chain)
        taken = {(index, id(face)) for index, face in chain}
        sightings = [(index, face) for index, face in sightings if (index, id(face)) not in taken]
    return [_track(chain, len(frames), len(looked_at), every, smooth) for chain in chains]


def _track(chain: list[tuple[int, Face]], frames: int, looked_at: int, every: int, smooth: float) -> Track:
    seen = np.array([index for index, _ in chain])
    found = np.stack([face.points for _, face in chain]).reshape(len(chain), -1)
    raw = points = np.stack([np.interp(np.arange(frames), seen, column) for column in found.T], 1)
    if smooth > 0:
        points = cv2.GaussianBlur(points, (1, 0), sigmaX=1, sigmaY=smooth, borderType=cv2.BORDER_REPLICATE)
    points = points.reshape(-1, 5, 2).astype(np.float32)
    raw_jitter = jitter(raw.reshape(-1, 5, 2))
    return Track(points, len(chain) / looked_at, jitter(points), raw_jitter, _lost(seen, frames, every))


def jitter(points: np.ndarray) -> float:
    """How much a track `[T, 5, 2]` shakes: the mean length of the points' second difference over time (their
    acceleration), in percent of the eye distance per frame². Steady motion has none; 0 below three frames."""
    if len(points) < 3:
        return 0.0
    acceleration = np.linalg.norm(np.diff(np.asarray(points, np.float64), 2, axis=0), axis=-1)
    return float(100 * acceleration.mean() / max(eye_distance(points), 1e-6))


def _best_chain(sightings: list[tuple[int, Face]], shape: tuple[int, int]) -> list[tuple[int, Face]]:
    """The chain of sightings, at most one per frame, whose worth adds up to the most.

    A sighting is worth its size times its centrality, less the more it jumps from the sighting before it:
    nothing is left at a jump of one face width (or of size by e), and it costs as much again at two or more.
    So a second face or a false alarm beside the speaker is not worth the way there and back.
    """
    height, width = shape
    boxes = np.stack([face.box for _, face in sightings]).astype(np.float64)
    when = np.array([index for index, _ in sightings])
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
        chain.append(sightings[j])
        j = before[j]
    return chain[::-1]


def _lost(seen: np.ndarray, count: int, every: int) -> np.ndarray:
    """Which of `count` frames lie in a gap between sightings, or beyond them, that one missed look does not explain."""
    lost = np.zeros(count, bool)
    for before, after in itertools.pairwise(seen):
        lost[before + 1 : after] = after - before > 2 * every
    lost[: seen[0]] = seen[0] > every
    lost[seen[-1] + 1 :] = count - 1 - seen[-1] > every
    return lost

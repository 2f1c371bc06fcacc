"""Faces in photos that lie on their side or upside down, because their orientation was not stored or was lost.

Turns are counted in quarters, counterclockwise, as `numpy.rot90` does.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from davs_jax.media.faces.detectors import Face

LYING = 30.0  # degrees: a face this near to a quarter turn lies on its side or upside down


def detect(
    image: np.ndarray, detector: Callable[[np.ndarray], Sequence[Face]], sure: float, clear: float
) -> list[Face]:
    """The faces in an image uint8 `[H, W, 3]`; where none is clear, those of the orientation that has the surest.

    Args:
      detector: finds upright faces; in images that are turned it finds false ones.
      sure, clear: the detector's confidences `SURE` and `CLEAR`.

    Returns:
      faces in the coordinates of the image as it is.
    """
    upright = list(detector(image))
    if _surest(upright) >= clear:
        return upright
    found = {quarters: detector(np.ascontiguousarray(np.rot90(image, quarters))) for quarters in (1, 2, 3)}
    best = max(found, key=lambda quarters: _surest(found[quarters]))
    if _surest(found[best]) < sure or _surest(found[best]) <= _surest(upright):
        return upright
    height, width = image.shape[:2] if best == 2 else image.shape[1::-1]
    return [_turned_face(face, (height, width), -best) for face in found[best]]


def quarters_to_upright(points: np.ndarray) -> int:
    """Quarters by which an image must be turned so that the face of these points `[5, 2]` is upright.

    0 unless the face is within LYING of a quarter: a face that is only tilted stays as it is.
    """
    across = points[1] - points[0] + points[4] - points[3]
    degrees = math.degrees(math.atan2(across[1], across[0]))
    quarters = round(degrees / 90)
    return quarters % 4 if abs(degrees - 90 * quarters) <= LYING else 0


def turned_points(points: np.ndarray, size: tuple[int, int], quarters: int) -> np.ndarray:
    """Points `[N, 2]` of an image of `size` (height, width), in the image turned by `quarters`."""
    height, width = size
    for _ in range(quarters % 4):
        points = np.stack([points[:, 1], width - 1 - points[:, 0]], 1)
        height, width = width, height
    return points


def _surest(faces: Sequence[Face]) -> float:
    return max((face.confidence for face in faces), default=0.0)


def _turned_face(face: Face, size: tuple[int, int], quarters: int) -> Face:
    corners = turned_points(np.stack([face.box[:2], face.box[:2] + face.box[2:]]), size, quarters)
    box = np.concatenate([corners.min(0), np.ptp(corners, 0)])
    return Face(turned_points(face.points, size, quarters), box, face.confidence)

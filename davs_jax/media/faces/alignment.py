"""Alignment: five points of a face → the crop that the networks see."""

import math

import cv2
import numpy as np

from davs_jax.errors import DavsError

# The official alignment (preprocess/face_align.py): eyes and mouth centre go to TEMPLATE in a canvas of 356 ×
# 436 pixels, of which the square of CROP_SIZE whose corner is CROP_CORNER is kept: centred horizontally, and
# 20 pixels below the middle vertically.
TEMPLATE = np.array([[140, 224], [220, 224], [180, 300]], np.float64)

CROP_CORNER = np.array([44, 104], np.float64)

CROP_SIZE = 268

BORDER = 127  # gray level outside the picture


class NoFace(DavsError):
    """No face was found. The message says in how many frames it was looked for."""


def template(size: int) -> np.ndarray:
    """Where eyes and mouth centre lie in an aligned face of `size` pixels, `[3, 2]`."""
    return (TEMPLATE - CROP_CORNER + 0.5) * size / CROP_SIZE - 0.5


def similarity(points: np.ndarray, size: int = 260) -> np.ndarray:
    """The map from a picture to its aligned face.

    Eye centres and mouth centre (the midpoint of its corners) go to the template by rotation, translation and
    the scale std(template) / std(points), as in the official code, whose scale is not that of least squares
    (the two differ by up to 3 %). The official LRW script counts each eye twice, its script for photos does
    not; here a photo and a video are aligned alike, by the latter. (Measured on five speakers, the other
    gives faces that are 2.5 to 3.7 % larger.) A mirrored face is not mirrored back.

    Args:
      points: `[5, 2]`.
      size: side of the aligned face in pixels.

    Returns:
      float64 `[2, 3]`, for `cv2.warpAffine`; `cv2.invertAffineTransform` of it leads back.

    Raises:
      ValueError: points of another shape, not finite, or all in one place.
    """
    points = np.asarray(points, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise ValueError(f"five finite points (x, y) are needed to align a face, got {points.tolist()}")
    # As complex numbers a similarity of the plane is z → a·z + b.
    source = np.array([points[0], points[1], points[3:].mean(0)]) @ (1, 1j)
    target = template(size) @ (1, 1j)
    source_spread, target_spread = source - source.mean(), target - target.mean()
    turn = np.vdot(source_spread, target_spread)
    if abs(turn) < 1e-9:
        raise ValueError(f"the points {points.tolist()} do not make a face: no direction is up")
    a = turn / abs(turn) * np.linalg.norm(target_spread) / np.linalg.norm(source_spread)
    b = target.mean() - a * source.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align(image: np.ndarray, five_points: np.ndarray, size: int = 260) -> np.ndarray:
    """The aligned face, cut out of a picture.

    The official code warps into the canvas, crops, and resizes, two bilinear samplings that alias where the
    face is large. Here one warp does it all: at the wanted size where the face grows, and where it shrinks at
    the whole multiple of it that keeps the picture's resolution, followed by an average over each pixel's
    area.

    Args:
      image: uint8 `[H, W, 3]`.
      five_points: `[5, 2]`.
      size: side of the result in pixels.

    Returns:
      uint8 `[size, size, 3]`; gray 127 beyond the picture's edge.

    Raises:
      ValueError: no uint8 colour picture, or points that do not make a face.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"a picture is uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    matrix = similarity(five_points, size)
    finer = max(1, math.ceil(1 / math.hypot(matrix[0, 0], matrix[1, 0]) - 0.05))
    matrix = matrix * finer
    matrix[:, 2] += (finer - 1) / 2  # pixel centres lie at whole numbers
    side = size * finer
    face = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=(BORDER,) * 3)
    return face if finer == 1 else cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)


def eye_distance(points: np.ndarray) -> float:
    """Median distance between the eyes over a track `[T, 5, 2]`, in pixels."""
    return float(np.median(np.linalg.norm(points[:, 1] - points[:, 0], axis=-1)))

"""Alignment: five points of a face → the crop that the networks take."""

import math

import cv2
import numpy as np

from davs_jax.face_geometry import stored_size

# The official alignment (preprocess/face_align.py): eyes and mouth centre go to TEMPLATE in a canvas of 356 ×
# 436 pixels, of which the square of CROP_SIZE whose corner is CROP_CORNER is kept: centred horizontally, and
# 20 pixels below the middle vertically.
TEMPLATE = np.array([[140, 224], [220, 224], [180, 300]], np.float64)
CROP_CORNER = np.array([44, 104], np.float64)
CROP_SIZE = 268
BORDER = 127  # gray level outside the image


def template(size: int) -> np.ndarray:
    """Eyes and mouth centre in an aligned face of `size` pixels, `[3, 2]`."""
    return (TEMPLATE - CROP_CORNER + 0.5) * size / CROP_SIZE - 0.5


def similarity(points: np.ndarray, size: int = 260) -> np.ndarray:
    """The map from an image to its aligned face.

    Eye centres and mouth centre (the midpoint of its corners) are mapped to the template by rotation, translation and
    the scale std(template) / std(points), as in the official code; this is not the least-squares scale (the two differ
    by up to 3 %). The official LRW script counts each eye twice, its script for photos does not; here photos and videos
    are aligned alike, by the latter. (On five speakers the former gives faces that are 2.5 to 3.7 % larger.) A mirrored
    face is not mirrored back.

    Args:
      points: `[5, 2]`.
      size: side of the aligned face in pixels.

    Returns:
      float64 `[2, 3]`, for `cv2.warpAffine`; `cv2.invertAffineTransform` inverts it.

    Raises:
      ValueError: the points have another shape, are not finite, or coincide.
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
        raise ValueError(f"the points {points.tolist()} do not form a face: no direction is up")
    a = turn / abs(turn) * np.linalg.norm(target_spread) / np.linalg.norm(source_spread)
    b = target.mean() - a * source.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align(image: np.ndarray, five_points: np.ndarray, size: int = 260) -> np.ndarray:
    """The aligned face of an image.

    The official code warps into the canvas, crops and resizes: two bilinear samplings, which alias where the face is
    large. Here one warp does it all: at the requested size where the face is enlarged; where it is reduced, at the
    multiple of that size that keeps the image's resolution, followed by an average over each pixel's area.

    Args:
      image: uint8 `[H, W, 3]`.
      five_points: `[5, 2]`.
      size: side of the result in pixels.

    Returns:
      uint8 `[size, size, 3]`; gray 127 beyond the image's edge.

    Raises:
      ValueError: not a uint8 colour image, or points that do not form a face.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"an image is uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    matrix = similarity(five_points, size)
    finer = max(1, math.ceil(1 / math.hypot(matrix[0, 0], matrix[1, 0]) - 0.05))
    matrix = matrix * finer
    matrix[:, 2] += (finer - 1) / 2  # pixel centres are at integers
    side = size * finer
    face = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=(BORDER,) * 3)
    return face if finer == 1 else cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)


def aligned_crop(image: np.ndarray, points: np.ndarray, image_size: int) -> np.ndarray:
    """The networks' input, uint8 `[S, S, 3]`: the face aligned at the stored size, then its centre, as in testing."""
    stored = align(image, points, stored_size(image_size))
    margin = (stored_size(image_size) - image_size) // 2
    return stored[margin : margin + image_size, margin : margin + image_size]


def crop_matrix(points: np.ndarray, image_size: int) -> np.ndarray:
    """The map from an image to its face's `aligned_crop`, float64 `[2, 3]`; ValueError as `similarity`."""
    stored = stored_size(image_size)
    matrix = similarity(points, stored)
    matrix[:, 2] -= (stored - image_size) // 2
    return matrix


def eye_distance(points: np.ndarray) -> float:
    """Median distance between the eyes over a track `[T, 5, 2]`, in pixels."""
    return float(np.median(np.linalg.norm(points[:, 1] - points[:, 0], axis=-1)))

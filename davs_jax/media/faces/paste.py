"""A generated face, put back into the picture that it came from, so that nobody sees where.

Only what was changed is put back: the difference between the generated crop and the picture's own crop. Where the
two agree the picture stays as it is, to the bit, with all the detail that a crop of the networks' size cannot hold.
"""

import math

import cv2
import numpy as np

from davs_jax.constants import mouth_box
from davs_jax.media.photo import crop_matrix

BORDER, FEATHER = 0.02, 0.10  # parts of the crop's side: where the mask begins, and over how much it rises
CHANGED = 10.0, 40.0  # gray levels of change between which a picture's own fine detail fades out
MAX_CONTRAST = 1.25  # by which the colours' contrast is corrected at most, up or down


class Canvas:
    """One picture, ready to have generated crops of its face put back into it.

    Args:
      picture: uint8 `[H, W, 3]`.
      points: `[5, 2]`, the face's points in it.
      crop: uint8 `[S, S, 3]`, its aligned crop, as `photo.aligned_crop` makes it.

    Raises:
      ValueError: points that do not make a face.
    """

    def __init__(self, picture: np.ndarray, points: np.ndarray, crop: np.ndarray):
        size, (height, width) = len(crop), picture.shape[:2]
        matrix = cv2.invertAffineTransform(crop_matrix(points, size))
        self._picture, self._crop, self._mask = picture, crop, feathered_mask(size)
        corners = np.array([[x, y, 1] for x in (-0.5, size - 0.5) for y in (-0.5, size - 0.5)]) @ matrix.T
        left, top = np.clip(np.floor(corners.min(0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(corners.max(0)) + 1, 0, (width, height)).astype(int)
        self._box = slice(top, bottom), slice(left, right)
        self._matrix = matrix - [[0, 0, left], [0, 0, top]]
        self._base = picture[self._box].astype(np.float32)
        if self._base.size:
            self._weight = self._warp(self._mask)[..., None]
            self._known = self._warp(crop.astype(np.float32))

    def paste(self, generated: np.ndarray) -> np.ndarray:
        """The picture with this crop in its place.

        Args:
          generated: uint8 `[S, S, 3]`.

        Returns:
          uint8 `[H, W, 3]`; equal to the picture where the generated crop is the picture's own.
        """
        picture = self._picture.copy()
        if not self._base.size:  # a face that lies outside the picture
            return picture
        change = self._warp(match_colours(generated, self._crop, self._mask)) - self._known
        low, high = CHANGED
        moved = np.clip((np.abs(change).max(-1) - low) / (high - low), 0, 1)
        moved = cv2.GaussianBlur(moved, (0, 0), max(0.5, self._scale))[..., None]
        change -= moved * (self._base - self._known)  # the fine detail of a mouth that was elsewhere
        picture[self._box] = np.clip(np.rint(self._base + self._weight * change), 0, 255)
        return picture

    @property
    def _scale(self) -> float:
        """Pixels of the picture per pixel of the crop."""
        return math.hypot(self._matrix[0, 0], self._matrix[1, 0])

    def _warp(self, crop: np.ndarray) -> np.ndarray:
        """float32 `[S, S, …]` → its place's box; averaged over areas where the face is smaller there."""
        matrix, height, width = self._matrix, *self._base.shape[:2]
        if self._scale < 1:
            side = max(1, math.ceil(len(crop) * self._scale))
            step = len(crop) / side
            crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
            matrix = matrix @ [[step, 0, (step - 1) / 2], [0, step, (step - 1) / 2], [0, 0, 1]]
        edge = cv2.BORDER_CONSTANT if crop.ndim == 2 else cv2.BORDER_REPLICATE
        kernel = cv2.INTER_LINEAR if crop.ndim == 2 or self._scale < 1 else cv2.INTER_CUBIC
        return cv2.warpAffine(crop, matrix, (width, height), flags=kernel, borderMode=edge)


def feathered_mask(size: int) -> np.ndarray:
    """How much of a crop is put back, float32 `[size, size]` in 0…1: all of the face, nothing at the border."""
    centre = (size - 1) / 2
    across = np.abs(np.arange(size) - centre) / (size / 2)
    # Contours of a superellipse, between an oval that cuts the jaw and a square that shows its corners.
    radius = (across[:, None] ** 4 + across[None] ** 4) ** 0.25
    rise = np.clip((1 - 2 * BORDER - radius) / (2 * FEATHER), 0, 1)
    return (rise * rise * (3 - 2 * rise)).astype(np.float32)


def match_colours(generated: np.ndarray, crop: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The generated crop in the colours of the picture's own, outside the mouth, which may differ.

    By channel, the straight line that takes the one nearest to the other, its slope kept within 1/1.25 … 1.25.

    Args:
      generated, crop: uint8 `[S, S, 3]`.
      mask: float32 `[S, S]`, the weight of each pixel.

    Returns:
      float32 `[S, S, 3]`.
    """
    weight = mask.copy()
    weight[mouth_box(len(crop))] = 0
    weight = weight[..., None] / max(float(weight.sum()), 1e-6)
    generated, crop = generated.astype(np.float32), crop.astype(np.float32)
    mean, wanted = (np.sum(weight * picture, (0, 1)) for picture in (generated, crop))
    spread = generated - mean
    variance = np.sum(weight * spread**2, (0, 1))
    slope = np.sum(weight * spread * (crop - wanted), (0, 1)) / np.maximum(variance, 1e-3)
    return spread * np.clip(slope, 1 / MAX_CONTRAST, MAX_CONTRAST) + wanted

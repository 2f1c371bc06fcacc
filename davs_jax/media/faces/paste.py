"""Pastes a generated face back into its image without a visible seam.

Only the difference between the generated crop and the image's own crop is added. Where the two agree the image stays
bit-identical, with all the detail that a crop of the networks' size cannot hold.
"""

import math

import cv2
import numpy as np

from davs_jax.face_geometry import mouth_box
from davs_jax.media.faces.alignment import crop_matrix

BORDER, FEATHER = 0.02, 0.10  # of the crop's side: where the mask begins to rise, and over how much
CHANGED = 10.0, 40.0  # gray levels of change, between which the image's own fine detail fades out
MAX_CONTRAST = 1.25  # largest factor of the colour correction's contrast, up or down


class Canvas:
    """An image into which generated crops of its face are pasted.

    Args:
      image: uint8 `[H, W, 3]`.
      points: `[5, 2]`, the face's points in it.
      crop: uint8 `[S, S, 3]`, its `aligned_crop`.

    Raises:
      ValueError: the points do not form a face.
    """

    def __init__(self, image: np.ndarray, points: np.ndarray, crop: np.ndarray):
        size, (height, width) = len(crop), image.shape[:2]
        matrix = cv2.invertAffineTransform(crop_matrix(points, size))
        self._image, self._crop, self._mask = image, crop, feathered_mask(size)
        corners = np.array([[x, y, 1] for x in (-0.5, size - 0.5) for y in (-0.5, size - 0.5)]) @ matrix.T
        left, top = np.clip(np.floor(corners.min(0)), 0, (width, height)).astype(int)
        right, bottom = np.clip(np.ceil(corners.max(0)) + 1, 0, (width, height)).astype(int)
        self._box = slice(top, bottom), slice(left, right)
        self._matrix = matrix - [[0, 0, left], [0, 0, top]]
        self._base = image[self._box].astype(np.float32)
        if self._base.size:
            self._weight = self._warp(self._mask)[..., None]
            self._known = self._warp(crop.astype(np.float32))

    def paste(self, generated: np.ndarray, field: np.ndarray | None = None) -> np.ndarray:
        """A copy of the image with this crop in its place.

        Args:
          generated: uint8 `[S, S, 3]`.
          field: float32 `[S, S, 2]`, how many pixels of the crop to the right and down each of its pixels was taken
            from, before the network changed it. The image's own pixels move likewise, with all their detail.

        Returns:
          uint8 `[H, W, 3]`; equal to the image where the generated crop equals the image's own.
        """
        image = self._image.copy()
        if not self._base.size:  # the face lies outside the image
            return image
        base, known, crop = self._base, self._known, self._crop
        if field is not None:
            base, known, crop = self._moved(field * self._mask[..., None])
        change = self._warp(match_colours(generated, crop, self._mask)) - known
        low, high = CHANGED
        moved = np.clip((np.abs(change).max(-1) - low) / (high - low), 0, 1)
        moved = cv2.GaussianBlur(moved, (0, 0), max(0.5, self._scale))[..., None]
        change -= moved * (base - known)  # remove the fine detail of the old mouth
        image[self._box] = np.clip(np.rint(base + self._weight * change), 0, 255)
        return image

    def _moved(self, field: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The face's box in the image, the crop as seen there, and the crop, with their pixels moved by `field`."""
        crop = _displaced(self._crop, field)
        in_image = self._warp(field) @ self._matrix[:, :2].T.astype(np.float32)
        return _displaced(self._base, in_image), self._warp(crop.astype(np.float32)), crop

    @property
    def _scale(self) -> float:
        """Pixels of the image per pixel of the crop."""
        return math.hypot(self._matrix[0, 0], self._matrix[1, 0])

    def _warp(self, crop: np.ndarray) -> np.ndarray:
        """float32 `[S, S, …]` → the face's box in the image; averaged over areas where the face is smaller there."""
        matrix, height, width = self._matrix, *self._base.shape[:2]
        if self._scale < 1:
            side = max(1, math.ceil(len(crop) * self._scale))
            step = len(crop) / side
            crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
            matrix = matrix @ [[step, 0, (step - 1) / 2], [0, step, (step - 1) / 2], [0, 0, 1]]
        edge = cv2.BORDER_CONSTANT if crop.ndim == 2 else cv2.BORDER_REPLICATE
        kernel = cv2.INTER_LINEAR if crop.ndim == 2 or self._scale < 1 else cv2.INTER_CUBIC
        return cv2.warpAffine(crop, matrix, (width, height), flags=kernel, borderMode=edge)


def _displaced(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    """`[H, W, 3]` sampled at each pixel's place plus `field` `[H, W, 2]` (right, down)."""
    y, x = np.mgrid[: len(image), : image.shape[1]].astype(np.float32)
    return cv2.remap(image, x + field[..., 0], y + field[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def feathered_mask(size: int) -> np.ndarray:
    """The opacity of a pasted crop, float32 `[size, size]` in 0…1: 1 on the face, 0 at the border."""
    centre = (size - 1) / 2
    across = np.abs(np.arange(size) - centre) / (size / 2)
    # Contours of a superellipse, between an oval that cuts the jaw and a square that shows its corners.
    radius = (across[:, None] ** 4 + across[None] ** 4) ** 0.25
    rise = np.clip((1 - 2 * BORDER - radius) / (2 * FEATHER), 0, 1)
    return (rise * rise * (3 - 2 * rise)).astype(np.float32)


def match_colours(generated: np.ndarray, crop: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The generated crop in the colours of the image's own crop.

    By channel, the weighted least-squares line from the one to the other, with its slope clipped to 1/1.25 … 1.25. The
    mouth, which may differ, is left out of the fit.

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
    mean, wanted = (np.sum(weight * image, (0, 1)) for image in (generated, crop))
    spread = generated - mean
    variance = np.sum(weight * spread**2, (0, 1))
    slope = np.sum(weight * spread * (crop - wanted), (0, 1)) / np.maximum(variance, 1e-3)
    return spread * np.clip(slope, 1 / MAX_CONTRAST, MAX_CONTRAST) + wanted

"""Soft-edged shapes on an OpenCV image, in face units.

The origin is between the eyes, x points right, y down, and the unit is the distance between the eyes.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import CubicSpline

_SHIFT = 4  # fractional bits of OpenCV's coordinates


@dataclass(frozen=True)
class Canvas:
    """A square image of `size` pixels, and the position of the face in it."""

    size: int
    unit: float  # pixels per eye distance
    x: float  # of the origin, pixels
    y: float

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Pixel coordinates `[N, 2]` of points `[N, 2]`."""
        return np.asarray(points, np.float64) * self.unit + (self.x, self.y)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x `[1, size]` and y `[size, 1]` of every pixel in face units."""
        steps = np.arange(self.size, dtype=np.float32)
        return ((steps - self.x) / self.unit)[None], ((steps - self.y) / self.unit)[:, None]

    def mask(self, *shapes: np.ndarray, blur: float = 0.0) -> np.ndarray:
        """Coverage 0…1, float32 `[size, size]`, of filled outlines; `blur` softens the edge, in face units."""

        def fill(patch: np.ndarray, outlines: list[np.ndarray]) -> None:
            for outline in outlines:  # one by one: OpenCV leaves the overlaps within one call empty
                cv2.fillPoly(patch, [outline], 255, cv2.LINE_AA, _SHIFT)

        return self._covered(fill, shapes, blur, margin=2)

    def stroke(self, points: np.ndarray, width: float, blur: float = 0.0, closed: bool = False) -> np.ndarray:
        """Coverage of a line of `width` face units."""
        thickness = max(1, round(width * self.unit))

        def draw(patch: np.ndarray, lines: list[np.ndarray]) -> None:
            cv2.polylines(patch, lines, closed, 255, thickness, cv2.LINE_AA, _SHIFT)

        return self._covered(draw, [points], blur, margin=thickness)

    def _covered(self, draw, shapes, blur: float, margin: int) -> np.ndarray:
        """Draws into the smallest patch that contains shapes and blur, because blurring costs most."""
        pixels = [self.pixels(shape) for shape in shapes]
        every = np.vstack(pixels)
        margin += round(4 * blur * self.unit)
        low = np.clip(np.floor(every.min(axis=0)).astype(int) - margin, 0, self.size)
        high = np.clip(np.ceil(every.max(axis=0)).astype(int) + margin + 1, 0, self.size)
        mask = np.zeros((self.size, self.size), np.float32)
        if (high <= low).any():
            return mask
        patch = np.zeros((high - low)[::-1], np.uint8)
        draw(patch, [fixed(outline - low) for outline in pixels])
        if blur:
            patch = cv2.GaussianBlur(patch, (0, 0), blur * self.unit)
        mask[low[1] : high[1], low[0] : high[0]] = patch.astype(np.float32) / 255
        return mask


def fixed(pixels: np.ndarray) -> np.ndarray:
    """Pixel coordinates as OpenCV's fixed-point numbers; integers are pixel centres."""
    return np.round(pixels * (1 << _SHIFT)).astype(np.int32)


def blend(image: np.ndarray, mask: np.ndarray, colour) -> None:
    """Blends a colour, or an image of the same size, into a float32 RGB image by a mask, in place."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if len(rows) == 0:
        return
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    colour = colour[box] if np.ndim(colour) == 3 else np.float32(colour)
    image[box] += mask[box][..., None] * (colour - image[box])


def smooth(points, closed: bool = True, count: int = 160) -> np.ndarray:
    """A smooth curve `[count, 2]` through points `[N, 2]`."""
    points = np.asarray(points, np.float64)
    if closed:
        points = np.vstack([points, points[:1]])
    length = np.concatenate([[0], np.cumsum(np.sqrt(np.linalg.norm(np.diff(points, axis=0), axis=1)))])
    spline = CubicSpline(length, points, bc_type="periodic" if closed else "natural")
    return spline(np.linspace(0, length[-1], count, endpoint=not closed))


def mirrored(right) -> np.ndarray:
    """Closes the right half of an outline, given from top to bottom, with its mirror image."""
    right = np.asarray(right, np.float64)
    left = right[::-1] * (-1, 1)
    return np.vstack([right, left[np.abs(left[:, 0]) > 1e-9]])


def ellipse(x: float, y: float, a: float, b: float, count: int = 48, power: float = 2.0) -> np.ndarray:
    """Outline of an ellipse with half axes a and b; powers above 2 make it squarer."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (x, y) + np.sign(circle) * np.abs(circle) ** (2 / power) * (a, b)

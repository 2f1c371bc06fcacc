"""Temporal consistency of a face generated from one photo: what is not speech holds still."""

import cv2
import numpy as np

from davs_jax.constants import mouth_box

KEEP = 0.75  # of the frame before, outside the mouth: a time constant of 3.5 frames, 0.14 s at 25 fps
REACH = 0.06  # parts of the side by which the mouth's mask is wider than its box, for the jaw, and over which it fades


class Steady:
    """Averages generated crops over time outside the mouth, where a photo does not move; the mouth stays as it is.

    The average is causal, so it costs no delay: a_t = KEEP · a_{t−1} + (1 − KEEP) · x_t.

    Attributes:
      before, after: flicker outside the mouth, as it came and as it went: the mean absolute second difference over
        time, gray levels per frame²; 0 below three frames.
    """

    def __init__(self, size: int):
        self._mouth = mouth_mask(size)[..., None]
        self._average: np.ndarray | None = None
        self._flicker = _Flicker(1 - self._mouth), _Flicker(1 - self._mouth)

    def __call__(self, crop: np.ndarray) -> np.ndarray:
        """uint8 `[S, S, 3]` → the same, steadied."""
        picture = crop.astype(np.float32)
        self._average = picture if self._average is None else KEEP * self._average + (1 - KEEP) * picture
        steady = np.rint(self._average + self._mouth * (picture - self._average)).astype(np.uint8)
        for flicker, shown in zip(self._flicker, (crop, steady), strict=True):
            flicker.add(shown)
        return steady

    @property
    def before(self) -> float:
        return self._flicker[0].mean

    @property
    def after(self) -> float:
        return self._flicker[1].mean


def mouth_mask(size: int) -> np.ndarray:
    """1 at the mouth and the jaw below it, 0 elsewhere, soft in between: float32 `[size, size]`."""
    rows, columns = mouth_box(size)
    reach = round(REACH * size)
    mask = np.zeros((size, size), np.float32)
    mask[max(0, rows.start - reach) :, max(0, columns.start - reach) : columns.stop + reach] = 1
    return cv2.GaussianBlur(mask, (0, 0), max(0.5, reach / 2))


class _Flicker:
    def __init__(self, weight: np.ndarray):
        self._weight = weight / max(float(weight.sum()) * 3, 1e-6)
        self._last: list[np.ndarray] = []
        self._total, self._count = 0.0, 0

    def add(self, frame: np.ndarray) -> None:
        self._last = [*self._last[-2:], frame.astype(np.float32)]
        if len(self._last) == 3:
            first, second, third = self._last
            self._total += float(np.sum(self._weight * np.abs(third - 2 * second + first)))
            self._count += 1

    @property
    def mean(self) -> float:
        return self._total / max(self._count, 1)

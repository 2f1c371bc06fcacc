"""Temporal smoothing of a face generated from one photo: outside the mouth it does not flicker."""

import cv2
import numpy as np

from davs_jax.face_geometry import mouth_box

KEEP = 0.75  # weight of the previous average: a time constant of 3.5 frames, 0.14 s at 25 fps
REACH = 0.06  # of the side: by how much the mouth's mask is wider than its box, for the jaw, and its fade


class Steady:
    """Averages generated crops over time outside the mouth, where a photo does not move; the mouth is unchanged.

    The average is causal and adds no delay: a_t = KEEP · a_{t−1} + (1 − KEEP) · x_t.

    Attributes:
      before, after: flicker outside the mouth before and after smoothing: the mean absolute second difference over
        time, gray levels per frame²; 0 below three frames.
    """

    def __init__(self, size: int):
        self._mouth = mouth_and_jaw_mask(size)[..., None]
        self._average: np.ndarray | None = None
        self._average_field: np.ndarray | None = None
        self._flicker = _Flicker(1 - self._mouth), _Flicker(1 - self._mouth)

    def __call__(self, crop: np.ndarray) -> np.ndarray:
        """The next frame uint8 `[S, S, 3]` → the same, smoothed."""
        self._average, smooth = self._smoothed(self._average, crop.astype(np.float32))
        steady = np.rint(smooth).astype(np.uint8)
        for flicker, shown in zip(self._flicker, (crop, steady), strict=True):
            flicker.add(shown)
        return steady

    def field(self, field: np.ndarray) -> np.ndarray:
        """The next frame's displacements float32 `[S, S, 2]` → the same, smoothed."""
        self._average_field, smooth = self._smoothed(self._average_field, field)
        return smooth

    def _smoothed(self, average: np.ndarray | None, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The next average, and the values with it outside the mouth."""
        average = new if average is None else KEEP * average + (1 - KEEP) * new
        return average, average + self._mouth * (new - average)

    @property
    def before(self) -> float:
        return self._flicker[0].mean

    @property
    def after(self) -> float:
        return self._flicker[1].mean


def mouth_and_jaw_mask(size: int) -> np.ndarray:
    """float32 `[size, size]`: 1 at the mouth and the jaw below it, 0 elsewhere, smooth in between."""
    rows, columns = mouth_box(size)
    reach = round(REACH * size)
    mask = np.zeros((size, size), np.float32)
    mask[max(0, rows.start - reach) :, max(0, columns.start - reach) : columns.stop + reach] = 1
    return cv2.GaussianBlur(mask, (0, 0), max(0.5, reach / 2))


class _Flicker:
    """Mean absolute second difference over time of frames `[S, S, 3]`, weighted by `[S, S, 1]`."""

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

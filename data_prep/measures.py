"""What preparation measures of a record, so that bad material shows: pure functions of points, pictures and sound."""

import cv2
import numpy as np

from davs_jax.constants import SAMPLES_PER_FRAME, mouth_box, stored_size
from davs_jax.media import offsets
from davs_jax.media.faces import alignment


def face_size(points: np.ndarray) -> float:
    """Side of the square that becomes the aligned face, in pixels of the source: the median over points `[T, 5, 2]`.

    Below the stored side the face was enlarged, and shows less detail than its pixels promise.
    """
    return round(float(np.median([1 / np.hypot(*alignment.similarity(five, 1)[:, 0]) for five in points])), 1)


def aligned_points(points: np.ndarray, size: int) -> list[list[list[float]]]:
    """Points `[T, 5, 2]` of the source → where they lie in the aligned faces of `size` pixels, to a tenth."""
    maps = np.stack([alignment.similarity(five, size) for five in points])
    moved = np.einsum("tij,tpj->tpi", maps[..., :2], points) + maps[:, None, :, 2]
    return np.round(moved.astype(np.float64), 1).tolist()


def sharpness(picture: np.ndarray) -> float:
    """Variance of the Laplacian of an aligned face uint8 `[S, S, 3]` RGB, gray: low where it is blurred.

    Of the middle half of its sides, from brow to lip: neither background nor the edge of the source counts.
    """
    quarter = len(picture) // 4
    middle = picture[quarter:-quarter, quarter:-quarter]
    return float(cv2.Laplacian(cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def loudness(audio: np.ndarray) -> float:
    """Root mean square of int16 sound, in decibels below full scale."""
    return round(float(20 * np.log10(np.sqrt(np.mean(np.square(audio / 2**15))))), 2)


def mouth(picture: np.ndarray, image_size: int) -> np.ndarray:
    """The mouth box of a stored frame uint8 `[H, W, 3]` RGB, gray, float32 `[h, w]`."""
    margin = (stored_size(image_size) - image_size) // 2
    rows, columns = mouth_box(image_size)
    box = picture[margin:, margin:][rows, columns]
    return cv2.cvtColor(box, cv2.COLOR_RGB2GRAY).astype(np.float32)


def speaking(mouths: np.ndarray, samples: np.ndarray) -> float:
    """How a mouth's contrast, which an open mouth has, goes with the loudness: their covariance over all frames.

    Not their correlation, for a still mouth says nothing, whatever its noise correlates with. The best of a sound one
    frame early, in time, and one late. A hint; `tests/benchmarks/speakers.py` says how often it is right.

    Args:
      mouths: `[T, h, w]`, gray.
      samples: `[T · 640]`.
    """
    contrast = mouths.std((1, 2))
    sound = np.sqrt(np.square(samples, dtype=np.float64).reshape(-1, SAMPLES_PER_FRAME).mean(1))
    contrast, sound = contrast - contrast.mean(), (sound - sound.mean()) / max(sound.std(), 1e-9)
    return float(offsets.offset_distances(np.outer(contrast, sound), 1).max())


def lip_sound(mouths: np.ndarray, audio: np.ndarray) -> np.ndarray:
    """How lip motion goes with loudness at every offset: `[2·REACH + 1]`, for a sound −REACH … REACH frames late.

    Motion is the mean absolute difference between one mouth box and the next, loudness the root mean square of both
    frames' sound, whose middle is where the one gives way to the other. The result is the mean product of the two,
    each less its mean and over its standard deviation, on the same pictures at every offset: a correlation of 18
    numbers for a clip of 29 frames, so a hint, no more.

    Args:
      mouths: `[T, h, w]`, gray.
      audio: int16 `[T · 640]`.
    """
    motion = np.abs(np.diff(mouths, axis=0)).mean((1, 2))
    power = np.square(audio / 2**15).reshape(-1, SAMPLES_PER_FRAME).mean(1)
    sound = np.sqrt((power[:-1] + power[1:]) / 2)
    motion, sound = ((x - x.mean()) / max(x.std(), 1e-9) for x in (motion, sound))
    return offsets.offset_distances(np.outer(motion, sound), offsets.REACH)

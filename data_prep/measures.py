"""Quality measures of a record, by which bad material is found: pure functions of points, images and audio."""

import cv2
import numpy as np

from davs_jax.constants import SAMPLES_PER_FRAME
from davs_jax.face_geometry import mouth_box, stored_size
from davs_jax.media import offsets
from davs_jax.media.faces import alignment


def face_size(points: np.ndarray) -> float:
    """Side of the square that becomes the aligned face, in pixels of the source: the median over points `[T, 5, 2]`.

    If it is below the stored side, the face was enlarged and has less detail than its pixels suggest.
    """
    return round(float(np.median([1 / np.hypot(*alignment.similarity(five, 1)[:, 0]) for five in points])), 1)


def aligned_points(points: np.ndarray, size: int) -> list[list[list[float]]]:
    """Points `[T, 5, 2]` of the source → the same points in the aligned faces of `size` pixels, to a tenth."""
    maps = np.stack([alignment.similarity(five, size) for five in points])
    moved = np.einsum("tij,tpj->tpi", maps[..., :2], points) + maps[:, None, :, 2]
    return np.round(moved.astype(np.float64), 1).tolist()


def sharpness(image: np.ndarray) -> float:
    """Variance of the Laplacian of an aligned face uint8 `[S, S, 3]` RGB in gray; blur makes it low.

    Only the middle half in each direction, from brow to lip, is used, without background and edges of the source.
    """
    quarter = len(image) // 4
    middle = image[quarter:-quarter, quarter:-quarter]
    return float(cv2.Laplacian(cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY), cv2.CV_64F).var())


def loudness(audio: np.ndarray) -> float:
    """Root mean square of int16 audio `[N]`, in dB relative to full scale."""
    return round(float(20 * np.log10(np.sqrt(np.mean(np.square(audio / 2**15))))), 2)


def mouth(image: np.ndarray, image_size: int) -> np.ndarray:
    """The mouth box of a stored frame uint8 `[H, W, 3]` RGB, in gray, float32 `[h, w]`."""
    margin = (stored_size(image_size) - image_size) // 2
    rows, columns = mouth_box(image_size)
    box = image[margin:, margin:][rows, columns]
    return cv2.cvtColor(box, cv2.COLOR_RGB2GRAY).astype(np.float32)


def speaking(mouths: np.ndarray, samples: np.ndarray) -> float:
    """Covariance over all frames of a mouth's contrast, which rises as it opens, with the loudness.

    Covariance, not correlation: the noise of a still mouth may correlate with anything. The best of three offsets is
    taken: audio one frame early, in sync, one frame late. A hint only; `tests/benchmarks/speakers.py` measures how
    often it is right.

    Args:
      mouths: `[T, h, w]`, gray.
      samples: `[T · 640]`.
    """
    contrast = mouths.std((1, 2))
    level = np.sqrt(np.square(samples, dtype=np.float64).reshape(-1, SAMPLES_PER_FRAME).mean(1))
    contrast, level = contrast - contrast.mean(), (level - level.mean()) / max(level.std(), 1e-9)
    return float(offsets.offset_distances(np.outer(contrast, level), 1).max())


def lip_sound(mouths: np.ndarray, audio: np.ndarray) -> np.ndarray:
    """Correlation of lip motion with loudness at every offset: `[2·REACH + 1]`, for audio −REACH … REACH frames late.

    Motion is the mean absolute difference between consecutive mouth boxes; loudness is the root mean square of the
    audio of both frames, centred between them. Both are standardised over the whole clip, and their mean product is
    taken over the same frames at every offset. In a clip of 29 frames, only 18 numbers are correlated: a hint only.

    Args:
      mouths: `[T, h, w]`, gray.
      audio: int16 `[T · 640]`.
    """
    motion = np.abs(np.diff(mouths, axis=0)).mean((1, 2))
    power = np.square(audio / 2**15).reshape(-1, SAMPLES_PER_FRAME).mean(1)
    level = np.sqrt((power[:-1] + power[1:]) / 2)
    motion, level = ((x - x.mean()) / max(x.std(), 1e-9) for x in (motion, level))
    return offsets.offset_distances(np.outer(motion, level), offsets.REACH)

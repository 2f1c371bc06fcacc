"""The mouth-opening estimator: mouth opening from pixels, fitted on real frames whose opening is known."""

from collections.abc import Callable, Iterable

import cv2
import numpy as np
from sklearn.linear_model import Ridge

from davs_jax.errors import NotMeasurable
from davs_jax.face_geometry import mouth_box

SIZE = 32, 16  # pixels that the mouth box is reduced to: its size at 64 px
FIT_CLIPS = 600
RIDGE = 30.0  # penalty; on unseen synthetic people 3 … 100 all correlate 0.98 with the truth, 30 keeps the amplitude
TRUSTED = 0.9  # least correlation with the truth on real frames of unseen people; below it motion is not measured

Estimator = Callable[[np.ndarray], np.ndarray]


def fit_estimator(batches: Iterable[dict], exclude: Iterable[int] = ()) -> Estimator:
    """Fits a ridge regression from mouth pixels to the true opening, both relative to their clip's mean.

    Subtracting the clip's mean removes the person (skin, lips, beard) from the pixels; `metrics.motion` compares
    changes only, so nothing is lost.

    Args:
      batches: of `data.eval_batches`, of the training split; the first FIT_CLIPS usable clips are read.
      exclude: speakers whose clips are left out: those on whom the estimator will be validated.

    Returns:
      a function: frames of one clip uint8 `[T, S, S, 3]` → opening less the clip's mean `[T]`, in the truth's unit.

    Raises:
      NotMeasurable: no usable clip: the opening is unknown, or every speaker is excluded.
      DataError: while reading, a damaged record.
    """
    exclude, pixels, openings = set(exclude), [], []
    for batch in batches:
        known = batch["mask"] & np.isfinite(batch["mouth_opening"]).all(1)
        for i in np.flatnonzero(known & ~np.isin(batch["speaker"], list(exclude))):
            pixels.append(_pixels(batch["frames"][i]))
            openings.append(batch["mouth_opening"][i] - batch["mouth_opening"][i].mean())
        if len(pixels) >= FIT_CLIPS:
            break
    if not pixels:
        raise NotMeasurable("no training clip has a known mouth opening and a speaker outside the evaluated split")
    regression = Ridge(alpha=RIDGE, fit_intercept=False).fit(np.concatenate(pixels), np.concatenate(openings))
    return lambda frames: regression.predict(_pixels(frames))


def _pixels(frames: np.ndarray) -> np.ndarray:
    """`[T, S, S, 3]` → the mouth box of every frame, 0…1, less the clip's mean, `[T, 16·32·3]`."""
    rows, columns = mouth_box(frames.shape[1])
    boxes = np.stack([cv2.resize(frame[rows, columns], SIZE, interpolation=cv2.INTER_AREA) for frame in frames])
    boxes = boxes.reshape(len(frames), -1).astype(np.float32) / 255
    return boxes - boxes.mean(0)

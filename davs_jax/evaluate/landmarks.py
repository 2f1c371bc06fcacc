"""A landmark distance, that of the mouth corners, reported with the detector and the divisor that it depends on."""

from collections.abc import Mapping

import cv2
import numpy as np

from davs_jax.evaluate.sections import CornerMeasure, Corners, Landmarks
from davs_jax.media.faces import detectors
from davs_jax.media.faces.detectors import Detector

SIDE = 256  # pixels that a smaller image is enlarged to before face detection
EVERY = 4  # frames from one measured frame to the next
EYES, MOUTH = slice(0, 2), slice(3, 5)  # of the five points
DETECTOR = "MTCNN (Zhang et al. 2016), its two mouth corners"
DIVISOR = "the distance between the real frame's eyes"


def detected(frames: np.ndarray, detector: Detector | None = None) -> list[np.ndarray | None]:
    """The five points of every fourth frame of uint8 `[T, S, S, 3]`, in pixels of at least SIDE a side.

    Returns:
      ⌈T / 4⌉ points `[5, 2]`; None where no face was found.
    """
    detector = detector or detectors.detector()
    return [_points(frame, detector) for frame in frames[::EVERY]]


def corner_distances(
    variants: Mapping[str, np.ndarray], true: list[np.ndarray | None], detector: Detector | None = None
) -> dict[str, np.ndarray]:
    """By variant, the mean distance of the mouth corners in its frames from those in the real ones.

    Images are compared without centring or scaling, since both are aligned by the photo. The unit is the eye distance
    of the real frame, so the result does not depend on the image size.

    Args:
      variants: frames uint8 `[T, S, S, 3]` by name.
      true: the real clip's points, as from `detected`.

    Returns:
      a distance for every measured frame, NaN where no face was found in it or in the real one, `[⌈T / 4⌉]`.
    """
    found = {name: detected(frames, detector) for name, frames in variants.items()}
    return {
        name: np.array([distance(p, t) for p, t in zip(points, true, strict=True)]) for name, points in found.items()
    }


def table(clips: list[dict[str, np.ndarray]], size: int) -> Landmarks:
    """Means by variant, with the counts of frames measured and missed.

    Args:
      clips: as from `corner_distances`.
      size: S of the images, pixels.
    """
    by_driver = {}
    for name in clips[0]:
        values = np.concatenate([clip[name] for clip in clips])
        measured = np.isfinite(values)
        mean = float(values[measured].mean()) if measured.any() else None
        by_driver[name] = Corners(mean=mean, frames=int(measured.sum()), missed=int((~measured).sum()))
    enlarged = f"{size} px, enlarged to {max(size, SIDE)}"
    measure = CornerMeasure(detector=DETECTOR, divisor=DIVISOR, size=enlarged, clips=len(clips))
    return Landmarks(measure=measure, by_driver=by_driver)


def _points(frame: np.ndarray, detector: Detector) -> np.ndarray | None:
    """The five points of the largest face, in pixels of the enlarged image; None without a face."""
    if frame.shape[0] < SIDE:
        frame = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    faces = detector.detect(frame)
    return max(faces, key=lambda f: f.box[2] * f.box[3]).points if faces else None


def distance(points: np.ndarray | None, true: np.ndarray | None) -> float:
    """Mean distance of two pairs of mouth corners, of five points each, in eye distances of `true`; NaN without one."""
    if points is None or true is None:
        return float("nan")
    eyes = np.linalg.norm(true[EYES][1] - true[EYES][0])
    return float(np.linalg.norm(points[MOUTH] - true[MOUTH], axis=1).mean() / max(eyes, 1e-6))

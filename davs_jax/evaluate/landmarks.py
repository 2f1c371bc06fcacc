"""Landmark distances, of the mouth corners and of the lips, with the detector and the unit that they depend on."""

from collections.abc import Mapping

import cv2
import numpy as np

from davs_jax.evaluate.sections import CornerMeasure, Corners, Landmarks, LipDistances
from davs_jax.media.faces import detectors, mesh
from davs_jax.media.faces.detectors import Detector

SIDE = 256  # pixels that a smaller image is enlarged to before face detection
EVERY = 4  # frames from one measured frame to the next
EYES, MOUTH = slice(0, 2), slice(3, 5)  # of the five points
DETECTOR = "MTCNN (Zhang et al. 2016), its two mouth corners"
LIPS = "FaceMesh (Kartynnik et al. 2019), 18 points of the lips, centred; pixels of a face of 256 px"
DIVISOR = "the distance between the real frame's eyes"


def corner_distances(
    variants: Mapping[str, np.ndarray], real: np.ndarray, detector: Detector | None = None
) -> dict[str, np.ndarray]:
    """By variant, the mean distance of the mouth corners in its frames from those in the real ones.

    Images are compared without centring or scaling, since both are aligned by the photo. The unit is the eye distance
    of the real frame, so the result does not depend on the image size.

    Args:
      variants: frames uint8 `[T, S, S, 3]` by name.
      real: the same of the real clip.

    Returns:
      a distance for every measured frame, NaN where no face was found in it or in the real one, `[⌈T / 4⌉]`.
    """
    detector = detector or detectors.detector()
    at = range(0, len(real), EVERY)
    true = [_points(real[t], detector) for t in at]
    found = {}
    for name, frames in variants.items():
        points = [_points(frames[t], detector) for t in at]
        found[name] = np.array([_distance(p, t) for p, t in zip(points, true, strict=True)])
    return found


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


def lip_distances(variants: Mapping[str, np.ndarray], real: np.ndarray) -> dict[str, np.ndarray]:
    """LMD (Chen et al. 2018): the mean distance of the lip points in generated frames from those in the real ones.

    Both sets of points are centred, so that it measures the mouth's shape and not its place. The points are FaceMesh's;
    the paper's are dlib's. The unit is a pixel of a face of 256 px.

    Args: as of `corner_distances`.

    Returns:
      a distance for every measured frame, `[⌈T / 4⌉]`.

    Raises:
      DetectorError: FaceMesh's weights are not installed.
    """
    at = range(0, len(real), EVERY)

    def shapes(frames: np.ndarray) -> np.ndarray:
        points = np.stack([mesh.lips(frames[t]) for t in at])
        return points - points.mean(1, keepdims=True)

    true = shapes(real)
    scale = 256 / real.shape[-2]
    return {name: scale * np.linalg.norm(shapes(frames) - true, axis=2).mean(1) for name, frames in variants.items()}


def lip_table(clips: list[dict[str, np.ndarray]]) -> LipDistances:
    """Means by variant of what `lip_distances` returns for each clip."""
    by_driver = {name: float(np.concatenate([clip[name] for clip in clips]).mean()) for name in clips[0]}
    return LipDistances(detector=LIPS, clips=len(clips), by_driver=by_driver)


def _points(frame: np.ndarray, detector: Detector) -> np.ndarray | None:
    """The five points of the largest face, in pixels of the enlarged image; None without a face."""
    if frame.shape[0] < SIDE:
        frame = cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    faces = detector.detect(frame)
    return max(faces, key=lambda f: f.box[2] * f.box[3]).points if faces else None


def _distance(points: np.ndarray | None, true: np.ndarray | None) -> float:
    if points is None or true is None:
        return float("nan")
    eyes = np.linalg.norm(true[EYES][1] - true[EYES][0])
    return float(np.linalg.norm(points[MOUTH] - true[MOUTH], axis=1).mean() / max(eyes, 1e-6))

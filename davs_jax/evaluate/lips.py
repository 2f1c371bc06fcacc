"""Lips by FaceMesh: how wide they open, and how far their outline is from the real one. It needs no ground truth."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from davs_jax.evaluate import landmarks, metrics
from davs_jax.evaluate.sections import LipMeasure, LipMotion, Lips
from davs_jax.media.faces import mesh
from davs_jax.media.faces.alignment import template

DETECTOR = "FaceMesh (Kartynnik et al. 2019), its 40 lip points"
POINTS = tuple(sorted({*mesh.OUTER_UPPER, *mesh.INNER_UPPER, *mesh.INNER_LOWER, *mesh.OUTER_LOWER}))


@dataclass(frozen=True)
class Lipped:
    """One clip's lips by variant, "real" among them, in eye distances.

    Attributes:
      opening: the widest gap between the inner lips in every frame, `[T]`.
      distance: from the real frames' lip points, each frame's centred, mean over frames: the landmark distance of Chen
        et al. (2018).
      apart: mean distance of FaceMesh's mouth corners from another detector's on real frames; NaN without a face.
    """

    opening: dict[str, np.ndarray]
    distance: dict[str, float]
    apart: float


def measure(variants: Mapping[str, np.ndarray], detected: list[np.ndarray | None]) -> Lipped:
    """Finds the lips in every frame of a clip.

    Args:
      variants: aligned frames uint8 `[T, S, S, 3]` by name, "real" among them.
      detected: the real frames' points by another detector (`landmarks.detected`).

    Raises:
      DetectorError: the weights of the face mesh are not installed.
    """
    found = {name: np.stack([_in_eye_distances(frame) for frame in frames]) for name, frames in variants.items()}
    upper, lower = (_places(ids) for ids in (mesh.INNER_UPPER, mesh.INNER_LOWER))
    opening = {name: (points[:, lower, 1] - points[:, upper, 1]).max(1) for name, points in found.items()}
    centred = {name: points - points.mean(1, keepdims=True) for name, points in found.items()}
    distance = {
        name: float(np.linalg.norm(points - centred["real"], axis=-1).mean()) for name, points in centred.items()
    }
    return Lipped(opening, distance, _apart(variants["real"], detected))


def table(clips: Mapping[int, Lipped], people: np.ndarray | None, seed: int) -> Lips:
    """`metrics.motion` of the openings against those of the real frames, and mean landmark distances, by variant.

    Args:
      clips: by index.
      people: of all clips, `[N]`; None resamples clips.

    Raises:
      NotMeasurable: no real lips move.
    """
    groups, measured = people[list(clips)] if people is not None else None, list(clips.values())

    def curves(name: str) -> np.ndarray:
        return np.stack([clip.opening[name] for clip in measured])

    by_driver = {}
    for name in measured[0].opening:
        if name != "real":
            motion = metrics.motion(curves(name), curves("real"), groups, seed=seed)
            distance = float(np.mean([clip.distance[name] for clip in measured]))
            by_driver[name] = LipMotion(**vars(motion), distance=distance)
    apart = [clip.apart for clip in measured if np.isfinite(clip.apart)]
    return Lips(
        by_driver=by_driver,
        measure=LipMeasure(
            detector=DETECTOR,
            second=landmarks.DETECTOR,
            apart=float(np.mean(apart)) if apart else None,
            clips=len(clips),
        ),
    )


def _in_eye_distances(frame: np.ndarray) -> np.ndarray:
    """The lip points of an aligned frame, `[40, 2]`."""
    points = mesh.mesh(frame, template(len(frame)))
    eyes = np.stack([points[list(corners)].mean(0) for corners in mesh.EYES])
    return points[list(POINTS)] / np.linalg.norm(eyes[1] - eyes[0])


def _places(ids: tuple[int, ...]) -> list[int]:
    return [POINTS.index(each) for each in ids]


def _apart(frames: np.ndarray, detected: list[np.ndarray | None]) -> float:
    scale = max(frames.shape[1], landmarks.SIDE) / frames.shape[1]
    distances = []
    for frame, points in zip(frames[:: landmarks.EVERY], detected, strict=True):
        if points is not None:
            found = mesh.mesh(frame, template(len(frame)))[[mesh.OUTER_UPPER[0], mesh.OUTER_UPPER[-1]]]
            distances.append(landmarks.distance(np.vstack([points[:3], scale * (found + 0.5) - 0.5]), points))
    return float(np.mean(distances)) if distances else float("nan")

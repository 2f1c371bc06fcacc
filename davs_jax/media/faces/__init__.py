"""Faces in images and videos: detection, tracking, alignment, pasting back, temporal smoothing."""

from davs_jax.media.faces.alignment import align, aligned_crop, crop_matrix, eye_distance, similarity
from davs_jax.media.faces.detectors import Detector, DetectorError, Face, detector
from davs_jax.media.faces.paste import Canvas
from davs_jax.media.faces.steady import Steady
from davs_jax.media.faces.tracking import NoFace, Track, jitter, track, tracks

__all__ = [
    "Canvas",
    "Detector",
    "DetectorError",
    "Face",
    "NoFace",
    "Steady",
    "Track",
    "align",
    "aligned_crop",
    "crop_matrix",
    "detector",
    "eye_distance",
    "jitter",
    "similarity",
    "track",
    "tracks",
]

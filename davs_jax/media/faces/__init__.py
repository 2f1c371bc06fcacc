"""Faces in images and videos: detection, tracking, alignment, pasting back, temporal smoothing."""

from davs_jax.media.faces.alignment import align

__all__ = ["align"]

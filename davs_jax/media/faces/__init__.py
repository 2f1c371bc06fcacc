"""Faces: found, tracked, aligned, pasted back, steadied."""

from davs_jax.media.faces.alignment import align

__all__ = ["align"]

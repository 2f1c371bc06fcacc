"""Moves the pixels of images by a field of displacements."""

import jax
import jax.numpy as jnp

from davs_jax.models.layers import Array


def warp(images: Array, field: Array) -> Array:
    """Bilinear samples of images `[N, H, W, C]` at displaced places; beyond the edge, the edge's pixel counts.

    Args:
      field: `[N, H, W, 2]`, how many pixels to the right and down of itself each output pixel is taken from.
    """
    count, height, width, channels = images.shape
    pixels = images.reshape(count, height * width, channels)
    x, left, right = _between(jnp.arange(width) + field[..., 0], width)
    y, upper, lower = _between(jnp.arange(height)[:, None] + field[..., 1], height)

    def at(row: Array, column: Array) -> Array:
        places = (row * width + column).reshape(count, -1, 1)
        return jnp.take_along_axis(pixels, places, 1).reshape(count, *field.shape[1:3], channels)

    above = at(upper, left) * (1 - x) + at(upper, right) * x
    below = at(lower, left) * (1 - x) + at(lower, right) * x
    return above * (1 - y) + below * y


def _between(place: Array, size: int) -> tuple[Array, Array, Array]:
    """Of places `[N, H, W]` along an axis: the weight `[N, H, W, 1]` of the later neighbour, and both neighbours."""
    place = jnp.clip(place, 0, size - 1)
    before = jax.lax.stop_gradient(jnp.floor(place)).astype(jnp.int32)
    return (place - before)[..., None], before, jnp.minimum(before + 1, size - 1)

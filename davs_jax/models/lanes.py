"""Neighbouring columns of a map side by side in its channels: how a TPU stores maps of few channels without padding.

A TPU holds channels in 128 lanes, so a map of 32 channels takes four times its memory, and its vector units work on the
padding. `[N, H, W, C]` → `[N, H, W/p, p·C]` fills the lanes; a kernel spread over p columns gives the same outputs, at
the price of products with the zeros between its copies. XLA drops the reshapes between layers that do this.
"""

import functools

import jax
import jax.numpy as jnp

from davs_jax.models.convolution import Array, Padding, Pair, convolve

LANES = 128
WIDEST = 2 * LANES  # channels of a packed map: wider ones multiply more zeros than the memory saves
IMAGE = 8  # a side of fewer channels is an image, whose lanes stay empty at any packing


def convolve_packed(x: Array, kernel: Array, strides: Pair, padding: Padding, parts: int = 1) -> Array:
    """`convolve`; on a TPU between packed maps, where they are narrower than its lanes.

    Args:
      parts: the D channels of the result are so many equal parts, each of which is packed by itself. They can then be
        separated without a copy.
    """
    plain = functools.partial(convolve, strides=strides, padding=padding)
    shape = (*kernel.shape[:3], kernel.shape[3] // parts)
    packed = columns(x.shape[2], shape, strides[1], padding[1])
    if packed == 1:
        return plain(x, kernel)
    between = functools.partial(between_packed, strides=strides, padding=padding, parts=parts, packed=packed)
    return jax.lax.platform_dependent(x, kernel, tpu=between, default=plain)


def between_packed(x: Array, kernel: Array, strides: Pair, padding: Padding, parts: int, packed: int) -> Array:
    """The same convolution with so many columns of the result side by side."""
    (rows, stride), (above, (pad, _)) = strides, padding
    x, results = pack(x, stride * packed), []
    for part in jnp.split(kernel, parts, -1):
        part, sides = spread(part, packed, stride, pad)
        results.append(unpack(convolve(x, part, (rows, 1), (above, sides)), packed))
    return jnp.concatenate(results, -1)


def columns(width: int, kernel: tuple[int, ...], stride: int, pads: Pair) -> int:
    """How many columns of a convolution's output to pack; 1 is none.

    As many as fill the lanes on the side of fewer channels (but for images), if they divide the width.

    Args:
      width: of the images.
      kernel: its shape `[h, w, C, D]`.
      stride, pads: along the columns.
    """
    _, taps, inputs, outputs = kernel
    if width % stride or (width + sum(pads) - taps) // stride + 1 != width // stride:
        return 1
    wide = max(inputs, outputs)
    narrow = min(inputs, outputs) if min(inputs, outputs) >= IMAGE else wide
    packed = 1
    while width % (2 * packed * stride) == 0 and 2 * packed * narrow <= LANES and 2 * packed * wide <= WIDEST:
        packed *= 2
    return packed


def pack(x: Array, packed: int) -> Array:
    """`[N, H, W, C]` → `[N, H, W/p, p·C]`."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height, width // packed, packed * channels)


def unpack(x: Array, packed: int) -> Array:
    """The inverse of `pack`."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height, width * packed, channels // packed)


def spread(kernel: Array, packed: int, stride: int, pad: int) -> tuple[Array, tuple[int, int]]:
    """The kernel of the same convolution between packed maps, and their padding along the columns.

    Args:
      kernel: `[h, w, C, D]`.
      packed: columns of the output that lie side by side; of the input, `stride` times as many do.

    Returns:
      `[h, w′, stride·p·C, p·D]`, to be moved by one packed column at a time.
    """
    height, taps, channels, features = kernel.shape
    inputs = stride * packed
    before = -(-pad // inputs)  # packed columns to the left of those of the same place
    after = (stride * (packed - 1) + taps - 1 - pad) // inputs
    copies = []
    for column in range(packed):
        first = before * inputs - pad + stride * column
        last = (before + 1 + after) * inputs - first - taps
        copy = jnp.pad(kernel, ((0, 0), (first, last), (0, 0), (0, 0)))
        copies.append(copy.reshape(height, before + 1 + after, inputs * channels, features))
    return jnp.concatenate(copies, -1), (before, after)

"""The convolution of all networks: XLA's own, with a gradient for the kernel of our own.

**On a CPU it is faster.** XLA's CPU backend computes a kernel's gradient as one convolution whose window is the whole
picture. Where there are many pictures and few channels, as in these networks at small widths, that takes three to
seventeen times as long as the forward. The same numbers as matrix products of shifted inputs, a few pictures at a time
so that they stay in the cache, take one to three times as long (`tests/benchmarks/convolution.py` prints it).

**In bfloat16 it stays float32.** Devices add up their shares of a gradient in the type that the convolution gives it,
and JAX's own gives bfloat16: 8 bits, before the sum over a pod. Ours is computed and added up in float32. GPUs are the
exception: XLA has no bfloat16 convolution for them that gives float32, and would read the pictures in float32 instead.
"""

import functools

import jax
import jax.numpy as jnp

Array = jax.Array
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

COLUMNS = 1 << 19  # numbers in the shifted inputs that are handled at once: 2 MiB


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    """`[N, H, W, C]` and `[h, w, C, D]` → `[N, …, D]` in the type of `x`, to which the kernel is cast."""
    return _xla(x, kernel.astype(x.dtype), strides, padding)


def _forward(x: Array, kernel: Array, strides: Pair, padding: Padding):
    return convolve(x, kernel, strides, padding), (x, kernel)


def _backward(strides: Pair, padding: Padding, saved: tuple[Array, Array], gradient: Array):
    x, kernel = saved
    low = kernel.astype(x.dtype)
    # Transposed, not differentiated, which would trace the forward convolution once more for nothing.
    (of_x,) = jax.linear_transpose(lambda x: _xla(x, low, strides, padding), x)(gradient)

    def by_xla(x: Array, gradient: Array) -> Array:
        of_kernel = jax.linear_transpose(lambda low: _xla(x, low, strides, padding), low)
        return of_kernel(gradient)[0].astype(kernel.dtype)

    size = kernel.shape[:2]
    if x.dtype != kernel.dtype:
        accumulated = functools.partial(_accumulated, size=size, strides=strides, padding=padding, dtype=kernel.dtype)
        return of_x, jax.lax.platform_dependent(x, gradient, cuda=by_xla, rocm=by_xla, default=accumulated)
    # Several host devices share a batch, and a loop over its parts would make them wait for each other.
    if jax.device_count() > 1 or _small(x, kernel, strides):
        return of_x, by_xla(x, gradient)
    by_products = functools.partial(kernel_gradient, size=size, strides=strides, padding=padding)
    return of_x, jax.lax.platform_dependent(x, gradient, cpu=by_products, default=by_xla)


convolve.defvjp(_forward, _backward)


def _xla(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _small(x: Array, kernel: Array, strides: Pair) -> bool:
    """Whether all shifted inputs are handled at once: then XLA's own gradient loses no time worth saving."""
    shifts = kernel.shape[0] * kernel.shape[1]
    return shifts > 1 and x.size * shifts // (strides[0] * strides[1]) <= COLUMNS


def _accumulated(x: Array, gradient: Array, size: Pair, strides: Pair, padding: Padding, dtype) -> Array:
    """Gradient of a convolution for its kernel, `[h, w, C, D]`, summed in the wider of its inputs' type and `dtype`.

    It is a convolution over the pictures as channels, of the input with the output's gradient, whose elements lie as
    far apart as the strides.
    """
    sizes = zip(x.shape[1:3], gradient.shape[1:3], size, strides, padding, strict=True)
    # What the last stride did not reach is cut off: the padding behind may be negative.
    pads = [
        (low, kernel - 1 + stride * (out - 1) + 1 - low - before) for before, out, kernel, stride, (low, _) in sizes
    ]
    return jax.lax.conv_general_dilated(
        x,
        gradient,
        (1, 1),
        pads,
        rhs_dilation=strides,
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        preferred_element_type=jnp.promote_types(x.dtype, dtype),
    ).astype(dtype)


def kernel_gradient(x: Array, gradient: Array, size: Pair, strides: Pair, padding: Padding) -> Array:
    """Gradient of a convolution for its kernel, `[h, w, C, D]`, by matrix products.

    One of the two is shifted against the other, once for each place of the kernel, and the copies stand beside one
    another in the product's wider factor. Where the strides allow it that is the gradient, which has fewer channels
    wherever it matters: at a network's large maps.

    Args:
      x: its input, `[N, H, W, C]`.
      gradient: for its output, `[N, …, D]`.
      size: of the kernel, (h, w).
    """
    places = [(i, j) for i in range(size[0]) for j in range(size[1])]
    sides = list(zip(size, padding, strict=True))
    by_gradient = strides == (1, 1) and all(max(pad) < k for k, pad in sides)
    if by_gradient:
        still, moved = x, _padded(gradient, [(k - 1 - low, k - 1 - high) for k, (low, high) in sides])
        starts = [(size[0] - 1 - i, size[1] - 1 - j) for i, j in places]
    else:
        still, moved, starts = gradient, _padded(x, padding), places
    height, width, channels = still.shape[1:]
    length = len(places) * moved.shape[-1]

    def product(still: Array, moved: Array) -> Array:
        down, right = strides[0] * (height - 1) + 1, strides[1] * (width - 1) + 1
        shifted = [moved[..., i : i + down : strides[0], j : j + right : strides[1], :] for i, j in starts]
        columns = jnp.concatenate(shifted, -1) if len(shifted) > 1 else shifted[0]
        return still.reshape(-1, channels).T @ columns.reshape(-1, length)

    # A 1×1 kernel shifts nothing, so nothing is copied that could leave the cache.
    part = len(x) if len(places) == 1 else max(1, min(len(x), COLUMNS // (height * width * length)))
    parts = -(-len(x) // part)
    if parts == 1:
        total = product(still, moved)
    else:
        pairs = still, moved
        if part > 1:  # else the loop takes away an axis, without which copies are quicker
            pairs = tuple(_divided(values, parts, part) for values in pairs)
        total, _ = jax.lax.scan(
            lambda total, pair: (total + product(*pair), None), jnp.zeros((channels, length), x.dtype), pairs
        )
    total = total.reshape(channels, *size, -1)
    return total.transpose(1, 2, 0, 3) if by_gradient else total.transpose(1, 2, 3, 0)


def _padded(x: Array, padding) -> Array:
    return jnp.pad(x, ((0, 0), *padding, (0, 0)))


def _divided(values: Array, parts: int, part: int) -> Array:
    """`[N, …]` → `[parts, part, …]`; zeros, which add nothing to a product, fill the last part."""
    missing = parts * part - len(values)
    values = jnp.pad(values, ((0, missing), *[(0, 0)] * (values.ndim - 1)))
    return values.reshape(parts, part, *values.shape[1:])

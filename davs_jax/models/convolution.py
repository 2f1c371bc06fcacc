"""The convolution of all networks: XLA's own, with a gradient for the kernel that is fast on a CPU.

XLA's CPU backend computes a kernel's gradient as one convolution whose window is the whole picture. Where there are
many pictures and few channels, as in these networks at small widths, that takes three to seventeen times as long as
the forward. The same numbers as matrix products of shifted inputs, a few pictures at a time so that they stay in the
cache, take one to three times as long (`tests/benchmarks/convolution.py` prints it). GPUs and TPUs use XLA's own.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

Array = jax.Array

COLUMNS = 1 << 19  # numbers in the shifted inputs that are handled at once: 2 MiB


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: jax.lax.ConvDimensionNumbers | None = None,
    feature_group_count: int = 1,
    precision: jax.lax.Precision | None = None,
) -> Array:
    """A stand-in for `jax.lax.conv_general_dilated` in `flax.linen.Conv`: `[N, H, W, C]`, `[h, w, C, D]` → `[N, …, D]`.

    Raises:
      ValueError: dilation, groups or a layout that none of these networks uses.
    """
    if {1, *(lhs_dilation or ()), *(rhs_dilation or ())} != {1} or feature_group_count != 1 or precision is not None:
        raise ValueError("this convolution has no dilation, no groups and the default precision")
    strides, padding = tuple(window_strides), tuple(map(tuple, padding))
    # Several host devices share a batch, and a loop over its parts would make them wait for each other.
    if lhs.dtype not in (jnp.float32, jnp.float64) or jax.device_count() > 1 or _small(lhs, rhs, strides):
        return _xla(lhs, rhs, strides, padding)
    return _conv(lhs, rhs, strides, padding)


def _small(x: Array, kernel: Array, strides: tuple[int, ...]) -> bool:
    """Whether all shifted inputs are handled at once: then XLA's own gradient loses no time worth saving."""
    shifts = kernel.shape[0] * kernel.shape[1]
    return shifts > 1 and x.size * shifts // (strides[0] * strides[1]) <= COLUMNS


def _xla(x: Array, kernel: Array, strides: tuple[int, ...], padding: tuple) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: Array, kernel: Array, strides: tuple[int, ...], padding: tuple) -> Array:
    return _xla(x, kernel, strides, padding)


def _forward(x: Array, kernel: Array, strides: tuple[int, ...], padding: tuple):
    return _xla(x, kernel, strides, padding), (x, kernel)


def _backward(strides: tuple[int, ...], padding: tuple, saved: tuple[Array, Array], gradient: Array):
    x, kernel = saved
    (of_x,) = jax.vjp(lambda x: _xla(x, kernel, strides, padding), x)[1](gradient)

    def by_xla(x: Array, gradient: Array) -> Array:
        return jax.vjp(lambda kernel: _xla(x, kernel, strides, padding), kernel)[1](gradient)[0]

    by_products = functools.partial(kernel_gradient, size=kernel.shape[:2], strides=strides, padding=padding)
    return of_x, jax.lax.platform_dependent(x, gradient, cpu=by_products, default=by_xla)


_conv.defvjp(_forward, _backward)


def kernel_gradient(
    x: Array, gradient: Array, size: tuple[int, int], strides: tuple[int, ...], padding: Sequence[tuple[int, int]]
) -> Array:
    """Gradient of a convolution for its kernel, `[h, w, C, D]`, by matrix products.

    Args:
      x: its input, `[N, H, W, C]`.
      gradient: for its output, `[N, …, D]`.
      size: of the kernel, (h, w).
    """
    height, width, features = gradient.shape[1:]
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    shifts = [(i, j) for i in range(size[0]) for j in range(size[1])]
    length = len(shifts) * x.shape[-1]

    def product(x: Array, gradient: Array) -> Array:
        shifted = [
            x[:, i : i + strides[0] * (height - 1) + 1 : strides[0], j : j + strides[1] * (width - 1) + 1 : strides[1]]
            for i, j in shifts
        ]
        columns = jnp.concatenate(shifted, -1) if len(shifted) > 1 else shifted[0]
        return columns.reshape(-1, length).T @ gradient.reshape(-1, features)

    # A 1×1 kernel shifts nothing, so nothing is copied that could leave the cache.
    part = len(x) if len(shifts) == 1 else max(1, min(len(x), COLUMNS // (height * width * length)))
    parts = -(-len(x) // part)
    if parts == 1:
        total = product(x, gradient)
    else:
        x, gradient = (_divided(values, parts, part) for values in (x, gradient))
        total, _ = jax.lax.scan(
            lambda total, pair: (total + product(*pair), None), jnp.zeros((length, features), x.dtype), (x, gradient)
        )
    return total.reshape(*size, -1, features)


def _divided(values: Array, parts: int, part: int) -> Array:
    """`[N, …]` → `[parts, part, …]`; zeros, which add nothing to a product, fill the last part."""
    missing = parts * part - len(values)
    values = jnp.pad(values, ((0, missing), *[(0, 0)] * (values.ndim - 1)))
    return values.reshape(parts, part, *values.shape[1:])

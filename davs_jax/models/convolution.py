"""The convolution of all networks: XLA's forward, with our own gradient of the kernel.

**It is faster on a CPU.** XLA's CPU backend computes the gradient of a kernel as one convolution whose window is the
whole image, which takes up to three times as long as the forward. Matrix products with shifted copies, of a few images
at a time so that they stay in the cache, give the same numbers in hardly more time than the forward where the stride
is 1 (measured by `tests/benchmarks/convolution.py`).

**With bfloat16 it stays float32.** Devices sum their shares of a gradient in the type that the convolution returns, and
JAX's own returns bfloat16: 8 significant bits before the sum over a pod. Ours is computed and summed in float32. GPUs
are the exception: XLA has no bfloat16 convolution for them that returns float32, and would read the images in float32.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, PartitionSpec

Array = jax.Array
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

COLUMNS = 1 << 19  # numbers in the shifted copies that one product reads: 2 MiB


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    """`[N, H, W, C]` and `[h, w, C, D]` → `[N, …, D]` in the type of `x`, to which the kernel is cast."""
    return _xla(x, kernel.astype(x.dtype), strides, padding)


def _forward(x: Array, kernel: Array, strides: Pair, padding: Padding):
    return convolve(x, kernel, strides, padding), (x, kernel)


def _backward(strides: Pair, padding: Padding, saved: tuple[Array, Array], gradient: Array):
    x, kernel = saved
    low = kernel.astype(x.dtype)
    # Transposed rather than differentiated: that would trace the forward convolution once more.
    (of_x,) = jax.linear_transpose(lambda x: _xla(x, low, strides, padding), x)(gradient)

    def by_xla(x: Array, gradient: Array) -> Array:
        of_kernel = jax.linear_transpose(lambda low: _xla(x, low, strides, padding), low)
        return of_kernel(gradient)[0].astype(kernel.dtype)

    size = kernel.shape[:2]
    if x.dtype != kernel.dtype:
        accumulated = functools.partial(_accumulated, size=size, strides=strides, padding=padding, dtype=kernel.dtype)
        return of_x, jax.lax.platform_dependent(x, gradient, cuda=by_xla, rocm=by_xla, default=accumulated)
    mesh = jax.sharding.get_abstract_mesh()
    if len(x) % max(mesh.size, 1) or _left_to_xla(x, kernel, strides, padding):
        return of_x, by_xla(x, gradient)
    by_products = functools.partial(kernel_gradient, size=size, padding=padding)
    if mesh.size > 1:
        by_products = _summed_over_devices(by_products, mesh)
    return of_x, jax.lax.platform_dependent(x, gradient, cpu=by_products, default=by_xla)


convolve.defvjp(_forward, _backward)


def _xla(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _left_to_xla(x: Array, kernel: Array, strides: Pair, padding: Padding) -> bool:
    """Whether shifted copies cost more than they save: with strides, or where one product would read all of them.

    (A padding as wide as the kernel is left to XLA: no network has it.)
    """
    height, width, _, features = kernel.shape
    wide = any(max(pad) >= k for k, pad in zip((height, width), padding, strict=True))
    places, positions = height * width, x.size // x.shape[-1]
    return strides != (1, 1) or wide or (places > 1 and positions * features * places <= COLUMNS)


def _summed_over_devices(function: Callable, mesh: AbstractMesh) -> Callable:
    """`function(x, gradient)` of each device's own images, summed: its loop must not wait for other devices."""
    own, axes = PartitionSpec(mesh.axis_names), mesh.axis_names
    return jax.shard_map(
        lambda x, gradient: jax.lax.psum(function(x, gradient), axes),
        mesh=mesh,
        in_specs=(own, own),
        out_specs=PartitionSpec(),
        check_vma=False,  # the loop's first sum, of zeros, is the same on all devices; its later ones are not
    )


def _accumulated(x: Array, gradient: Array, size: Pair, strides: Pair, padding: Padding, dtype) -> Array:
    """Gradient of a convolution for its kernel, `[h, w, C, D]`, summed in the wider of its inputs' type and `dtype`.

    It is a convolution of the input with the output's gradient, dilated by the strides, in which images take the place
    of channels.
    """
    sizes = zip(x.shape[1:3], gradient.shape[1:3], size, strides, padding, strict=True)
    # Inputs that the last stride did not reach are cut off: the padding at the end may be negative.
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


def kernel_gradient(x: Array, gradient: Array, size: Pair, padding: Padding) -> Array:
    """Gradient of a convolution of stride 1 for its kernel, `[h, w, C, D]`, by matrix products.

    The output's gradient is shifted against the input, once for each element of the kernel, and its copies are the
    columns of the product's wide factor: it has fewer channels than the input where maps are large.

    Args:
      x: its input, `[N, H, W, C]`.
      gradient: for its output, `[N, …, D]`.
      size: of the kernel, (h, w).
      padding: smaller than the kernel on every side.
    """
    height, width, channels = x.shape[1:]
    sides = zip(size, padding, strict=True)
    gradient = jnp.pad(gradient, ((0, 0), *((k - 1 - low, k - 1 - high) for k, (low, high) in sides), (0, 0)))
    starts = [(i, j) for i in reversed(range(size[0])) for j in reversed(range(size[1]))]
    length = len(starts) * gradient.shape[-1]

    def product(x: Array, gradient: Array) -> Array:
        shifted = [gradient[..., i : i + height, j : j + width, :] for i, j in starts]
        columns = jnp.concatenate(shifted, -1) if len(shifted) > 1 else shifted[0]
        return x.reshape(-1, channels).T @ columns.reshape(-1, length)

    # A 1×1 kernel needs no copies, so nothing can exceed the cache.
    part = len(x) if len(starts) == 1 else max(1, min(len(x), COLUMNS // (height * width * length)))
    parts = -(-len(x) // part)
    if parts == 1:
        total = product(x, gradient)
    else:
        pairs = x, gradient
        if part > 1:  # else the scan removes the batch axis, and copies are faster without it
            pairs = tuple(_divided(values, parts, part) for values in pairs)
        total, _ = jax.lax.scan(
            lambda total, pair: (total + product(*pair), None), jnp.zeros((channels, length), x.dtype), pairs
        )
    return total.reshape(channels, *size, -1).transpose(1, 2, 0, 3)


def _divided(values: Array, parts: int, part: int) -> Array:
    """`[N, …]` → `[parts, part, …]`; the last part is padded with zeros, which do not change a product."""
    missing = parts * part - len(values)
    values = jnp.pad(values, ((0, missing), *[(0, 0)] * (values.ndim - 1)))
    return values.reshape(parts, part, *values.shape[1:])

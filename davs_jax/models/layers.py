"""Layers that the networks share, with PyTorch's conventions where the published weights depend on them."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from davs_jax.models.convolution import convolve
from davs_jax.models.lanes import convolve_packed

Array = jax.Array
Dtype = Any

CONVOLUTION = "convolution"  # name of the outputs of convolutions, for the policies of `config.remat`

# PyTorch's default for convolutions and linear layers: uniform within ±1/√fan_in. Our biases, unlike its, start at 0.
torch_default = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
kaiming_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def scaled(channels: int, width: float) -> int:
    """Channel count at a width multiplier: a multiple of 4, which blocks can halve and quarter."""
    return max(4, 4 * round(channels * width / 4))


class Conv(nn.Module):
    """A 2-D convolution with PyTorch's symmetric padding (SAME pads strided convolutions otherwise).

    Parameters are float32, and so are their gradients, whatever `dtype` it computes in.
    """

    features: int
    kernel: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[int, int]
    use_bias: bool = True
    packed: bool = False  # on a TPU, columns of narrow maps are packed into the lanes
    dtype: Dtype | None = None  # None is the common type of input and kernel
    kernel_init: Callable = torch_default

    def __call__(self, x: Array) -> Array:
        return convolutions((self,), x)[0]

    @nn.compact
    def kernel_and_bias(self, channels: int) -> tuple[Array, Array | None]:
        """`[h, w, C, D]` and `[D]`, for images of C channels."""
        kernel = self.param("kernel", self.kernel_init, (*self.kernel, channels, self.features), jnp.float32)
        return kernel, self.param(
            "bias", nn.initializers.zeros, (self.features,), jnp.float32
        ) if self.use_bias else None


def convolutions(layers: Sequence[Conv], x: Array) -> list[Array]:
    """The results of equal layers for the same images, which are read once: all kernels side by side are one."""
    kernels, biases = zip(*(layer.kernel_and_bias(x.shape[-1]) for layer in layers), strict=True)
    first, kernel = layers[0], jnp.concatenate(kernels, -1)
    x = x.astype(first.dtype or jnp.promote_types(x.dtype, kernel.dtype))
    how = functools.partial(convolve_packed, parts=len(layers)) if first.packed else convolve
    x = how(x, kernel, first.strides, tuple((side, side) for side in first.padding))
    parts = jnp.split(x, len(layers), -1)
    if first.use_bias:
        parts = [(at_least_float32(x) + bias).astype(x.dtype) for x, bias in zip(parts, biases, strict=True)]
    return [checkpoint_name(x, CONVOLUTION) for x in parts]


def conv(features: int, kernel: int | tuple[int, int], stride=1, padding=0, **kwargs) -> Conv:
    """`Conv` with sizes given as one number or as (rows, columns)."""
    return Conv(features, _pair(kernel), _pair(stride), _pair(padding), **kwargs)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def max_pool(x: Array) -> Array:
    """2×2 max pooling, [N, H, W, C] → [N, H/2, W/2, C].

    On a TPU by XLA's own pooling, whose gradient goes to the first of equal maxima. Elsewhere by maxima of strided
    slices, between which equal maxima divide the gradient: XLA's builds index arrays for it, which made the gradient of
    the visual encoder 1.5 times slower on a CPU.
    """

    def by_windows(x: Array) -> Array:
        return nn.max_pool(x, (2, 2), (2, 2))

    def by_slices(x: Array) -> Array:
        upper, lower = x[:, ::2], x[:, 1::2]
        return jnp.maximum(
            jnp.maximum(upper[:, :, ::2], upper[:, :, 1::2]), jnp.maximum(lower[:, :, ::2], lower[:, :, 1::2])
        )

    return jax.lax.platform_dependent(x, tpu=by_windows, default=by_slices)


def average_pool(x: Array, factor: int) -> Array:
    """Means of squares of `factor` pixels, [N, H, W, C] → [N, H/factor, W/factor, C]."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // factor, factor, width // factor, factor, channels).mean((2, 4))


def at_least_float32(x: Array) -> Array:
    """Casts bfloat16 to float32, for sums, statistics and losses; float64 stays float64."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def leaky_relu(x: Array) -> Array:
    return nn.leaky_relu(x, 0.2)


def _doubled(x: Array, axis: int, align_corners: bool) -> Array:
    """Doubles one axis linearly: each value becomes two, one pulled to its predecessor, the other to its successor."""
    size = x.shape[axis]
    pulled = np.arange(size) / (2 * size - 1) if align_corners else np.full(size, 0.25)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    first, last = (jax.lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, size - 1))
    before = jnp.concatenate([first, jax.lax.slice_in_dim(x, 0, size - 1, axis=axis)], axis)
    after = jnp.concatenate([jax.lax.slice_in_dim(x, 1, size, axis=axis), last], axis)
    back, on = (weights.astype(x.dtype).reshape(shape) for weights in (pulled, pulled[::-1]))
    pairs = jnp.stack([x + back * (before - x), x + on * (after - x)], axis + 1)
    return pairs.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])


def upsample(x: Array, align_corners: bool) -> Array:
    """Doubles [N, H, W, C] bilinearly; exact in either convention.

    The released weights were trained with PyTorch 0.2, which aligned the corners; later versions do not by default.
    Accelerators compute two small matrix products, which a TPU's compiler fuses with neighbouring operations (2.4 times
    less memory traffic in training a block); a CPU computes sums of neighbours (up to 16 times faster).
    """

    def by_products(x: Array) -> Array:
        rows, columns = (_doubled(jnp.eye(side), 0, align_corners).astype(x.dtype) for side in x.shape[1:3])
        return jnp.einsum("oh,nhwc,pw->nopc", rows, x, columns)

    def by_neighbours(x: Array) -> Array:
        return _doubled(_doubled(x, 1, align_corners), 2, align_corners)

    return jax.lax.platform_dependent(x, cpu=by_neighbours, default=by_products)


def squeeze_channels(image_size: int) -> int:
    """Channels of the flattened map of side S/8: 1 at 256 px, and below as many as keep its 1,024 numbers."""
    return max(1, (256 // image_size) ** 2)


def flatten_time(x: Array) -> Array:
    """[B, T, …] → [B·T, …]."""
    return x.reshape(-1, *x.shape[2:])


def stack_on_channels(x: Array) -> Array:
    """[B, T, H, W, C] → [B, H, W, T·C], time-major, as the official sequence discriminator stacks its frames."""
    batch, time, height, width, channels = x.shape
    return x.transpose(0, 2, 3, 1, 4).reshape(batch, height, width, time * channels)

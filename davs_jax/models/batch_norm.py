"""Batch normalisation that reads a map once for its statistics and once for their gradients.

Accelerators wait for memory in these layers, and every sum over a map is also one over all devices. The usual formulas
read a map twice for its variance, and differentiated by JAX they sum twice more, to zero (docs/performance.md).
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from davs_jax.models.layers import Array, at_least_float32


class BatchNorm(nn.Module):
    """Batch normalisation with PyTorch's running statistics: momentum 0.1 and the *unbiased* variance.

    Flax's own keeps the biased variance, which differs by several percent on the small maps of these networks. Under
    jit over a mesh the statistics are those of the global batch. They are computed in float32 or wider.
    """

    scale_init: Callable = nn.initializers.ones
    momentum: float = 0.1
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        features = x.shape[-1]
        scale = self.param("scale", self.scale_init, (features,))
        bias = self.param("bias", nn.initializers.zeros, (features,))
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (features,))
        running_var = self.variable("batch_stats", "var", jnp.ones, (features,))
        if not train:
            factor = scale * jax.lax.rsqrt(running_var.value + self.epsilon)
            return _affine(x, factor, bias - running_mean.value * factor)
        y, mean, var = normalise(x, scale, bias, running_mean.value, self.epsilon)
        if not self.is_initializing():
            unbiased = var * (_count(x) / max(_count(x) - 1, 1))
            for running, new in ((running_mean, mean), (running_var, unbiased)):
                running.value = (1 - self.momentum) * running.value + self.momentum * new
        return y


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def normalise(x: Array, scale: Array, bias: Array, shift: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """Normalises `[…, C]` by its own statistics.

    Args:
      scale, bias: `[C]`.
      shift: `[C]`, near the mean. On accelerators the variance is the mean square of x − shift, minus the square of its
        mean, which loses digits where the mean is far from `shift` and the deviation is small.
      epsilon: added to the variance.

    Returns:
      The result, in the type of `x`; mean and biased variance `[C]`, through which no gradient flows.
    """
    return _forward(x, scale, bias, shift, epsilon)[0]


def _forward(x: Array, scale: Array, bias: Array, shift: Array, epsilon: float):
    mean, var = jax.lax.platform_dependent(x, shift, cpu=by_two_readings, default=by_one_reading)
    inverse = jax.lax.rsqrt(var + epsilon)
    factor = scale * inverse
    return (_affine(x, factor, bias - mean * factor), mean, var), (x, scale, mean, inverse)


def _backward(epsilon: float, saved, gradients):
    x, scale, mean, inverse = saved
    gradient, count = at_least_float32(gradients[0]), _count(x)
    apart = at_least_float32(x) - mean
    of_bias, along = _sums(gradient, apart)
    factor = scale * inverse
    of_x = factor * gradient - (factor * jnp.square(inverse) * along / count) * apart - factor * of_bias / count
    return of_x.astype(x.dtype), along * inverse, of_bias, None


normalise.defvjp(_forward, _backward)


def by_two_readings(x: Array, shift: Array) -> tuple[Array, Array]:
    """Mean and variance without loss of digits; a CPU is no faster with one reading."""
    values, axes = at_least_float32(x), tuple(range(x.ndim - 1))
    mean = jnp.mean(values, axes)
    return mean, jnp.mean(jnp.square(values - mean), axes)


def by_one_reading(x: Array, shift: Array) -> tuple[Array, Array]:
    """The same from Σ(x − shift) and Σ(x − shift)², which need no earlier reading for the mean."""
    apart = at_least_float32(x) - shift
    mean, square = (total / _count(x) for total in _sums(apart, apart))
    return mean + shift, jnp.maximum(square - jnp.square(mean), 0)


def _sums(a: Array, b: Array) -> tuple[Array, Array]:
    """Σa and Σab over all axes but the last, which compilers compute in one reading."""
    axes = tuple(range(a.ndim - 1))
    return jnp.sum(a, axes), jnp.sum(a * b, axes)


def _count(x: Array) -> int:
    return x.size // x.shape[-1]


def _affine(x: Array, factor: Array, offset: Array) -> Array:
    """Computed in float32; only the result is cast."""
    return (at_least_float32(x) * factor + offset).astype(x.dtype)

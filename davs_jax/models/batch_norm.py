"""Batch normalisation that reads a map once for its statistics and once for their gradients.

Accelerators wait for memory in these layers, and every sum over a map is also one over all devices. The usual formulas
read a map twice for its variance, and differentiated by JAX they sum twice more, to zero (docs/performance.md).
"""

import functools
from collections.abc import Callable, Sequence

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

    def __call__(self, x: Array, train: bool) -> Array:
        return batch_norms((self,), x, train)

    @nn.compact
    def variables_of(self, features: int) -> tuple[Array, Array, nn.Variable, nn.Variable]:
        """Scale and bias `[C]`, running mean and variance."""
        return (
            self.param("scale", self.scale_init, (features,)),
            self.param("bias", nn.initializers.zeros, (features,)),
            self.variable("batch_stats", "mean", jnp.zeros, (features,)),
            self.variable("batch_stats", "var", jnp.ones, (features,)),
        )


def batch_norms(norms: Sequence[BatchNorm], x: Array, train: bool) -> Array:
    """`[…, C]` → normalised, all channels at once; each of the norms has an equal share of them, in turn."""
    parts, momentum, epsilon = len(norms), norms[0].momentum, norms[0].epsilon
    scales, biases, means, variances = zip(*(norm.variables_of(x.shape[-1] // parts) for norm in norms), strict=True)
    scale, bias = jnp.concatenate(scales), jnp.concatenate(biases)
    running_mean, running_var = (jnp.concatenate([part.value for part in each]) for each in (means, variances))
    if not train:
        factor = scale * jax.lax.rsqrt(running_var + epsilon)
        return _affine(x, factor, bias - running_mean * factor)
    y, mean, var = normalise(x, scale, bias, running_mean, epsilon)
    if not norms[0].is_initializing():
        unbiased = var * (_count(x) / max(_count(x) - 1, 1))
        for each, running, new in ((means, running_mean, mean), (variances, running_var, unbiased)):
            moved = jnp.split((1 - momentum) * running + momentum * new, parts)
            for part, value in zip(each, moved, strict=True):
                part.value = value
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

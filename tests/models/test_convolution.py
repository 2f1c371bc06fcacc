"""The convolution's fast gradient is XLA's own."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from davs_jax.models import convolution


def numbers(pair: int | tuple[int, int]) -> tuple[int, int]:
    return pair if isinstance(pair, tuple) else (pair, pair)


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding", "columns"),
    [
        ((5, 8, 8, 3), (3, 3, 3, 4), 1, 1, 1 << 19),  # small: left to XLA
        ((5, 8, 8, 3), (3, 3, 3, 4), 1, 1, 2 * 64 * 27),  # two images at a time: the last part is padded
        ((3, 9, 7, 2), (5, 3, 2, 4), 1, (1, 2), 1),  # one at a time
        ((3, 9, 9, 2), (7, 7, 2, 4), 2, 3, 1),  # strides are left to XLA, which does not reach the last column
        ((3, 6, 6, 2), (1, 1, 2, 3), 1, 1, 1),  # so is a padding as wide as the kernel
        ((4, 8, 6, 6), (1, 1, 6, 5), 1, 0, 1),
        ((2, 20, 12, 1), (3, 3, 1, 4), (3, 2), (1, 2), 1),  # the first layer of the audio encoder
        ((2, 9, 9, 4), (4, 4, 4, 2), 2, 1, 1),
    ],
)
def test_gradients_are_those_of_xla(shape, kernel, stride, padding, columns, monkeypatch):
    monkeypatch.setattr(convolution, "COLUMNS", columns)
    strides, pads = numbers(stride), tuple((p, p) for p in numbers(padding))
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in (shape, kernel))

    def gradients(convolve):
        y, pullback = jax.vjp(convolve, x, w)
        return y, *pullback(jnp.asarray(np.random.default_rng(1).normal(size=y.shape), jnp.float32))

    ours = gradients(lambda x, w: convolution.convolve(x, w, strides, pads))
    xla = gradients(
        lambda x, w: jax.lax.conv_general_dilated(x, w, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    )
    for mine, theirs in zip(ours, xla, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-5 * float(jnp.abs(theirs).max()))


TWO_DEVICES = """
import jax, numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from davs_jax.models import convolution

convolution.COLUMNS = 2 * 64 * 36  # each device reads its four images in two parts
mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
own, whole = (NamedSharding(mesh, PartitionSpec(axis)) for axis in ("data", None))
rng = np.random.default_rng(0)
x, y, w = (rng.normal(size=size) for size in ((8, 8, 8, 3), (8, 8, 8, 4), (3, 3, 3, 4)))

def gradients(x, y, w):
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        return jax.vjp(lambda x, w: convolution.convolve(x, w, (1, 1), ((1, 1), (1, 1))), x, w)[1](y)

divided = jax.jit(gradients, in_shardings=(own, own, whole))
found = divided(x, y, w)
assert " while(" in divided.lower(x, y, w).compile().as_text()  # the loop of ours, not XLA's convolution
expected = jax.vjp(lambda x, w: convolution._xla(x, w, (1, 1), ((1, 1), (1, 1))), x, w)[1](y)
for mine, theirs in zip(found, expected, strict=True):
    np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)
"""


def test_two_devices_sum_the_gradients_of_their_own_images():
    """In a process of its own, since a process cannot change how many devices it has."""
    own = {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1", "JAX_NUM_CPU_DEVICES": "2"}
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES], env=os.environ | own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [
        ((5, 8, 8, 3), (3, 3, 3, 4), 1, 1),
        ((3, 9, 9, 2), (7, 7, 2, 4), 2, 3),
        ((2, 20, 12, 1), (3, 3, 1, 4), (3, 2), (1, 2)),
    ],
)
def test_in_bfloat16_the_kernels_gradient_is_summed_and_given_in_float32(shape, kernel, stride, padding):
    strides, pads = numbers(stride), tuple((p, p) for p in numbers(padding))
    rng = np.random.default_rng(0)
    x, w = jnp.asarray(rng.normal(size=shape), jnp.bfloat16), jnp.asarray(rng.normal(size=kernel), jnp.float32)
    y, pullback = jax.vjp(lambda w: convolution.convolve(x, w, strides, pads), w)
    g = jnp.asarray(rng.normal(size=y.shape), jnp.bfloat16)
    (gradient,) = pullback(g)
    wide = jax.vjp(lambda w: convolution.convolve(x.astype(jnp.float32), w, strides, pads), w)[1](g.astype(jnp.float32))
    assert (y.dtype, gradient.dtype) == (jnp.bfloat16, jnp.float32)
    np.testing.assert_allclose(gradient, wide[0], rtol=1e-5, atol=1e-4)  # what is rounded to 8 bits is off by 1e-2

"""Convolutions between packed maps, which only TPUs compute, are those between plain ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from davs_jax.models import lanes
from davs_jax.models.convolution import convolve


@pytest.mark.parametrize("packed", [2, 4, 8])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "pad", "parts"),
    [
        ((2, 8, 16, 4), (3, 3, 4, 8), 1, 1, 1),
        ((2, 8, 16, 4), (3, 3, 4, 8), 1, 1, 2),  # a person block's two convolutions
        ((2, 16, 32, 3), (7, 7, 3, 8), 2, 3, 2),  # the person encoder's first
        ((2, 16, 32, 6), (4, 4, 6, 8), 2, 1, 1),  # even kernels, as the discriminators'
        ((2, 8, 16, 4), (1, 1, 4, 8), 1, 0, 1),
        ((2, 8, 16, 4), (5, 5, 4, 6), 1, 2, 1),  # padding wider than two packed columns
    ],
)
def test_outputs_and_gradients_are_those_of_the_plain_convolution(shape, kernel, stride, pad, parts, packed):
    rng, where = np.random.default_rng(0), {"strides": (stride, stride), "padding": ((pad, pad), (pad, pad))}
    x, w = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in (shape, kernel))

    def found(function):
        y, pullback = jax.vjp(function, x, w)
        return y, *pullback(jnp.asarray(np.random.default_rng(1).normal(size=y.shape), jnp.float32))

    plain = found(lambda x, w: convolve(x, w, **where))
    between = found(lambda x, w: lanes.between_packed(x, w, **where, parts=parts, packed=packed))
    for expected, value in zip(plain, between, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=2e-6 * float(jnp.abs(expected).max()))


@pytest.mark.parametrize(
    ("width", "kernel", "stride", "pad", "columns"),
    [
        (256, (3, 3, 64, 32), 1, 1, 4),  # the decoder's last layer
        (256, (3, 3, 32, 4), 1, 1, 4),  # its image, which does not count
        (128, (7, 7, 3, 32), 2, 3, 4),
        (64, (3, 3, 64, 96), 1, 1, 2),
        (64, (3, 3, 128, 2), 1, 1, 1),  # the lanes are full
        (32, (3, 3, 96, 96), 1, 1, 1),  # two would overflow them
        (6, (3, 3, 8, 8), 1, 1, 2),  # four do not divide six
        (33, (3, 3, 8, 8), 1, 1, 1),
        (30, (2, 2, 512, 64), 1, 0, 1),  # a map that shrinks
    ],
)
def test_as_many_columns_are_packed_as_fill_the_lanes(width, kernel, stride, pad, columns):
    assert lanes.columns(width, kernel, stride, (pad, pad)) == columns


def test_only_tpus_pack():
    x, w, where = jnp.zeros((1, 16, 16, 8)), jnp.zeros((3, 3, 8, 8)), ((1, 1), ((1, 1), (1, 1)))
    traced = jax.jit(lambda x, w: lanes.convolve_packed(x, w, *where)).trace(x, w)
    packs = {
        platform: "1x16x1x128xf32" in traced.lower(lowering_platforms=(platform,)).as_text()
        for platform in ("cpu", "cuda", "tpu")
    }
    assert packs == {"cpu": False, "cuda": False, "tpu": True}

"""Batch normalisation against the textbook's formulas, differentiated by JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from davs_jax.models.batch_norm import by_one_reading, by_two_readings, normalise

EPSILON = 1e-5


def textbook(x, scale, bias):
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) / jnp.sqrt(var + EPSILON) * scale + bias, mean, var


def values(dtype):
    rng = np.random.default_rng(0)
    x = rng.normal(rng.uniform(-2, 2, 6), rng.uniform(0.1, 3, 6), (4, 5, 5, 6))
    scale, bias, weights = rng.normal(1, 0.3, 6), rng.normal(0, 1, 6), rng.normal(0, 1, x.shape)
    return [jnp.asarray(value, dtype) for value in (x, scale, bias, weights)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 2e-6), (jnp.float64, 1e-13)])
def test_results_and_gradients_are_the_textbooks(dtype, tolerance):
    with jax.enable_x64(dtype == jnp.float64):
        x, scale, bias, weights = values(dtype)

        def loss(x, scale, bias, norm):
            y, *statistics = norm(x, scale, bias)
            return jnp.vdot(weights, jax.nn.relu(y)), (y, *statistics)

        def ours(x, scale, bias):
            return normalise(x, scale, bias, jnp.full(6, 0.3, dtype), EPSILON)

        found, expected = (
            jax.value_and_grad(lambda *args, norm=norm: loss(*args, norm), (0, 1, 2), has_aux=True)(x, scale, bias)
            for norm in (ours, textbook)
        )
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            assert a.dtype == dtype
            np.testing.assert_allclose(a, b, atol=tolerance * float(jnp.abs(b).max()), rtol=0)


def test_one_reading_finds_the_statistics_that_two_readings_find():
    x = values(jnp.float32)[0]
    for shift in (0.0, 1.0):  # far from the mean, digits are lost
        for found, expected in zip(by_one_reading(x, jnp.full(6, shift)), by_two_readings(x, None), strict=True):
            np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
    mean, expected = by_two_readings(x, None)
    np.testing.assert_allclose(by_one_reading(x, mean)[1], expected, rtol=1e-6)


def test_a_channel_that_never_changes_has_no_variance_and_finite_gradients():
    x = jnp.full((2, 3, 3, 1), 0.7)
    one, zero = jnp.ones(1), jnp.zeros(1)
    y, _, var = normalise(x, one, zero, zero, EPSILON)
    assert float(var[0]) == pytest.approx(0, abs=1e-6)
    assert 0 <= float(by_one_reading(x, zero)[1][0]) < 1e-6
    gradient = jax.grad(lambda x: jnp.sum(normalise(x, one, zero, zero, EPSILON)[0] ** 2))(x)
    assert np.isfinite(y).all() and np.isfinite(gradient).all()


def test_bfloat16_maps_have_float32_statistics_and_gradients_of_parameters():
    x, scale, bias, weights = values(jnp.float32)
    y, mean, var = normalise(x.astype(jnp.bfloat16), scale, bias, jnp.zeros(6), EPSILON)
    assert (y.dtype, mean.dtype, var.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    gradient = jax.grad(lambda s: jnp.vdot(weights, normalise(x.astype(jnp.bfloat16), s, bias, mean, EPSILON)[0]))(
        scale
    )
    assert gradient.dtype == jnp.float32

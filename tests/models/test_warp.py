import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from davs_jax.models.warp import warp


@pytest.fixture
def moved():
    """Two images, and displacements of which some reach beyond the edge."""
    rng = np.random.default_rng(0)
    return rng.random((2, 16, 20, 3), np.float32), 3 * rng.normal(size=(2, 16, 20, 2)).astype(np.float32)


def test_pixels_are_taken_from_where_opencv_takes_them(moved):
    y, x = np.mgrid[:16, :20].astype(np.float32)
    for image, field, found in zip(*moved, np.asarray(warp(*map(jnp.asarray, moved))), strict=True):
        right, down = field[..., 0], field[..., 1]
        expected = cv2.remap(image, x + right, y + down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_without_displacement_an_image_stays_as_it_is(moved):
    images, field = moved
    np.testing.assert_array_equal(warp(jnp.asarray(images), jnp.zeros_like(field)), images)


def test_the_field_learns_from_the_slope_of_the_image():
    ramp = jnp.broadcast_to(jnp.arange(8.0)[None, None, :, None], (1, 8, 8, 1))
    gradient = jax.grad(lambda field: warp(ramp, field)[0, 4, 4, 0])(jnp.full((1, 8, 8, 2), 0.5))
    np.testing.assert_allclose(gradient[0, 4, 4], [1, 0])  # a pixel further to the right is brighter by 1
    assert np.count_nonzero(gradient) == 1

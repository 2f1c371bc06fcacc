import jax
import jax.numpy as jnp
import pytest

from davs_jax.models.convolution import convolve
from davs_jax.models.lanes import convolve_packed
from davs_jax.plan import flops


def array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def convolution(x, kernel, stride=1):
    return jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def test_a_product_of_matrices_costs_two_operations_a_term():
    assert flops.count(jnp.matmul, array(3, 5), array(5, 7)) == 2 * 3 * 5 * 7


@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_and_its_gradients_cost_the_same_each(stride):
    x, kernel = array(2, 8, 8, 4), array(3, 3, 4, 6)

    def loss(x, kernel):
        return convolution(x, kernel, stride).sum()

    once = 2 * (2 * (8 // stride) ** 2 * 6) * (3 * 3 * 4)
    assert flops.count(loss, x, kernel) == once
    assert flops.count(jax.value_and_grad(loss, (0, 1)), x, kernel) == 3 * once


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_networks_convolution_costs_no_more_than_any_other(dtype):
    x, kernel = jax.ShapeDtypeStruct((2, 8, 8, 4), dtype), array(3, 3, 4, 6)

    def loss(kernel, x):
        return convolve(x, kernel, (2, 2), ((1, 1), (1, 1))).sum()

    once = 2 * (2 * 4**2 * 6) * (3 * 3 * 4)
    assert flops.count(loss, kernel, x) == once
    assert flops.count(jax.value_and_grad(loss), kernel, x) == 2 * once  # the gradient of the image is not needed
    assert flops.count(jax.value_and_grad(loss, (0, 1)), kernel, x) == 3 * once


def test_the_zeros_of_packed_columns_do_not_count():
    x, kernel = array(2, 8, 8, 16), array(3, 3, 16, 16)
    assert flops.count(lambda x, w: convolve_packed(x, w, (1, 1), ((1, 1), (1, 1))), x, kernel) == 2 * x.size * 9 * 16


def test_a_loop_counts_every_turn():
    def loop(x, weights):
        return jax.lax.scan(lambda x, w: (x @ w, None), x, weights)[0]

    assert flops.count(loop, array(4, 4), array(5, 4, 4)) == 5 * 2 * 4**3


def test_recomputed_operations_count_again():
    def loss(w, x):
        return jnp.sum(jax.checkpoint(lambda w: jnp.sin(jnp.sin(x @ w) @ w))(w))

    plain = flops.count(jax.value_and_grad(lambda w, x: jnp.sum(jnp.sin(jnp.sin(x @ w) @ w))), array(4, 4), array(4, 4))
    assert flops.count(jax.value_and_grad(loss), array(4, 4), array(4, 4)) > plain

import jax.numpy as jnp
import numpy as np

from configs import common
from davs_jax.training.optimizer import make_optimizers


def first_steps(params: dict, **optim) -> dict:
    config = common.get_config("word")
    config.optim.update(optim)
    chain = make_optimizers(config)["generator"]
    return chain.update(params, chain.init(params), params)[0]  # the gradients equal the parameters


def test_a_multiplier_slows_its_layer_and_no_other():
    params = {"encoder": {"conv1": {"kernel": jnp.ones(3)}, "conv10": {"kernel": jnp.ones(3)}}}
    plain = first_steps(params, clip_norm=1.0)["encoder"]
    slowed = first_steps(params, clip_norm=1.0, multipliers={"encoder/conv1": 0.02})["encoder"]
    np.testing.assert_allclose(slowed["conv1"]["kernel"], 0.02 * plain["conv1"]["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(slowed["conv10"]["kernel"], plain["conv10"]["kernel"])
    assert np.all(plain["conv1"]["kernel"] < 0)

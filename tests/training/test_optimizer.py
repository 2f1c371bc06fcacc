import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from davs_jax.training.optimizer import make_optimizers, schedule


def make(**optim):
    config = common.get_config("word")
    config.optim.update(optim)
    return make_optimizers(config.optim, config.steps)["generator"]


def first_updates(params: dict, **optim) -> dict:
    chain = make(**optim)
    return chain.update(params, chain.init(params), params)[0]  # the gradients equal the parameters


def test_a_multiplier_slows_its_layer_and_no_other():
    params = {"encoder": {"conv1": {"kernel": jnp.ones(3)}, "conv10": {"kernel": jnp.ones(3)}}}
    plain = first_updates(params, clip_norm=1.0)["encoder"]
    slowed = first_updates(params, clip_norm=1.0, multipliers={"encoder/conv1": 0.02})["encoder"]
    np.testing.assert_allclose(slowed["conv1"]["kernel"], 0.02 * plain["conv1"]["kernel"], rtol=1e-6)
    np.testing.assert_array_equal(slowed["conv10"]["kernel"], plain["conv10"]["kernel"])
    assert np.all(plain["conv1"]["kernel"] < 0)


@pytest.mark.parametrize(
    ("optim", "adam"),
    [
        ({}, "[0]"),
        ({"clip_norm": 1.0}, "[1][0]"),
        ({"multipliers": {"encoder/conv": 0.1}}, "[0][0]"),
        ({"clip_norm": 1.0, "multipliers": {"encoder/conv": 0.1}}, "[1][0]"),
    ],
)
def test_the_optimizers_state_keeps_the_paths_of_earlier_checkpoints(optim, adam):
    state = make(**optim).init({"encoder": {"conv": {"kernel": jnp.ones(3)}}})
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]
    kernel = "['encoder']['conv']['kernel']"
    schedule_count = f"{adam.removesuffix('[0]')}[1].count"
    assert paths == [f"{adam}.count", f"{adam}.mu{kernel}", f"{adam}.nu{kernel}", schedule_count]


def test_the_learning_rate_warms_up_and_decays_to_zero_at_the_last_step():
    config = common.get_config("word")
    config.optim.update(schedule="cosine", warmup_steps=10)
    rate = schedule(config.optim, 50, 1e-3)
    np.testing.assert_allclose([rate(step) for step in (0, 5, 10, 30, 50)], [0, 5e-4, 1e-3, 5e-4, 0], atol=1e-9)
    config.optim.schedule = "constant"
    assert schedule(config.optim, 50, 1e-3)(50) == pytest.approx(1e-3)

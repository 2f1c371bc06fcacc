import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from davs_jax.training.optimizer import make_optimizers, schedule


def make(**optim):
    config = common.get_config("word")
    config.optim.update(optim)
    return make_optimizers(config.optim, config.steps)["generator"]


ADAM = ["ScaleByAdamState", "ScaleByScheduleState"]


@pytest.mark.parametrize(
    ("optim", "kinds"),
    [
        ({}, ADAM),
        ({"clip_norm": 1.0}, ["EmptyState", ADAM]),
    ],
)
def test_the_optimizers_state_keeps_the_structure_of_earlier_checkpoints(optim, kinds):
    """Orbax compares it on restoring, entries without arrays included."""

    def kinds_of(state):
        return [kinds_of(entry) for entry in state] if type(state) is tuple else type(state).__name__

    assert kinds_of(make(**optim).init({"encoder": {"conv": {"kernel": jnp.ones(3)}}})) == kinds


def test_the_learning_rate_warms_up_and_decays_to_zero_at_the_last_step():
    config = common.get_config("word")
    config.optim.update(schedule="cosine", warmup_steps=10)
    rate = schedule(config.optim, 50, 1e-3)
    np.testing.assert_allclose([rate(step) for step in (0, 5, 10, 30, 50)], [0, 5e-4, 1e-3, 5e-4, 0], atol=1e-9)
    config.optim.schedule = "constant"
    assert schedule(config.optim, 50, 1e-3)(50) == pytest.approx(1e-3)

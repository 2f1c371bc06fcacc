"""Run by test_step.py: the same global batch on 1 and on 8 devices gives the same losses, statistics and gradients.

SGD stands in for Adam, under which the rounding noise of a zero gradient becomes a full step.
"""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"

import jax
import numpy as np
import optax

from davs_jax import sharding, state, step
from test_step import random_batch, tiny


def main() -> None:
    sgd = optax.sgd(1e-3)
    for module in (step, state):
        module.make_optimizers = lambda config: dict.fromkeys(("generator", "discriminator"), sgd)
    config = tiny("word")
    results = []
    for count in (1, 8):
        mesh = sharding.make_mesh(config.mesh, jax.devices()[:count])
        batch = {k: jax.device_put(v, sharding.batch_sharding(mesh)) for k, v in random_batch(config).items()}
        after, metrics = step.make_train_step(config, mesh)(state.init_state(config, mesh), batch)
        results.append(jax.device_get((metrics, after.batch_stats, after.params)))
        assert len(jax.tree.leaves(metrics)[0].sharding.device_set) == count
    for one, eight in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(one, eight, rtol=2e-4, atol=1e-5)
    print("8 devices agree with 1")


if __name__ == "__main__":
    main()

"""The smallest configuration of each stage, and a random batch for its step."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from configs import common
from davs_jax.training.stage import Stage
from davs_jax.training.state import DavsState, abstract_state, first_state
from support.tiny_model import random_like


def tiny(stage: str = "joint"):
    config = common.get_config(stage)
    config.model.update(image_size=64, width=1 / 16, num_words=3, num_identities=4, adversary_frames=12)
    config.model.sequence_frames = 2
    config.data.update(batch_size=8, face_batch_size=8)
    return config


def judged(config):
    """The stage with the expert on sync, which a run that these tests do not read has trained."""
    config.model.sync_size = 48
    config.loss.sync_expert = 1.0
    config.init_networks = (*config.init_networks, "syncnet")
    return config


def random_batch(config, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)

    def random(spec):
        if spec.dtype == jnp.uint8:
            return rng.integers(0, 256, spec.shape, np.uint8)
        if spec.dtype == jnp.int32:
            return rng.integers(0, 3, spec.shape, np.int32)
        return rng.normal(size=spec.shape).astype(np.float32)

    return {key: random(spec) for key, spec in Stage.from_config(config).batch.items()}


def random_state(stage: Stage, mesh: Mesh | None = None) -> DavsState:
    """The state before the first step, from weights that no compiled initialization makes; on a mesh, placed there."""
    shapes = jax.eval_shape(lambda: first_state(stage, {}))
    rng = np.random.default_rng(0)
    given = {
        name: random_like({"params": params, "batch_stats": shapes.batch_stats.get(name, {})}, rng)
        for name, params in shapes.params.items()
    }
    state = jax.jit(lambda given: first_state(stage, given))(given)
    if mesh is None:
        return state

    def place(leaf, wanted):
        return jax.make_array_from_callback(leaf.shape, wanted.sharding, np.asarray(leaf).__getitem__)

    return jax.tree.map(place, state, abstract_state(stage, mesh))

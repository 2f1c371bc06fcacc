"""Small states, and workdirs with checkpoints of them."""

import jax
import jax.numpy as jnp
import numpy as np

from davs_jax.checkpoint import Checkpoints
from davs_jax.checkpoint.export import leaves
from davs_jax.training.state import DavsState

NETWORKS = ("visual_encoder", "audio_encoder", "word_classifier", "modality_discriminator")


def small_state(seed=0, step=0, shape=(4, 8)) -> DavsState:
    """A state of the word stage's networks, of one layer each."""
    rng = np.random.default_rng(seed)

    def layer():
        return {"fc": {"kernel": jnp.asarray(rng.normal(size=shape), jnp.float32), "bias": jnp.ones(8)}}

    params = {name: layer() for name in NETWORKS}
    return DavsState(
        step=jnp.int32(step),
        params=params,
        batch_stats={name: {} if "class" in name else {"bn": {"var": jnp.full(8, 1e6)}} for name in NETWORKS},
        opt={"generator": layer(), "discriminator": layer()},
        ema={name: layer() for name in NETWORKS[:3]},
    )


def abstract(state):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state)


def assert_equal(tree, expected):
    found, wanted = leaves(tree), leaves(expected)
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def save(workdir, config, *steps, figures=None, keep=3, keep_every=0):
    checkpoints = Checkpoints(workdir, keep, "video_accuracy", keep_every)
    for step in steps:
        checkpoints.save(step, small_state(step, step), config, (figures or {}).get(step))
    checkpoints.close()
    return workdir

"""A model for evaluation; `davs_jax.inference.load` is to replace it."""

import jax
from ml_collections import ConfigDict

from davs_jax import checkpoint
from davs_jax.checkpoint.export import with_gains
from davs_jax.inference import Davs
from davs_jax.parallel import sharding


def load(path: str, audio_gain: float | None = None, video_gain: float | None = None) -> Davs:
    """A model from its weights, with every batch divided over all devices of the job.

    Raises:
      CheckpointError: there are no such weights, or a gain is not above 0.
    """
    config, params, batch_stats = checkpoint.load_weights(path)
    config = with_gains(config, audio_gain, video_gain)
    if jax.device_count() == 1:
        return Davs(config, params, batch_stats)
    mesh = sharding.make_mesh(ConfigDict({"data": -1, "fsdp": 1}))
    return Davs(config, *jax.device_put((params, batch_stats), sharding.replicated(mesh)), mesh=mesh)

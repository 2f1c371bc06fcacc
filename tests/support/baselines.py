"""Baselines at the smallest size: their settings, first weights, and a few steps on two clips."""

import itertools

import jax
import numpy as np
from ml_collections import ConfigDict

from davs_jax.data import pipeline
from davs_jax.data.sources import open_clips
from davs_jax.models.initialization import first_variables
from davs_jax.parallel import sharding
from davs_jax.training import step
from davs_jax.training.stage import Stage
from davs_jax.training.state import init_state


def tiny(config: ConfigDict, clips: str) -> ConfigDict:
    """The stage on these shards, at 64 px with few channels, without augmentation."""
    config.model.update(image_size=64, width=1 / 16)
    config.data.update(clips=clips, batch_size=2, threads=2, flip=False, crop=False)
    config.optim.update(learning_rate=3e-3, discriminator_learning_rate=1e-3)
    config.log.update(every=1, images_every=0)
    config.steps = 4
    return config


def first_weights(config: ConfigDict) -> tuple[dict, dict]:
    """params and batch_stats of the stage's networks before training."""
    return jax.jit(lambda: first_variables(config.model, config.seed, Stage.from_config(config).networks))()


def overfitted(config: ConfigDict, steps: int, prepared: dict | None = None) -> dict[str, np.ndarray]:
    """Trains on two clips alone, and returns every term's loss by step.

    Args:
      prepared: weights by network that training starts from.
    """
    stage, mesh = Stage.from_config(config), sharding.make_mesh(config.mesh)
    config.data.share = 2 / len(open_clips(config.data.clips, "train"))
    batches = pipeline.train_batches(config, mesh, stage.batch)
    now, train, found = init_state(stage, mesh, prepared), step.make_train_step(stage, mesh), []
    for batch in itertools.islice(batches, steps):
        now, metrics = train(now, batch)
        found.append(metrics)
    batches.close()
    return {
        name.removeprefix("loss/"): np.array([float(metrics[name]) for metrics in found])
        for name in found[0]
        if name.startswith("loss/")
    }

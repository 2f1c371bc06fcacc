"""The networks: arrays in, arrays out. flax.linen is used only here, and by the networks of baselines."""

import flax.linen as nn
import jax

from davs_jax import systems
from davs_jax.models.layers import flatten_time

__all__ = ["Module", "adversaries", "build", "example_inputs", "flatten_time"]

Module = nn.Module


def build(model) -> dict[str, Module]:
    """The networks of a model config, by name.

    Args:
      model: `config.model` of `configs/common.py`.

    Raises:
      ConfigError: there is no such system, or the topology has no such image size or skip.
    """
    return systems.part(model.system, "networks").build(model)


def example_inputs(model, batch: int = 1) -> dict[str, tuple[jax.ShapeDtypeStruct, ...]]:
    """Shapes and types of every network's inputs, to initialise it and to list it."""
    return systems.part(model.system, "networks").example_inputs(model, batch)


def adversaries(model) -> tuple[str, ...]:
    """The networks of the discriminator player, which only training needs."""
    return systems.part(model.system, "networks").ADVERSARIES

"""The weights that networks start from: a function of the seed and the network's name."""

import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from davs_jax import models
from davs_jax.parallel import sharding
from davs_jax.parallel.compilation import run_once


def first_variables(
    model, seed: int, names: Iterable[str], given: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """params and batch_stats by network: the given ones, fresh ones for all other networks.

    Args:
      model: `config.model`.
      given: `{"params", "batch_stats"}` by network.
    """
    key, given = jax.random.key(seed), given or {}
    modules, inputs = models.build(model), models.example_inputs(model)
    params, batch_stats = {}, {}
    for name in names:
        if not (variables := given.get(name)):
            # Keyed by name: a network's first weights do not depend on which other networks the stage has.
            network_key = jax.random.fold_in(key, zlib.crc32(name.encode()))
            variables = modules[name].lazy_init({"params": network_key}, *inputs[name], train=False)
        params[name] = variables["params"]
        batch_stats[name] = variables.get("batch_stats", {})
    return params, batch_stats


def fresh_weights(model, seed: int, names: Iterable[str], mesh: Mesh) -> tuple[dict[str, Any], dict[str, Any]]:
    """params and batch_stats of these networks as training starts from them, replicated on every device of the mesh."""
    return run_once(lambda: first_variables(model, seed, names), sharding.replicated(mesh))()

"""The training state: one step counter and, by network, parameters, batch statistics and averages."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from davs_jax.models.initialization import first_variables
from davs_jax.parallel import sharding
from davs_jax.parallel.compilation import run_once
from davs_jax.training.stage import Stage


@struct.dataclass
class DavsState:
    """All that a checkpoint needs for an exact resume; randomness is a function of the seed and `step`.

    Attributes:
      step: int32 scalar, optimizer steps done.
      params: by network, for all that the stage uses, frozen ones included.
      batch_stats: by network; `{}` for networks without batch norm.
      opt: optax states of the two players, `generator` and `discriminator`.
      ema: averaged parameters of the trained networks, or `{}` where `config.optim.ema_decay` is 0.
    """

    step: jax.Array
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    opt: dict[str, Any]
    ema: dict[str, Any]


def first_state(stage: Stage, given: Mapping[str, Mapping[str, Any]]) -> DavsState:
    """The state before the first step; traced by `abstract_state` and `init_state`.

    Args:
      given: as in `init_state`.
    """
    params, batch_stats = first_variables(stage.model, stage.seed, stage.networks, given)
    trained = {name: params[name] for name in stage.trained}
    players = {"generator": trained, "discriminator": {name: params[name] for name in stage.adversaries}}
    return DavsState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt={player: stage.optimizers[player].init(networks) for player, networks in players.items()},
        # A copy: two leaves of one donated state must not share a buffer.
        ema=jax.tree.map(jnp.copy, trained) if stage.ema_decay > 0 else {},
    )


def abstract_state(stage: Stage, mesh: Mesh) -> DavsState:
    """The state's shapes, types and shardings on this mesh, as `jax.ShapeDtypeStruct`."""

    def place(leaf):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding.parameter_sharding(mesh, leaf.shape))

    return jax.tree.map(place, _shapes(stage))


@functools.lru_cache(maxsize=1)  # a start asks three times, and each answer takes seconds
def _shapes(stage: Stage) -> DavsState:
    return jax.eval_shape(lambda: first_state(stage, {}))


def init_state(stage: Stage, mesh: Mesh, given: Mapping[str, Mapping[str, Any]] | None = None) -> DavsState:
    """The state before the first step, made where it will live: no device ever holds more than its share.

    Args:
      given: `{"params", "batch_stats"}` by network, placed as in `abstract_state`, for the networks that do not start
        from fresh weights.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(stage, mesh))
    return run_once(lambda given: first_state(stage, given), shardings)(given or {})

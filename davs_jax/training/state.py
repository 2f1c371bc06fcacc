"""The training state: one step counter and, by network, parameters, batch statistics and averages."""

import functools
import zlib
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh
from ml_collections import FrozenConfigDict

from davs_jax import models
from davs_jax.parallel import sharding
from davs_jax.training import losses
from davs_jax.training.optimizer import make_optimizers


@struct.dataclass
class DavsState:
    """All that a checkpoint needs to go on exactly; randomness is a function of the seed and `step`.

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


def trained_networks(config) -> tuple[str, ...]:
    """Networks of the generator player, in the order of `config.trained`, that an active term moves.

    Raises:
      ValueError: no network that the stage trains is moved by an active term, or a name is unknown.
    """
    terms = losses.active(config)
    if unknown := set(config.trained) - {name for term in losses.TERMS.values() for name in term.moves}:
        raise ValueError(f"config.trained names {sorted(unknown)}, which are not networks of the generator player")
    moved = {name for term in terms for name in losses.networks(config, term)}
    if idle := [name for name in config.trained if name not in moved]:
        raise ValueError(f"config.trained names {idle}, but no term with a weight above 0 moves them")
    return tuple(config.trained)


def adversaries(config) -> tuple[str, ...]:
    """Networks of the discriminator player that the active terms need."""
    return tuple(t.adversary for name, t in losses.TERMS.items() if t.adversary and name in losses.active(config))


def used_networks(config) -> tuple[str, ...]:
    """All networks of the stage: trained, frozen and adversaries."""
    terms = losses.active(config)
    needed = {name for term in terms for name in losses.networks(config, term, used=True)} | set(adversaries(config))
    return tuple(name for name in models.build(config.model) if name in needed)


def _first_variables(config, names: tuple[str, ...], given: dict[str, dict[str, Any]]) -> tuple[dict, dict]:
    """params and batch_stats by network: as given, else fresh."""
    key = jax.random.key(config.seed)
    modules, inputs = models.build(config.model), models.example_inputs(config.model)
    params, batch_stats = {}, {}
    for name in names:
        if not (variables := given.get(name)):
            # Keyed by name: adding a network to a stage leaves the others' starting weights as they were.
            network_key = jax.random.fold_in(key, zlib.crc32(name.encode()))
            variables = modules[name].lazy_init({"params": network_key}, *inputs[name], train=False)
        params[name] = variables["params"]
        batch_stats[name] = variables.get("batch_stats", {})
    return params, batch_stats


def _init(config, given: dict[str, dict[str, Any]]) -> DavsState:
    params, batch_stats = _first_variables(config, used_networks(config), given)
    optimizers = make_optimizers(config)
    trained = {name: params[name] for name in trained_networks(config)}
    players = {"generator": trained, "discriminator": {name: params[name] for name in adversaries(config)}}
    return DavsState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=batch_stats,
        opt={player: optimizers[player].init(networks) for player, networks in players.items()},
        # A copy: two leaves of one donated state must not share a buffer.
        ema=jax.tree.map(jnp.copy, trained) if config.optim.ema_decay > 0 else {},
    )


def abstract_state(config, mesh: Mesh) -> DavsState:
    """The state's shapes, types and shardings on this mesh, as `jax.ShapeDtypeStruct`."""

    def place(leaf):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding.parameter_sharding(mesh, leaf.shape))

    return jax.tree.map(place, _shapes(FrozenConfigDict(config)))


@functools.lru_cache(maxsize=1)  # a start asks three times, and each answer takes seconds
def _shapes(config: FrozenConfigDict) -> DavsState:
    return jax.eval_shape(lambda: _init(config, {}))


def init_state(config, mesh: Mesh, given: dict[str, dict[str, Any]] | None = None) -> DavsState:
    """A first state, made where it will live: no device ever holds more than its share.

    Args:
      given: `{"params", "batch_stats"}` by network, placed as in `abstract_state`, for networks that are not to start
        from fresh weights.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(config, mesh))
    return _run_once(lambda given: _init(config, given), shardings)(given or {})


def fresh_weights(config, names: tuple[str, ...], mesh: Mesh) -> tuple[dict, dict]:
    """params and batch_stats of these networks alone, as a first state has them; on every device of the mesh."""
    return _run_once(lambda: _first_variables(config, names, {}), sharding.replicated(mesh))()


def _run_once(function, shardings):
    # On a CPU, optimising the hundreds of small generators of fresh weights costs a minute and saves nothing.
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(function, out_shardings=shardings, compiler_options=quick)

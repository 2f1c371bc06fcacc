"""One optax chain per player."""

from collections.abc import Mapping

import jax
import optax


def schedule(config, peak: float) -> optax.Schedule:
    """Learning rate by step: linear warm-up to `peak`, then constant or a cosine to zero at the last step.

    Raises:
      ValueError: an unknown schedule.
    """
    optim = config.optim
    after = max(config.steps - optim.warmup_steps, 1)
    match optim.schedule:
        case "constant":
            main = optax.constant_schedule(peak)
        case "cosine":
            main = optax.cosine_decay_schedule(peak, after)
        case other:
            raise ValueError(f"config.optim.schedule is {other!r}; it must be 'constant' or 'cosine'")
    if not optim.warmup_steps:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, peak, optim.warmup_steps), main], [optim.warmup_steps])


def make_optimizers(config) -> dict[str, optax.GradientTransformation]:
    """Adam for each of the two players, with their own learning rates.

    `init` raises ValueError where `config.optim.multipliers` names no layer that the generator player trains, or gives
    it no number.
    """
    optim = config.optim

    def chain(peak: float, multipliers: Mapping[str, float]) -> optax.GradientTransformation:
        steps = [optax.adam(schedule(config, peak), b1=optim.b1, b2=optim.b2, eps=optim.eps)]
        if optim.clip_norm > 0:
            steps.insert(0, optax.clip_by_global_norm(optim.clip_norm))
        if multipliers:
            steps.append(_multiplied(multipliers))
        return optax.chain(*steps) if len(steps) > 1 else steps[0]

    return {
        "generator": chain(optim.learning_rate, optim.multipliers.to_dict()),
        "discriminator": chain(optim.discriminator_learning_rate, {}),
    }


def _multiplied(multipliers: Mapping[str, float]) -> optax.GradientTransformation:
    """Multiplies the steps of the layers named, as `network/layer`, and of all that is in them."""

    def init(params: optax.Params) -> optax.EmptyState:
        names = [_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        for layer, factor in multipliers.items():
            if not isinstance(factor, int | float) or factor < 0:
                raise ValueError(f"config.optim.multipliers[{layer!r}] is {factor!r}; it must be a number from 0 on")
            if not any(name.startswith(f"{layer}/") for name in names):
                raise ValueError(f"config.optim.multipliers names {layer!r}, but the stage trains no such layer")
        return optax.EmptyState()

    def update(updates: optax.Updates, state: optax.EmptyState, params: optax.Params | None = None):
        def one(path, step: jax.Array) -> jax.Array:
            for layer, factor in multipliers.items():
                step = factor * step if _name(path).startswith(f"{layer}/") else step
            return step

        return jax.tree_util.tree_map_with_path(one, updates), state

    return optax.GradientTransformation(init, update)


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")

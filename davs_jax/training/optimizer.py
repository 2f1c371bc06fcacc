"""One optax chain per player."""

from collections.abc import Mapping

import optax
from flax.traverse_util import flatten_dict, unflatten_dict

SCHEDULES = ("constant", "cosine")


def schedule(optim, steps: int, peak: float) -> optax.Schedule:
    """Learning rate by step: linear warm-up to `peak`, then constant or a cosine decay to zero at the last step.

    Args:
      optim: `config.optim`.
      steps: optimizer steps of the run.
    """
    warmup = optim.warmup_steps
    if optim.schedule == "constant":
        after = optax.constant_schedule(peak)
    else:
        after = optax.cosine_decay_schedule(peak, max(steps - warmup, 1))
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup]) if warmup else after


def make_optimizers(optim, steps: int) -> dict[str, optax.GradientTransformation]:
    """Adam for each of the two players, with its own learning rate.

    Args:
      optim: `config.optim`.
      steps: optimizer steps of the run.
    """

    def chain(peak: float, multipliers: Mapping[str, float]) -> optax.GradientTransformation:
        transformations = [optax.adam(schedule(optim, steps, peak), b1=optim.b1, b2=optim.b2, eps=optim.eps)]
        if optim.clip_norm > 0:
            transformations.insert(0, optax.clip_by_global_norm(optim.clip_norm))
        if multipliers:
            transformations.append(_multiplied(multipliers))
        # A chain of one would nest the state once more, and earlier checkpoints could not be read.
        return optax.chain(*transformations) if len(transformations) > 1 else transformations[0]

    return {
        "generator": chain(optim.learning_rate, optim.multipliers),
        "discriminator": chain(optim.discriminator_learning_rate, {}),
    }


def _multiplied(multipliers: Mapping[str, float]) -> optax.GradientTransformation:
    """Multiplies the updates of layers, named `network/layer`, and of all layers inside them.

    Stateless, not `optax.masked`: a `MaskedState` would make earlier checkpoints unreadable.
    """

    def multiply(updates: optax.Updates, params: optax.Params | None) -> optax.Updates:
        flat = flatten_dict(updates, sep="/")
        for layer, factor in multipliers.items():
            flat = {path: factor * step if path.startswith(f"{layer}/") else step for path, step in flat.items()}
        return unflatten_dict(flat, sep="/")

    return optax.stateless(multiply)

"""One optax chain per player."""

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
    """Adam for each of the two players, with their own learning rates."""
    optim = config.optim

    def chain(peak: float) -> optax.GradientTransformation:
        adam = optax.adam(schedule(config, peak), b1=optim.b1, b2=optim.b2, eps=optim.eps)
        return optax.chain(optax.clip_by_global_norm(optim.clip_norm), adam) if optim.clip_norm > 0 else adam

    return {"generator": chain(optim.learning_rate), "discriminator": chain(optim.discriminator_learning_rate)}

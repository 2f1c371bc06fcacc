"""One optax chain per player."""

import optax

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

    def adam(peak: float) -> optax.GradientTransformation:
        update = optax.adam(schedule(optim, steps, peak), b1=optim.b1, b2=optim.b2, eps=optim.eps)
        # A chain nests the state: unclipped runs, those of earlier versions too, have none.
        return optax.chain(optax.clip_by_global_norm(optim.clip_norm), update) if optim.clip_norm > 0 else update

    return {"generator": adam(optim.learning_rate), "discriminator": adam(optim.discriminator_learning_rate)}

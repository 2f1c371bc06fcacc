"""Baselines: other systems, trained on the same clips as DAVS. Each file holds its system's own settings."""

from ml_collections import ConfigDict

from configs import common


def get_config(system: str, networks: tuple[str, ...], trained: tuple[str, ...], weights: dict[str, float], **model):
    """The settings that systems share (`configs/common.py`), with a system's own in the place of DAVS's.

    Args:
      networks: all networks of the system.
      trained: those that this stage trains.
      weights: of the system's terms; a term that is left out has weight 0.
      model: settings of `config.model`, the system's own too.
    """
    c = common.get_config("generator")
    c.model.update(system=system, **model)
    c.trained, c.modalities = trained, ("audio",)
    c.loss = ConfigDict(weights)
    c.remat = ConfigDict(dict.fromkeys(networks, "none"))
    c.data.face_batch_size = 0
    c.log.eval_every, c.checkpoint.best = 0, ""
    return c


def small(c, clips: str):
    """The same at 64 px with a quarter of the channels, on the shards in `clips`: minutes on two CPU cores."""
    c.model.update(image_size=64, width=0.25)
    c.data.update(clips=clips, batch_size=8)
    c.optim.update(learning_rate=1e-3, discriminator_learning_rate=1e-3, schedule="cosine", warmup_steps=20)
    c.log.update(every=10, images_every=100)
    c.checkpoint.every = 200
    return c

"""The values that a config may have, one check per key; `Stage.from_config` makes them all before anything is built."""

import operator
from typing import Any

from davs_jax.constants import SPECTRA, USED_FRAMES, WORD_FRAMES
from davs_jax.errors import ConfigError
from davs_jax.models import syncnet, word_vectors
from davs_jax.training import losses
from davs_jax.training.optimizer import SCHEDULES

# Validation figures that may choose the best checkpoint.
FIGURES = ("audio_accuracy", "video_accuracy", "both_accuracy", "audio_to_video_r1", "video_to_audio_r1")

LEAST = {
    "seed": 0,
    "steps": 1,
    "accumulate": 1,
    "margin": 0,
    "wid_gradient": 0,
    "audio_gain": 0,
    "video_gain": 0,
    "model.embed_dim": 1,
    "model.wid_dim": 1,
    "model.num_words": 1,
    "model.num_identities": 1,
    "data.batch_size": 1,
    "data.face_batch_size": 0,
    "data.photo_within": 0,
    "data.threads": 1,
    "data.prefetch": 1,
    "optim.learning_rate": 0,
    "optim.discriminator_learning_rate": 0,
    "optim.warmup_steps": 0,
    "optim.clip_norm": 0,
    "optim.eps": 0,
    "log.every": 1,
    "log.images_every": 0,
    "log.eval_every": 0,
    "log.eval_batches": 0,
    "checkpoint.every": 1,
    "checkpoint.keep": 1,
    "checkpoint.keep_every": 0,
    "profile.steps": 0,
    "profile.after": 0,
}
FRACTIONS = (  # 0 or more, below 1
    *("model.dropout", "data.unlabelled_share", "data.color_jitter", "optim.b1", "optim.b2", "optim.ema_decay"),
)
DTYPES = ("float32", "bfloat16", "float64")  # float64 where JAX has it enabled: for parity tests
CHOICES = {
    "model.dtype": DTYPES,
    "model.wid_norm": word_vectors.KINDS,
    "model.spectrum": tuple(SPECTRA),
    "model.sync_size": syncnet.SIZES,
    "optim.schedule": SCHEDULES,
    "contrastive": tuple(losses.CONTRASTIVE),
    "bn_grouping": ("batch", "official"),
    "checkpoint.best": (*FIGURES, ""),
}


def check(config, policies: tuple[str, ...]) -> None:
    """Checks each value by itself; values that depend on each other are checked where `Stage` resolves them.

    Args:
      policies: values that `config.remat` may have.

    Raises:
      ConfigError: an invalid value; the message names the key, the value and what is allowed.
    """
    for key, least in LEAST.items():
        if not (value := _value(config, key)) >= least:
            raise ConfigError(f"config.{key} is {value}", f"it must be at least {least}")
    if not config.model.width > 0:
        raise ConfigError(f"config.model.width is {config.model.width}", "it must be above 0")
    for key in FRACTIONS:
        if not 0 <= (value := _value(config, key)) < 1:
            raise ConfigError(f"config.{key} is {value}", "it must be at least 0 and below 1")
    if not 0 <= config.data.audio_jitter <= 1:
        raise ConfigError(
            f"config.data.audio_jitter is {config.data.audio_jitter}", "it must be at least 0 and at most 1"
        )
    if not 0 < config.data.share <= 1:
        raise ConfigError(f"config.data.share is {config.data.share}", "it must be above 0 and at most 1")
    if not 0 <= config.label_softness <= 1:
        raise ConfigError(f"config.label_softness is {config.label_softness}", "it must be from 0 to 1")
    for key, allowed in CHOICES.items():
        if (value := _value(config, key)) not in allowed:
            listed = ", ".join(str(each) for each in allowed if each != "") + (" or empty" if "" in allowed else "")
            raise ConfigError(f"config.{key} is {value!r}", f"it must be one of {listed}")
    for name, policy in config.remat.items():
        if policy not in policies:
            raise ConfigError(f"config.remat.{name} is {policy!r}", f"it must be one of {', '.join(policies)}")
    _check_windows(config.model)
    _check_mesh(config.mesh)


def _check_windows(model) -> None:
    limits = {"word_frames": WORD_FRAMES, "sequence_frames": model.word_frames, "adversary_frames": USED_FRAMES}
    for name, most in limits.items():
        if not 1 <= model[name] <= most:
            raise ConfigError(f"config.model.{name} is {model[name]}", f"a clip allows 1…{most}")


def _check_mesh(mesh) -> None:
    """As far as it is known without devices; `sharding.make_mesh` compares the sizes with the devices of the job."""
    for axis in ("data", "fsdp"):
        if mesh[axis] != -1 and mesh[axis] < 1:
            raise ConfigError(
                f"config.mesh.{axis} is {mesh[axis]}", "it must be at least 1, or -1 for all devices that are left"
            )
    if mesh.data == mesh.fsdp == -1:
        raise ConfigError("config.mesh.data and config.mesh.fsdp are both -1", "only one of them can take what is left")


def _value(config, key: str) -> Any:
    try:
        return operator.attrgetter(key)(config)
    except AttributeError as error:
        raise ConfigError(
            f"the config has no {key}", "configs/common.py states every setting and its default"
        ) from error

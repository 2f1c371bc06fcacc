"""How the one-subject mode is fitted: its footage is read once, then the recurrent network learns the mouth shapes."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from davs_jax.baselines.one_subject import footage
from davs_jax.baselines.one_subject.networks import POINTS
from davs_jax.constants import CLIP_FRAMES, MFCC_PER_FRAME, MFCC_WIDTH
from davs_jax.errors import ConfigError
from davs_jax.training.networks import Batch, Networks, Tree
from davs_jax.training.terms import Metrics, Term, Terms

TERMS: Mapping[str, Term] = {"shape": Term(("mouth_rnn",), uses=("footage",))}


def check(config, active: set[str]) -> None:
    """Raises ConfigError where a setting of the system has an invalid value."""
    if config.model.dtype != "float32":
        raise ConfigError(f"config.model.dtype is {config.model.dtype!r}", "this system computes in float32")
    for key, most in (("coefficients", 2 * POINTS), ("bank", 100_000), ("cells", 10_000)):
        if not 1 <= (value := config.model[key]) <= most:
            raise ConfigError(f"config.model.{key} is {value}", f"it must be from 1 to {most:,}")
    if not 0 <= config.model.delay <= 100:
        raise ConfigError(f"config.model.delay is {config.model.delay}", "it must be from 0 to 100 columns of 10 ms")


def batch(config, active: set[str], modalities: tuple[str, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of the arrays that the step reads."""
    clips = config.data.batch_size
    return {
        "speech": jax.ShapeDtypeStruct((clips, CLIP_FRAMES, MFCC_PER_FRAME, MFCC_WIDTH), jnp.float32),
        "lips": jax.ShapeDtypeStruct((clips, CLIP_FRAMES, POINTS, 2), jnp.float32),
    }


def prepare(config) -> dict[str, Any]:
    """The weights that are fitted to the clips before the first step; see `footage.fit`."""
    return {"footage": {"params": footage.fit(config), "batch_stats": {}}}


def forward(networks: Networks, batch: Batch) -> Tree:
    """Mouth shapes `[B, T, K]`: `predicted` from speech, `true` of the clips' lips."""
    return {"predicted": networks("mouth_rnn", batch["speech"]), "true": networks("footage", batch["lips"])}


def discriminator_losses(networks: Networks, outputs: Tree, batch: Batch) -> tuple[Terms, Metrics]:
    """There is no discriminator."""
    return {}, {}


def generator_losses(networks: Networks, outputs: Tree, batch: Batch) -> tuple[Terms, Metrics]:
    """Squared error of the shapes, summed over coefficients; the first coefficient has variance 1."""
    true = jax.lax.stop_gradient(outputs["true"])
    return {("shape", ""): jnp.mean(jnp.sum(jnp.square(outputs["predicted"] - true), -1))}, {}

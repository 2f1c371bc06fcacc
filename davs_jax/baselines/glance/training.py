"""How "at a Glance" is trained: its autoencoder first, then the generator with four losses (paper, section 3.3)."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from davs_jax.baselines.glance.flow import optical_flow
from davs_jax.baselines.glance.networks import COLUMNS, FILTERS, FRAMES, lips_size
from davs_jax.constants import IMAGE_SIZES
from davs_jax.errors import ConfigError
from davs_jax.models.layers import flatten_time
from davs_jax.training import losses
from davs_jax.training.networks import Array, Batch, Networks, Tree, images
from davs_jax.training.terms import Metrics, Term, Terms

GENERATOR = ("lip_generator",)
CORRELATION = (*GENERATOR, "flow_encoder", "audio_derivative")
TERMS: Mapping[str, Term] = {
    "reconstruction": Term(("autoencoder",)),
    "gan": Term(GENERATOR, adversary="lip_discriminator"),
    "correlation": Term(CORRELATION),
    "correlation_fake": Term(CORRELATION),
    "perceptual": Term(GENERATOR, uses=("autoencoder",)),
    "l1": Term(GENERATOR),
}
GENERATES = frozenset(TERMS) - {"reconstruction"}


def check(config, active: set[str]) -> None:
    """Raises ConfigError where clips have no other to take mismatched audio from, the autoencoder is untrained, or the
    networks have no such size or type."""
    if config.model.image_size not in IMAGE_SIZES:
        raise ConfigError(f"config.model.image_size is {config.model.image_size}", f"it must be one of {IMAGE_SIZES}")
    if config.model.dtype != "float32":
        raise ConfigError(f"config.model.dtype is {config.model.dtype!r}", "this system computes in float32")
    if "gan" in active and config.data.batch_size // config.accumulate < 2:
        raise ConfigError(
            f"config.data.batch_size is {config.data.batch_size}, and config.loss.gan takes wrong audio of another",
            "set it to at least 2 (for each part of config.accumulate)",
        )
    if "perceptual" in active and "autoencoder" not in {*config.init_networks, *config.trained}:
        raise ConfigError(
            "config.loss.perceptual is above 0 without a trained autoencoder",
            "add the run of the stage autoencoder to config.init_from and 'autoencoder' to config.init_networks",
        )


def batch(config, active: set[str], modalities: tuple[str, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of the arrays that the step reads."""
    clips, side = config.data.batch_size, lips_size(config.model.image_size)
    found = {"frames": jax.ShapeDtypeStruct((clips, FRAMES, side, side, 3), jnp.uint8)}
    if active & GENERATES:
        found["photo"] = jax.ShapeDtypeStruct((clips, side, side, 3), jnp.uint8)
        found["speech"] = jax.ShapeDtypeStruct((clips, COLUMNS * FRAMES, FILTERS), jnp.float32)
    return found


def forward(networks: Networks, batch: Batch) -> Tree:
    """`fake` `[B, 16, h, h, 3]`, the embeddings of the correlation losses `[B, 15, 16]`, the autoencoder's features of
    both and what it `rebuilt`, as the stage's terms need them."""
    terms, outputs, real = networks.stage.terms, {}, images(batch["frames"])
    if "reconstruction" in terms:
        outputs["rebuilt"], _ = networks("autoencoder", flatten_time(real))
    if not terms & GENERATES:
        return outputs
    outputs["fake"], heard = networks("lip_generator", images(batch["photo"]), batch["speech"])
    if terms & {"correlation", "correlation_fake"}:
        outputs["audio_derivative"] = networks("audio_derivative", heard)
    for term, name, frames in (("correlation", "flow", real), ("correlation_fake", "flow_fake", outputs["fake"])):
        if term in terms:
            outputs[name] = networks("flow_encoder", optical_flow(frames))
    if "perceptual" in terms:  # as in the authors' code, real and generated frames are normalised each by themselves
        for name, frames in (("features", real), ("features_fake", outputs["fake"])):
            _, outputs[name] = networks("autoencoder", flatten_time(frames), train=True)
    return outputs


def discriminator_losses(networks: Networks, outputs: Tree, batch: Batch) -> tuple[Terms, Metrics]:
    """BCE real + ½ (BCE generated + BCE real frames with another clip's audio)."""
    if "lip_discriminator" not in networks.stage.adversaries:
        return {}, {}
    real, speech = images(batch["frames"]), batch["speech"]
    logits = [
        networks("lip_discriminator", frames, optical_flow(frames), heard)
        for frames, heard in ((real, speech), (outputs["fake"], speech), (real, jnp.roll(speech, 1, 0)))
    ]
    metrics = {
        f"accuracy/discriminator_{name}": jnp.mean((logit > 0) == label)
        for (name, label), logit in zip((("real", True), ("fake", False), ("wrong", False)), logits, strict=True)
    }
    true, fake, wrong = (losses.binary(logit, label) for logit, label in zip(logits, (1.0, 0.0, 0.0), strict=True))
    return {("lip_discriminator", ""): true + (fake + wrong) / 2}, metrics


def generator_losses(networks: Networks, outputs: Tree, batch: Batch) -> tuple[Terms, Metrics]:
    """The active terms, unweighted; images are compared in −1…1."""
    active, terms, real = networks.stage.terms, {}, images(batch["frames"])
    if "reconstruction" in active:
        terms["reconstruction", ""] = jnp.mean(jnp.square(2 * (outputs["rebuilt"] - flatten_time(real))))
    if "gan" in active:
        fake = outputs["fake"]
        terms["gan", ""] = losses.binary(networks("lip_discriminator", fake, optical_flow(fake), batch["speech"]), 1.0)
    for term, name in (("correlation", "flow"), ("correlation_fake", "flow_fake")):
        if term in active:
            terms[term, ""] = correlation(outputs["audio_derivative"], outputs[name])
    if "perceptual" in active:
        terms["perceptual", ""] = jnp.mean(jnp.square(outputs["features_fake"] - outputs["features"]))
    if "l1" in active:
        terms["l1", ""] = jnp.mean(jnp.abs(2 * (outputs["fake"] - real)))
    return terms, {}


def correlation(heard: Array, moved: Array) -> Array:
    """1 − cosine of two curves over time, each the mean over features of `[B, 15, 16]`; averaged over clips."""
    heard, moved = heard.mean(-1), moved.mean(-1)
    return jnp.mean(1 - jnp.sum(losses.l2_normalised(heard) * losses.l2_normalised(moved), -1))

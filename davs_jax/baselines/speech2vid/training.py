"""How Speech2Vid is trained: L1 between frames, then a network that sharpens blurred ones."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from davs_jax.baselines.speech2vid.networks import COEFFICIENTS, COLUMNS, LEAST_SIZE
from davs_jax.constants import CLIP_FRAMES
from davs_jax.errors import ConfigError
from davs_jax.models.layers import flatten_time, stack_on_channels
from davs_jax.training import losses
from davs_jax.training.networks import Array, Batch, Networks, Tree, images
from davs_jax.training.terms import Metrics, Term, Terms

FACE = ("identity_encoder", "speech_encoder", "face_decoder")
# The networks that `deblur` does not need are kept beside it, so that its run generates.
TERMS: Mapping[str, Term] = {"l1": Term(FACE), "deblur": Term(("deblurring",), uses=FACE)}
SIGMA, REACH = 2.0, 2  # of the blur that deblurring learns to undo, pixels


def check(config, active: set[str]) -> None:
    """Raises ConfigError where the clips are too short for the stills and the frames, or the images too small."""
    used = config.model.stills + config.model.sequence_frames
    if not 1 <= config.model.stills <= CLIP_FRAMES - 1 or used > CLIP_FRAMES:
        raise ConfigError(
            f"config.model.stills is {config.model.stills}, beside {config.model.sequence_frames} frames",
            f"a clip has {CLIP_FRAMES} frames for both",
        )
    if config.model.image_size < LEAST_SIZE:
        raise ConfigError(f"config.model.image_size is {config.model.image_size}", f"it must be at least {LEAST_SIZE}")


def batch(config, active: set[str], modalities: tuple[str, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of the arrays that the step reads."""
    clips, frames, size = config.data.batch_size, config.model.sequence_frames, config.model.image_size
    found = {"frames": jax.ShapeDtypeStruct((clips, frames, size, size, 3), jnp.uint8)}
    if "l1" in active:
        found["stills"] = jax.ShapeDtypeStruct((clips, config.model.stills, size, size, 3), jnp.uint8)
        found["speech"] = jax.ShapeDtypeStruct((clips, frames, COLUMNS, COEFFICIENTS), jnp.float32)
    return found


def forward(networks: Networks, batch: Batch) -> Tree:
    """`fake` `[B, T, S, S, 3]` and `sharpened` `[B·T, S, S, 3]`, as the stage's terms need them."""
    outputs, frames = {}, images(batch["frames"])
    if "l1" in networks.stage.terms:
        identity, maps = networks("identity_encoder", stack_on_channels(images(batch["stills"])))
        wid = networks("speech_encoder", flatten_time(batch["speech"]))

        def each(x: Array) -> Array:
            return jnp.repeat(x, frames.shape[1], 0)

        fakes = networks("face_decoder", each(identity), wid, jax.tree.map(each, maps), flatten_time(frames))
        outputs["fake"] = fakes.reshape(frames.shape)
    if "deblur" in networks.stage.terms:
        blurred = blur(flatten_time(frames))
        outputs["sharpened"] = blurred + networks("deblurring", blurred)
    return outputs


def discriminator_losses(networks: Networks, outputs: Tree, batch: Batch) -> tuple[Terms, Metrics]:
    """There is no discriminator."""
    return {}, {}


def generator_losses(networks: Networks, outputs: Tree, batch: Batch) -> tuple[Terms, Metrics]:
    """The active terms, unweighted."""
    frames, terms = images(batch["frames"]), {}
    if "fake" in outputs:
        terms["l1", ""] = losses.l1(outputs["fake"], frames)
    if "sharpened" in outputs:
        terms["deblur", ""] = 255**2 * jnp.mean(jnp.square(outputs["sharpened"] - flatten_time(frames)))
    return terms, {}


def blur(x: Array) -> Array:
    """Gaussian blur of `[N, S, S, C]`, 5 × 5 pixels of σ 2; borders are repeated."""
    weights = jnp.exp(-jnp.square(jnp.arange(-REACH, REACH + 1) / SIGMA) / 2)
    weights /= weights.sum()
    for axis in (1, 2):
        pad = [(REACH, REACH) if i == axis else (0, 0) for i in range(4)]
        padded, side = jnp.pad(x, pad, "edge"), x.shape[axis]
        parts = [jax.lax.slice_in_dim(padded, i, i + side, axis=axis) for i in range(2 * REACH + 1)]
        x = sum(weight * part for weight, part in zip(weights, parts, strict=True))
    return x

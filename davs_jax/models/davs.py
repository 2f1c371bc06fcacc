"""The networks of DAVS.

One rule holds at every image size S: depth and kernel sizes are those of 256 px, feature maps scale with S, and a
kernel that covers a whole map (or the whole mouth) at 256 px covers it at any size. Channels scale with `width`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from davs_jax.constants import IMAGE_SIZES, MFCC_LENGTH, SPECTRA
from davs_jax.errors import ConfigError
from davs_jax.models.audio_encoder import AudioEncoder
from davs_jax.models.classifiers import (
    ModalityDiscriminator,
    PersonAdversary,
    PersonClassifier,
    WordAdversary,
    WordClassifier,
)
from davs_jax.models.decoder import Decoder
from davs_jax.models.discriminators import Discriminator
from davs_jax.models.person_encoder import PersonEncoder
from davs_jax.models.syncnet import COEFFICIENTS, COLUMNS, FRAMES, SyncNet
from davs_jax.models.visual_encoder import VisualEncoder

STRIDES = (2, 4, 8, 16, 32)  # of the person encoder's maps
# Networks of the discriminator player, which only training needs.
ADVERSARIES = (
    *("word_adversary", "person_adversary", "modality_discriminator"),
    *("sequence_discriminator", "frame_discriminator"),
)


def build(model) -> dict[str, nn.Module]:
    """The networks of a model config, by name.

    Args:
      model: `config.model` of `configs/common.py`.

    Raises:
      ConfigError: the topology has no such image size or skip.
    """
    if model.image_size not in IMAGE_SIZES:
        raise ConfigError(f"config.model.image_size is {model.image_size}", f"it must be one of {IMAGE_SIZES}")
    if model.visual_size not in (0, *(size for size in IMAGE_SIZES if size <= model.image_size)):
        raise ConfigError(
            f"config.model.visual_size is {model.visual_size}",
            f"it must be 0 or one of {IMAGE_SIZES}, and at most config.model.image_size, {model.image_size}",
        )
    for key in ("skips", "word_skips"):
        if unknown := set(model[key]) - set(STRIDES):
            raise ConfigError(
                f"config.model.{key} names strides {sorted(unknown)}", f"the maps have {', '.join(map(str, STRIDES))}"
            )
    if model.flow and not model.blend:
        raise ConfigError(
            "config.model.flow moves the photo, which config.model.blend=False does not use", "set blend to True"
        )
    if model.flow_stride not in STRIDES:
        raise ConfigError(f"config.model.flow_stride is {model.flow_stride}", f"it must be one of {STRIDES}")
    shared = {"width": model.width, "dtype": jnp.dtype(model.dtype)}
    bilinear = {"align_corners": model.align_corners}
    discriminator = Discriminator(**shared)
    return {
        "person_encoder": PersonEncoder(embed_dim=model.embed_dim, **shared),
        "visual_encoder": VisualEncoder(
            model.visual_size, embed_dim=model.wid_dim, dropout=model.dropout, **bilinear, **shared
        ),
        "audio_encoder": AudioEncoder(embed_dim=model.wid_dim, **shared),
        "decoder": Decoder(
            skips=tuple(model.skips),
            word_skips=tuple(model.word_skips),
            blend=model.blend,
            flow=model.flow,
            flow_stride=model.flow_stride,
            **bilinear,
            **shared,
        ),
        "word_classifier": WordClassifier(model.num_words, model.width),
        "person_classifier": PersonClassifier(model.num_identities, model.dropout),
        "word_adversary": WordAdversary(model.num_words, model.width, model.dropout),
        "person_adversary": PersonAdversary(model.num_identities, model.width),
        "modality_discriminator": ModalityDiscriminator(model.wid_dim),
        "sequence_discriminator": discriminator,
        "frame_discriminator": discriminator,
        "syncnet": SyncNet(model.width, model.sync_size),
    }


def example_inputs(model, batch: int = 1) -> dict[str, tuple]:
    """Shapes and types of every network's inputs, to initialise it and to list it."""
    size, words, spectrum = model.image_size, model.word_frames, SPECTRA[model.spectrum]

    def array(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, *shape), jnp.float32)

    images, wid = array(size, size, 3), array(model.wid_dim)
    encoder = build(model)["person_encoder"]
    pid, maps = jax.eval_shape(
        lambda key, x: encoder.init_with_output(key, x, train=False)[0], jax.random.key(0), images
    )
    frames = {"sequence_discriminator": model.sequence_frames, "frame_discriminator": 1}
    return {
        "person_encoder": (images,),
        "visual_encoder": (images,),
        "audio_encoder": (array(MFCC_LENGTH, spectrum),),
        "decoder": (pid, wid, maps, images),
        "word_classifier": (array(words, model.wid_dim),),
        "person_classifier": (pid,),
        "word_adversary": (array(model.adversary_frames, *maps[4].shape[1:]),),
        "person_adversary": (wid,),
        "modality_discriminator": (wid,),
        **{name: (array(t, size, size, 3), array(t, MFCC_LENGTH, spectrum)) for name, t in frames.items()},
        "syncnet": (array(FRAMES, model.sync_size, model.sync_size, 3), array(COLUMNS, COEFFICIENTS)),
    }

"""The four networks of Speech2Vid.

At 112 px and width 1 kernels and channels are the published ones. At other sizes the maps scale, the last convolution
of the identity encoder covers the whole of its map, and the decoder enlarges its maps to the sides of the encoder's;
the published decoder reaches them by uneven paddings.
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from davs_jax.models.batch_norm import BatchNorm
from davs_jax.models.layers import Array, Dtype, at_least_float32, conv, kaiming_fan_out, scaled, torch_default

COLUMNS, COEFFICIENTS = 35, 12  # of a frame's MFCC window
ADVERSARIES: tuple[str, ...] = ()
LEAST_SIZE = 64  # pixels: below, the identity encoder's last map would be empty


def build(model) -> dict[str, nn.Module]:
    """The networks by name; `model` has `stills`, `width`, `dtype` and `embed_dim` of the config."""
    shared = {"width": model.width, "dtype": jnp.dtype(model.dtype)}
    return {
        "identity_encoder": IdentityEncoder(model.embed_dim, **shared),
        "speech_encoder": SpeechEncoder(model.embed_dim, **shared),
        "face_decoder": FaceDecoder(**shared),
        "deblurring": Deblurring(**shared),
    }


def example_inputs(model, batch: int = 1) -> dict[str, tuple]:
    """Shapes and types of every network's inputs."""

    def array(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, *shape), jnp.float32)

    size = model.image_size
    stills = array(size, size, 3 * model.stills)
    encoder = build(model)["identity_encoder"]
    identity, maps = jax.eval_shape(
        lambda key, x: encoder.init_with_output(key, x, train=False)[0], jax.random.key(0), stills
    )
    return {
        "identity_encoder": (stills,),
        "speech_encoder": (array(COLUMNS, COEFFICIENTS),),
        "face_decoder": (identity, array(model.embed_dim), maps, array(size, size, 3)),
        "deblurring": (array(size, size, 3),),
    }


class IdentityEncoder(nn.Module):
    """Stills stacked on channels `[N, S, S, 3·K]` in 0…1 → identity `[N, E]` and the maps that the decoder reads, from
    fine to coarse: `{"conv1", "pool1", "conv2"}`."""

    embed_dim: int = 256
    width: float = 1.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, stills: Array, train: bool) -> tuple[Array, dict[str, Array]]:
        def layer(x: Array, name: str, channels: int, kernel, stride=1, padding=0) -> Array:
            x = conv(channels, kernel, stride, padding, kernel_init=kaiming_fan_out, dtype=self.dtype, name=name)(x)
            return nn.relu(BatchNorm(name=f"{name}_norm")(x, train))

        scale = functools.partial(scaled, width=self.width)
        x = maps1 = layer(stills.astype(self.dtype), "conv1", scale(96), 7, 2)
        x = maps2 = max_pool(x, (2, 2), ((0, 0), (0, 0)))
        x = maps3 = layer(x, "conv2", scale(256), 5, 2, 1)
        x = max_pool(x, (2, 2), ((0, 1), (0, 1)))
        for i in (3, 4, 5):
            x = layer(x, f"conv{i}", scale(512), 3, 1, 1)
        x = layer(x, "conv6", scale(512), x.shape[1])
        x = layer(x, "conv7", self.embed_dim, 1)
        return at_least_float32(x[:, 0, 0]), {"conv1": maps1, "pool1": maps2, "conv2": maps3}


class SpeechEncoder(nn.Module):
    """mfcc `[N, 35, 12]` (time × coefficient, unnormalised) → wid `[N, E]`. The published input is coefficient × time.

    The published first pooling is 1×1: none.
    """

    embed_dim: int = 256
    width: float = 1.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, mfcc: Array, train: bool) -> Array:
        def layer(x: Array, name: str, channels: int, kernel=3, padding=1) -> Array:
            x = conv(channels, kernel, 1, padding, kernel_init=kaiming_fan_out, dtype=self.dtype, name=name)(x)
            return nn.relu(BatchNorm(name=f"{name}_norm")(x, train))

        scale = functools.partial(scaled, width=self.width)
        x = mfcc.transpose(0, 2, 1)[..., None].astype(self.dtype)
        x = layer(layer(x, "conv1", scale(64)), "conv2", scale(128))
        x = max_pool(x, (1, 2), ((1, 0), (0, 0)))
        for i in (3, 4, 5):
            x = layer(x, f"conv{i}", scale(256))
        x = max_pool(x, (2, 2), ((0, 0), (0, 0)))
        x = layer(x, "fc6", scale(512), x.shape[1:3], 0)
        return at_least_float32(layer(x, "fc7", self.embed_dim, 1, 0)[:, 0, 0])


class FaceDecoder(nn.Module):
    """identity, wid `[N, E]`, the identity encoder's maps, and an image `[N, S, S, 3]` of which only the size is read →
    frames `[N, S, S, 3]` in 0…1."""

    width: float = 1.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, identity: Array, wid: Array, maps: dict[str, Array], image: Array, train: bool) -> Array:
        def layer(x: Array, name: str, channels: int, kernel=3) -> Array:
            features = scaled(channels, self.width)
            padding = kernel // 2
            init = kaiming_fan_out
            return nn.relu(conv(features, kernel, 1, padding, kernel_init=init, dtype=self.dtype, name=name)(x))

        def enlarged(x: Array, side: int) -> Array:
            return jax.image.resize(x, (len(x), side, side, x.shape[-1]), "linear")

        fine, middle, coarse = (maps[name].astype(self.dtype) for name in ("conv1", "pool1", "conv2"))
        x = jnp.concatenate([wid, identity], -1)[:, None, None].astype(self.dtype)
        x = layer(x, "conv8", 128, 1)
        x = layer(enlarged(x, 2), "conv1_1", 128)
        x = layer(enlarged(x, 4), "conv1_2", 256)
        x = layer(enlarged(x, -(-coarse.shape[1] // 2)), "conv1_3", 512)
        x = layer(enlarged(x, coarse.shape[1]), "conv2", 256)
        x = enlarged(jnp.concatenate([coarse, x], -1), middle.shape[1])
        x = layer(layer(x, "conv3_1", 256), "conv3_2", 96, 5)
        x = enlarged(jnp.concatenate([middle, x], -1), fine.shape[1])
        x = layer(x, "conv4", 96)
        x = enlarged(jnp.concatenate([fine, x], -1), image.shape[1])
        x = layer(layer(x, "conv5_1", 64), "conv5_2", 32)
        return nn.sigmoid(at_least_float32(conv(3, 3, 1, 1, dtype=self.dtype, name="conv5_3")(x)))


class Deblurring(nn.Module):
    """Blurred images `[N, S, S, 3]` in 0…1 → what to add to them: ten convolutions, a small VDSR."""

    width: float = 1.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: Array, train: bool) -> Array:
        x = images.astype(self.dtype)
        for i in range(9):
            features = scaled(64, self.width)
            x = nn.relu(conv(features, 3, 1, 1, kernel_init=kaiming_fan_out, dtype=self.dtype, name=f"conv{i}")(x))
        return at_least_float32(conv(3, 3, 1, 1, kernel_init=torch_default, dtype=self.dtype, name="conv9")(x))


def max_pool(x: Array, strides: tuple[int, int], padding: Sequence[tuple[int, int]]) -> Array:
    """3×3 max pooling."""
    return nn.max_pool(x, (3, 3), strides, padding)

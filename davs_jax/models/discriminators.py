"""Sequence and frame discriminators: are the frames real, and do they match the audio?
(official `network/Discriminator_networks.py`, class `Discriminator`)."""

import flax.linen as nn
import jax.numpy as jnp

from davs_jax.models.batch_norm import BatchNorm
from davs_jax.models.layers import (
    Array,
    Dtype,
    at_least_float32,
    conv,
    leaky_relu,
    scaled,
    stack_on_channels,
    torch_default,
)

small = nn.initializers.normal(0.02)


def mouth_on_map(image_size: int) -> tuple[slice, slice]:
    """Rows and columns of the mouth on the feature map of side S/8 − 1: 19:28 × 11:20 at 256 px, in proportion."""
    rows, columns = ((round(edge * image_size / 256) for edge in span) for span in ((19, 28), (11, 20)))
    return slice(*rows), slice(*columns)


class Discriminator(nn.Module):
    """frames `[B, T, S, S, 3]` in 0…1, speech `[B, T, 20, C]` → patch logits `[B, h, w]`, match logit `[B]`.

    With T = 6 it is the sequence discriminator, with T = 1 the frame discriminator. Kernels that cover the whole mouth
    at 256 px (3×3, then 7×7 on its 9×9 map) cover it at every size.
    """

    width: float = 1.0
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, frames: Array, speech: Array, train: bool) -> tuple[Array, Array]:
        def plain(x: Array, name: str, features: int, kernel, stride=1, padding=0, use_bias=False) -> Array:
            return conv(
                features,
                kernel,
                stride,
                padding,
                use_bias=use_bias,
                kernel_init=small,
                dtype=self.dtype,
                name=name,
            )(x)

        def normed(x: Array, name: str, channels: int, kernel, stride=1, padding=0) -> Array:
            x = plain(x, name, scaled(channels, self.width), kernel, stride, padding)
            return BatchNorm(scale_init=_near_one, name=f"{name}_norm")(x, train)

        x = stack_on_channels(frames).astype(self.dtype)
        x = leaky_relu(plain(x, "conv1", scaled(64, self.width), 4, 2, 1, use_bias=True))
        x = leaky_relu(normed(x, "conv2", 128, 4, 2, 1))
        x = leaky_relu(normed(x, "conv3", 256, 4, 2, 1))
        x = leaky_relu(normed(x, "conv4", 512, 4, 1, 1))  # [B, S/8 − 1, S/8 − 1, 512]
        patch = plain(x, "patch", 1, 4, 1, 1, use_bias=True)

        rows, columns = mouth_on_map(frames.shape[2])
        mouth = x[:, rows, columns]
        mouth = leaky_relu(normed(mouth, "mouth1", 512, min(3, mouth.shape[1])))
        mouth = leaky_relu(plain(mouth, "mouth2", scaled(512, self.width), mouth.shape[1:3], use_bias=True))

        audio = speech.transpose(0, 2, 3, 1).astype(self.dtype)
        audio = normed(audio, "sound1", 64, 3, (3, 2), (1, 2))
        audio = normed(audio, "sound2", 128, 3, 2, 1)
        audio = normed(audio, "sound3", 256, 3)
        audio = normed(audio, "sound4", 256, audio.shape[1:3])
        both = at_least_float32(jnp.concatenate([mouth, audio], -1).reshape(frames.shape[0], -1))
        both = nn.Dense(scaled(512, self.width), kernel_init=torch_default, name="hidden")(both)
        match = nn.Dense(1, kernel_init=torch_default, name="match")(both)
        return at_least_float32(jnp.squeeze(patch, -1)), jnp.squeeze(match, -1)


def _near_one(key, shape, dtype=jnp.float32):
    return 1 + small(key, shape, dtype)

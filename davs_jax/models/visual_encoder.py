"""`E_w^v`: face frames → word vectors, through one hourglass of a face alignment network
(official `network/FAN_feature_extractor.py`)."""

import flax.linen as nn
import jax.numpy as jnp

from davs_jax.models.batch_norm import BatchNorm
from davs_jax.models.layers import (
    Array,
    Dtype,
    at_least_float32,
    average_pool,
    conv,
    max_pool,
    scaled,
    squeeze_channels,
    torch_default,
    upsample,
)


class FanBlock(nn.Module):
    """Pre-activation block: three 3×3 convolutions of ½, ¼ and ¼ of the features, concatenated, plus a shortcut."""

    features: int
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        def normed(y: Array, name: str) -> Array:
            return nn.relu(BatchNorm(name=name)(y, train))

        parts, y = [], x
        for i, features in enumerate((self.features // 2, self.features // 4, self.features // 4), start=1):
            y = conv(features, 3, padding=1, use_bias=False, dtype=self.dtype, name=f"conv{i}")(normed(y, f"norm{i}"))
            parts.append(y)
        if x.shape[-1] != self.features:
            x = conv(self.features, 1, use_bias=False, dtype=self.dtype, name="shortcut")(normed(x, "shortcut_norm"))
        return x + jnp.concatenate(parts, -1)


class Hourglass(nn.Module):
    """Four levels down and up; the side of the map must be divisible by 16 (it is S/4, so S ≥ 64)."""

    features: int
    dropout: float
    align_corners: bool
    depth: int = 4
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        return self._level(x, self.depth, train)

    def _level(self, x: Array, level: int, train: bool) -> Array:
        def block(y: Array, name: str) -> Array:
            return FanBlock(self.features, self.dtype, name=f"{name}_{level}")(y, train)

        upper = block(x, "upper")
        upper = nn.Dropout(self.dropout, deterministic=not train)(upper)
        lower = block(max_pool(x), "down")
        lower = self._level(lower, level - 1, train) if level > 1 else block(lower, "bottom")
        lower = block(lower, "up")
        return upper + upsample(lower, self.align_corners)


class VisualEncoder(nn.Module):
    """images `[N, S, S, 3]` → wid `[N, E]`, one word vector per frame.

    Ours, not in the published topology: with `size`, larger images are reduced to that side before they are read.
    """

    size: int = 0
    width: float = 1.0
    embed_dim: int = 256
    dropout: float = 0.5
    align_corners: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: Array, train: bool) -> Array:
        def block(y: Array, name: str, channels: int) -> Array:
            return FanBlock(scaled(channels, self.width), self.dtype, name=name)(y, train)

        def normed(y: Array, name: str) -> Array:
            return nn.relu(BatchNorm(name=name)(y, train))

        if self.size:
            images = average_pool(images, images.shape[1] // self.size)
        features = scaled(256, self.width)
        x = conv(scaled(64, self.width), 7, 2, 3, dtype=self.dtype, name="stem")(images.astype(self.dtype))
        x = block(normed(x, "stem_norm"), "block1", 128)
        x = block(max_pool(x), "block2", 128)
        x = block(x, "block3", 256)
        x = Hourglass(features, self.dropout, self.align_corners, dtype=self.dtype, name="hourglass")(x, train)
        x = block(x, "top", 256)
        x = normed(conv(features, 1, dtype=self.dtype, name="last")(x), "last_norm")
        x = conv(scaled(68, self.width), 1, dtype=self.dtype, name="landmarks")(x)  # [N, S/4, S/4, 68]
        channels = squeeze_channels(images.shape[1])
        x = conv(channels, 3, 2, 1, dtype=self.dtype, name="squeeze")(normed(x, "landmarks_norm"))  # [N, S/8, S/8, 1]
        x = nn.relu(x.reshape(x.shape[0], -1))
        return nn.Dense(self.embed_dim, kernel_init=torch_default, name="wid")(at_least_float32(x))

"""`E_w^a`: MFCC windows → word vectors (official `network/mfcc_networks.py`)."""

import flax.linen as nn
import jax.numpy as jnp

from davs_jax.models.batch_norm import BatchNorm
from davs_jax.models.layers import Array, Dtype, at_least_float32, conv, leaky_relu, scaled, torch_default


class AudioEncoder(nn.Module):
    """speech → wid `[N, E]`: MFCC `[N, 20, 12]` (time × coefficient, unnormalised) or log mel `[N, 20, 40]`.

    Two branches: one convolves over time and coefficients; the kernels of the other span all coefficients, and it
    subsamples time. Their last convolutions have no batch norm. The last kernel of the first covers its map (2 × 2 of
    MFCC).
    """

    width: float = 1.0
    embed_dim: int = 256
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, speech: Array, train: bool) -> Array:
        def layer(x: Array, name: str, channels: int, kernel, stride=1, padding=0) -> Array:
            features = scaled(channels, self.width)
            x = conv(features, kernel, stride, padding, use_bias=False, dtype=self.dtype, name=name)(x)
            return leaky_relu(BatchNorm(name=f"{name}_norm")(x, train))

        def last(x: Array, name: str, kernel) -> Array:
            return conv(scaled(512, self.width), kernel, use_bias=False, dtype=self.dtype, name=name)(x)

        x = speech.astype(self.dtype)[..., None]
        grid = layer(x, "grid1", 64, 3, (3, 2), (1, 2))
        grid = layer(grid, "grid2", 128, 3, 2, 1)
        grid = layer(grid, "grid3", 256, 3)
        grid = last(grid, "grid4", grid.shape[1:3])
        time = layer(x, "time1", 64, (3, speech.shape[-1]))[:, ::3]
        time = layer(time, "time2", 256, (3, 1), padding=(1, 0))[:, ::2]
        time = last(time, "time3", (3, 1))
        both = jnp.concatenate([grid, time], -1).reshape(speech.shape[0], -1)
        return nn.Dense(self.embed_dim, kernel_init=torch_default, name="wid")(at_least_float32(both))

"""SyncNet (Chung & Zisserman 2016): 0.2 s of a face and of its sound as two vectors, near where both are in time."""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from davs_jax.models.layers import Array, BatchNorm, conv, scaled, stack_on_channels, torch_default
from davs_jax.records import CLIP_FRAMES

SIZE = 224  # pixels a side of its pictures
FRAMES = 5  # pictures of one window
COLUMNS, COEFFICIENTS = 20, 13  # MFCC of one window
EMBED_DIM = 1024

# Training sees every second window of a clip, from its first or its second on: first frames, and frames that they span.
STARTS = range(0, CLIP_FRAMES - FRAMES, 2)
SPAN = STARTS[-1] + FRAMES


class _Tower(nn.Module):
    """Convolutions with norm and ReLU, pooled on the way, then two linear layers. `layers` lists, per convolution,
    its channels, kernel, stride and padding, and the stride and padding of the 3×3 pooling behind it, or None; `width`
    multiplies the channels."""

    layers: Sequence[tuple]
    width: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        for i, (channels, kernel, stride, padding, pooling) in enumerate(self.layers, start=1):
            x = conv(scaled(channels, self.width), kernel, stride, padding, name=f"conv{i}")(x)
            x = nn.relu(BatchNorm(name=f"conv{i}_norm")(x, train))
            if pooling:
                strides, pad = pooling
                x = nn.max_pool(x, (3, 3), strides, [(pad, pad), (pad, pad)])
        x = nn.Dense(scaled(512, self.width), kernel_init=torch_default, name="hidden")(x.reshape(len(x), -1))
        x = nn.relu(BatchNorm(name="hidden_norm")(x, train))
        return nn.Dense(EMBED_DIM, kernel_init=torch_default, name="vector")(x)


class SyncNet(nn.Module):
    """frames `[N, 5, 224, 224, 3]` (0…255, **BGR**) and mfcc `[N, 20, 13]` → two vectors `[N, 1024]`, face and sound.

    The official network's first convolution of the face is the only one that sees time, and it sees all five frames
    at once: here a plane convolution over frames stacked on channels.

    Attributes:
      width: multiplies every hidden channel count; 1 is the published network.
    """

    width: float = 1.0

    def setup(self):
        half = ((2, 2), 0)
        middle = [(256, 3, 1, 1, None), (256, 3, 1, 1, None)]
        self.face = _Tower(
            ((96, 7, 2, 0, half), (256, 5, 2, 1, ((2, 2), 1)), *middle, (256, 3, 1, 1, half), (512, 6, 1, 0, None)),
            self.width,
        )
        self.sound = _Tower(
            (
                *((64, 3, 1, 1, None), (192, 3, 1, 1, ((1, 2), 0)), (384, 3, 1, 1, None), (256, 3, 1, 1, None)),
                *((256, 3, 1, 1, half), (512, (5, 4), 1, 0, None)),
            ),
            self.width,
        )

    def __call__(self, frames: Array, mfcc: Array, train: bool) -> tuple[Array, Array]:
        return self.embed_face(frames, train), self.embed_sound(mfcc, train)

    def embed_face(self, frames: Array, train: bool) -> Array:
        return self.face(stack_on_channels(frames.astype(jnp.float32)), train)

    def embed_sound(self, mfcc: Array, train: bool) -> Array:
        """The official input is coefficient × time, so the rows of its maps are coefficients."""
        return self.sound(mfcc.astype(jnp.float32).transpose(0, 2, 1)[..., None], train)

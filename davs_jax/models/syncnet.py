"""SyncNet (Chung & Zisserman 2016): embeds 0.2 s of a face and of its audio; synchronous pairs are close.

The published network sees whole images of 224 px. Ours is smaller and sees the lower part of an aligned face at its own
resolution; small images that are enlarged to 224 px cost more and trained worse (docs/decisions.md).
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from davs_jax.constants import CLIP_FRAMES
from davs_jax.face_geometry import lower_middle
from davs_jax.models.batch_norm import BatchNorm
from davs_jax.models.convolution import convolve
from davs_jax.models.layers import CONVOLUTION, Array, conv, flatten_time, scaled, torch_default

SIZE = 224  # side of the published network's images in pixels
SIZES = (SIZE, 48, 96, 192)  # ours: three quarters of an aligned face's side, for faces of 64, 128 and 256 px
LOWER = 0.75  # the part of an aligned face's side that ours sees: the middle of the lower edge
FRAMES = 5  # images of one window
COLUMNS, COEFFICIENTS = 20, 13  # MFCC of one window
EMBED_DIM = 1024
CLIP_WINDOWS = CLIP_FRAMES - FRAMES  # windows of a clip whose audio ends within it


def mouth_part(images: Array) -> Array:
    """The part of aligned faces `[…, S, S, 3]` that our network sees, `[…, LOWER·S, LOWER·S, 3]`."""
    return lower_middle(images, round(LOWER * images.shape[-2]))


class _VideoConv(nn.Module):
    """A 2-D convolution over every FRAMES consecutive images, stacked on channels: `[B, T, H, W, C]` →
    `[B·(T − 4), h, w, features]`.

    Each image is convolved with the five parts of the kernel, and each window sums five of the results. Stacking the
    images first gives the same numbers from five times as many inputs, which takes a CPU twice as long.
    """

    features: int
    kernel: int
    stride: int
    padding: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, time, *_, channels = x.shape
        side, features, windows = self.kernel, self.features, time - FRAMES + 1
        kernel = self.param("kernel", torch_default, (side, side, FRAMES * channels, features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (features,), jnp.float32)
        parts = kernel.reshape(side, side, FRAMES, channels, features).swapaxes(2, 3).reshape(side, side, channels, -1)
        y = convolve(flatten_time(x), parts, (self.stride, self.stride), ((self.padding, self.padding),) * 2)
        y = y.reshape(batch, time, *y.shape[1:3], FRAMES, features)
        y = sum(y[:, i : i + windows, ..., i, :] for i in range(FRAMES)) + bias
        return checkpoint_name(flatten_time(y), CONVOLUTION)


def _max_pool(x: Array, strides: tuple[int, int], padding: int) -> Array:
    """3×3 max pooling of non-negative numbers, as maxima of strided slices, like `layers.max_pool`."""
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    for axis, stride in enumerate(strides, start=1):
        last = (x.shape[axis] - 3) // stride * stride
        x = functools.reduce(jnp.maximum, [jax.lax.slice_in_dim(x, i, i + last + 1, stride, axis) for i in range(3)])
    return x


class _Tower(nn.Module):
    """Convolutions with batch norm and ReLU, some followed by pooling, then two linear layers.

    Attributes:
      layers: per convolution its channels, kernel, stride and padding, and stride and padding of the 3×3 pooling after
        it, or None.
      width: multiplies the channels.

    The first convolution turns videos `[B, T, H, W, C]` into windows.
    """

    layers: Sequence[tuple]
    width: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        for i, (channels, kernel, stride, padding, pooling) in enumerate(self.layers, start=1):
            channels, name = scaled(channels, self.width), f"conv{i}"
            if x.ndim == 5:
                x = _VideoConv(channels, kernel, stride, padding, name=name)(x)
            else:
                x = conv(channels, kernel, stride, padding, name=name)(x)
            x = nn.relu(BatchNorm(name=f"{name}_norm")(x, train))
            x = _max_pool(x, *pooling) if pooling else x
        x = nn.Dense(scaled(512, self.width), kernel_init=torch_default, name="hidden")(x.reshape(len(x), -1))
        x = nn.relu(BatchNorm(name="hidden_norm")(x, train))
        return nn.Dense(EMBED_DIM, kernel_init=torch_default, name="vector")(x)


def _face_layers(size: int) -> tuple[tuple, ...]:
    """Channels, kernel, stride, padding and pooling of the face's convolutions; the last covers its map, 6 × 6."""
    middle = ((256, 3, 1, 1, None), (256, 3, 1, 1, None))
    if size == SIZE:
        half = ((2, 2), 0)
        return (96, 7, 2, 0, half), (256, 5, 2, 1, ((2, 2), 1)), *middle, (256, 3, 1, 1, half), (512, 6, 1, 0, None)
    half = ((2, 2), 1)
    second, last = 2 if size > 96 else 1, half if size > 48 else None
    return (96, 5, 2, 2, half), (256, 5, second, 2, half), *middle, (256, 3, 1, 1, last), (512, 6, 1, 0, None)


class SyncNet(nn.Module):
    """frames `[N, 5, 224, 224, 3]` (0…255, **BGR**) and mfcc `[N, 20, 13]` → face and audio vectors `[N, 1024]`.

    Longer videos `[B, T, 224, 224, 3]` give the vectors of every window, `[B·(T − 4), 1024]`. In the official network
    only the first convolution of the face spans time, and it spans all five frames of a window.

    Attributes:
      width: multiplies every hidden channel count; 1 is the published network.
      size: side of the images, one of SIZES; 224 is the published network.
    """

    width: float = 1.0
    size: int = SIZE

    def setup(self):
        self.face = _Tower(_face_layers(self.size), self.width)
        self.sound = _Tower(
            (
                *((64, 3, 1, 1, None), (192, 3, 1, 1, ((1, 2), 0)), (384, 3, 1, 1, None), (256, 3, 1, 1, None)),
                *((256, 3, 1, 1, ((2, 2), 0)), (512, (5, 4), 1, 0, None)),
            ),
            self.width,
        )

    def __call__(self, frames: Array, mfcc: Array, train: bool) -> tuple[Array, Array]:
        return self.embed_face(frames, train), self.embed_audio(mfcc, train)

    def embed_face(self, frames: Array, train: bool) -> Array:
        return self.face(frames.astype(jnp.float32), train)

    def embed_audio(self, mfcc: Array, train: bool) -> Array:
        """The official input is coefficient × time, so the rows of its maps are coefficients."""
        return self.sound(mfcc.astype(jnp.float32).transpose(0, 2, 1)[..., None], train)

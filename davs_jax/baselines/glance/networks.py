"""The five networks of "at a Glance"; at lips of 64 px and width 1 they are those of the authors' code.

Kernels that cover a whole map there cover it at every size. Images enter and leave in 0…1, and are −1…1 inside.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from davs_jax.models.batch_norm import BatchNorm
from davs_jax.models.convolution import convolve
from davs_jax.models.layers import Array, flatten_time, scaled, torch_default

FRAMES = 16  # generated at once
COLUMNS, FILTERS = 4, 128  # of a frame's log-mel spectrum
ADVERSARIES = ("lip_discriminator",)


def lips_size(image_size: int) -> int:
    """Side in pixels of the lip region of an aligned face."""
    return image_size // 2


def build(model) -> dict[str, nn.Module]:
    """The networks by name; `model` has `width` and `blocks` of the config."""
    return {
        "lip_generator": LipGenerator(model.blocks, model.width),
        "lip_discriminator": LipDiscriminator(model.width),
        "flow_encoder": FlowEncoder(),
        "audio_derivative": AudioDerivative(model.width),
        "autoencoder": Autoencoder(model.width),
    }


def example_inputs(model, batch: int = 1) -> dict[str, tuple]:
    """Shapes and types of every network's inputs."""

    def array(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, *shape), jnp.float32)

    side = lips_size(model.image_size)
    lips, audio = array(FRAMES, side, side, 3), array(COLUMNS * FRAMES, FILTERS)
    flow = array(FRAMES - 1, side // 4, side // 4, 2)
    return {
        "lip_generator": (array(side, side, 3), audio),
        "lip_discriminator": (lips, flow, audio),
        "flow_encoder": (flow,),
        "audio_derivative": (array(FRAMES, FILTERS // 8, scaled(256, model.width)),),
        "autoencoder": (array(side, side, 3),),
    }


class Conv(nn.Module):
    """A convolution of images `[N, H, W, C]` or of videos `[B, T, H, W, C]`.

    That of videos is a sum over time of convolutions of their images, so that its gradients are those of
    `models/convolution.py` too.

    Attributes:
      kernel: its sides.
      padding: at both ends of each axis.
    """

    features: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[int, ...]
    use_bias: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = self.param("kernel", torch_default, (*self.kernel, x.shape[-1], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32) if self.use_bias else 0.0
        sides = tuple((side, side) for side in self.padding[-2:])
        if x.ndim == 4:
            return convolve(x, kernel, self.strides, sides) + bias
        (batch, time), span, (stride, *strides), (reach, *_) = x.shape[:2], self.kernel[0], self.strides, self.padding
        of_frames = jnp.moveaxis(kernel, 0, 3).reshape(*self.kernel[1:], x.shape[-1], -1)
        y = convolve(flatten_time(x), of_frames, tuple(strides), sides)
        y = y.reshape(batch, time, *y.shape[1:3], span, self.features)
        y = jnp.pad(y, ((0, 0), (reach, reach), *((0, 0),) * 4))
        last = (y.shape[1] - span) // stride * stride
        return sum(y[:, i : i + last + 1 : stride, ..., i, :] for i in range(span)) + bias


class Layers(nn.Module):
    """What the networks share: a convolution and what follows it."""

    def layer(self, x: Array, name: str, features: int, kernel, strides=1, train: bool = False, norm=True) -> Array:
        """Convolution, batch norm, ReLU; a kernel of side k is padded by (k − 1) // 2, as in PyTorch."""
        axes = x.ndim - 2
        kernel, strides = (v if isinstance(v, tuple) else (v,) * axes for v in (kernel, strides))
        x = Conv(features, kernel, strides, tuple((k - 1) // 2 for k in kernel), not norm, name=name)(x)
        return nn.relu(BatchNorm(name=f"{name}_norm")(x, train) if norm else x)


def _reflected(x: Array, reach: int) -> Array:
    """Pads the two axes before the last by mirrored pixels."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [(reach, reach)] * 2 + [(0, 0)], "reflect")


class ImageEncoder(Layers):
    """Images `[N, H, W, 3]` in −1…1 → `[N, H/4, W/4, 256]`."""

    width: float = 1.0

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        scale = functools.partial(scaled, width=self.width)
        x = Conv(scale(64), (7, 7), (1, 1), (0, 0), name="conv0")(_reflected(x, 3))
        x = nn.relu(BatchNorm(name="conv0_norm")(x, train))
        x = self.layer(x, "conv1", scale(128), 3, 2, train)
        return self.layer(x, "conv2", scale(256), 3, 2, train)


class Residual(nn.Module):
    """Two 3×3 convolutions of every frame with batch norm, added to the input."""

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        extra, y = x.ndim - 4, x
        for i in range(2):
            sizes = (1,) * extra + (3, 3), (1,) * (extra + 2), (0,) * extra + (1, 1)
            y = Conv(x.shape[-1], *sizes, name=f"conv{i}")(y)
            y = BatchNorm(name=f"conv{i}_norm")(y, train)
            y = nn.relu(y) if i == 0 else y
        return x + y


class Enlarge(nn.Module):
    """A transposed 3×3(×3) convolution that doubles height and width, batch norm, ReLU."""

    features: int

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        *rest, height, width, channels = x.shape
        x = x.reshape(*rest, height, 1, width, 1, channels)
        x = jnp.pad(x, [(0, 0)] * (len(rest) + 1) + [(0, 1), (0, 0), (0, 1), (0, 0)])  # zeros between the pixels
        x = x.reshape(*rest, 2 * height, 2 * width, channels)
        axes = x.ndim - 2
        x = Conv(self.features, (3,) * axes, (1,) * axes, (1,) * axes, name="conv")(x)
        return nn.relu(BatchNorm(name="norm")(x, train))


class LipGenerator(Layers):
    """A lip image `[B, h, h, 3]` and log-mel audio `[B, 64, 128]` → frames `[B, 16, h, h, 3]`, all in 0…1, and the
    audio's features `[B, 16, 16, 256]` (time × frequency).

    Both are laid out on a grid of 16 moments and the rows and columns of the image's map, on whose rows the audio's
    frequencies lie, and fused by 3-D convolutions.
    """

    blocks: int = 9
    width: float = 1.0

    @nn.compact
    def __call__(self, image: Array, audio: Array, train: bool) -> tuple[Array, Array]:
        scale = functools.partial(scaled, width=self.width)
        heard = audio[..., None]
        for i, (channels, strides) in enumerate(((32, 1), (64, 2), (128, 1), (256, 2), (256, (1, 2)))):
            heard = self.layer(heard, f"audio{i}", scale(channels), 3, strides, train)
        seen = ImageEncoder(self.width, name="image")(2 * image - 1, train)
        side = seen.shape[1]
        rows = jax.image.resize(heard, (*heard.shape[:2], side, heard.shape[-1]), "linear")
        shape = (*heard.shape[:2], side, side)
        x = jnp.concatenate(
            [
                jnp.broadcast_to(seen[:, None], (*shape, seen.shape[-1])),
                jnp.broadcast_to(rows[:, :, :, None], (*shape, heard.shape[-1])),
            ],
            -1,
        )
        x = self.layer(x, "compress", scale(256), 3, 1, train)
        for i in range(self.blocks):
            x = Residual(name=f"block{i}")(x, train)
        x = Enlarge(scale(128), name="enlarge0")(x, train)
        x = Enlarge(scale(64), name="enlarge1")(x, train)
        x = Conv(3, (7, 7, 7), (1, 1, 1), (3, 3, 3), use_bias=True, name="frames")(x)
        return (jnp.tanh(x) + 1) / 2, heard


class LipDiscriminator(Layers):
    """Frames `[B, 16, h, h, 3]` in 0…1, their optical flow `[B, 15, h/4, h/4, 2]`, log-mel audio `[B, 64, 128]` →
    logit `[B]`: are the lips real, and is the audio theirs?"""

    width: float = 1.0

    @nn.compact
    def __call__(self, frames: Array, flow: Array, audio: Array, train: bool) -> Array:
        scale = functools.partial(scaled, width=self.width)
        heard = audio[..., None]
        for i, (channels, strides) in enumerate(((32, 1), (64, 2), (128, 1), (256, 2))):
            heard = self.layer(heard, f"audio{i}", scale(channels), 3, strides, train)
        heard = nn.relu(nn.Dense(scale(256), name="audio")(heard.reshape(len(heard), -1)))
        seen = self.layer(2 * frames - 1, "frames0", scale(64), 4, 2, train, norm=False)
        for i, (channels, strides) in enumerate(((128, 2), (256, 2), (256, (1, 2, 2))), start=1):
            seen = self.layer(seen, f"frames{i}", scale(channels), 4, strides, train)
        moved = self.layer(flow, "flow0", scale(64), 3, 2, train, norm=False)
        for i, (channels, strides) in enumerate(((128, (2, 1, 1)), (256, 2), (256, (2, 1, 1))), start=1):
            moved = self.layer(moved, f"flow{i}", scale(channels), 3, strides, train)
        grid = seen.shape[1:4]
        moved = jax.image.resize(moved, (len(moved), *grid, moved.shape[-1]), "linear")  # the same grid at 64 px
        heard = jnp.broadcast_to(heard[:, None, None, None], (len(heard), *grid, heard.shape[-1]))
        x = self.layer(jnp.concatenate([seen, moved, heard], -1), "joint", scale(512), 3, 1, train)
        return nn.Dense(1, kernel_init=torch_default, name="real")(x.reshape(len(x), -1))[:, 0]


class FlowEncoder(Layers):
    """Optical flow `[B, 15, s, s, 2]` → `[B, 15, 16]`: one vector for each moment."""

    @nn.compact
    def __call__(self, flow: Array, train: bool) -> Array:
        x = flow
        for i, channels in enumerate((4, 8, 16, 16)):
            x = self.layer(x, f"conv{i}", channels, 3, (1, 2, 2), train)
        return x.mean((2, 3))  # one place at 64 px


class AudioDerivative(Layers):
    """The generator's audio features `[B, 16, 16, 256]` → `[B, 15, 16]`, of their change from moment to moment."""

    width: float = 1.0

    @nn.compact
    def __call__(self, heard: Array, train: bool) -> Array:
        x = heard[:, :-1] - heard[:, 1:]
        for i, channels in enumerate((128, 64, 32, 16)):
            channels = scaled(channels, self.width) if channels > 16 else channels
            x = self.layer(x, f"conv{i}", channels, 3, (1, 2), train)
        return x[:, :, 0]


class Autoencoder(nn.Module):
    """Images `[N, h, h, 3]` → the same, rebuilt, all in 0…1, and their features `[N, h/4, h/4, 256]`."""

    width: float = 1.0

    @nn.compact
    def __call__(self, images: Array, train: bool) -> tuple[Array, Array]:
        x = ImageEncoder(self.width, name="encoder")(2 * images - 1, train)
        for i in range(6):
            x = Residual(name=f"block{i}")(x, train)
        features = x
        x = Enlarge(scaled(128, self.width), name="enlarge0")(x, train)
        x = Enlarge(scaled(64, self.width), name="enlarge1")(x, train)
        x = Conv(3, (7, 7), (1, 1), (0, 0), use_bias=True, name="image")(_reflected(x, 3))
        return (jnp.tanh(x) + 1) / 2, features

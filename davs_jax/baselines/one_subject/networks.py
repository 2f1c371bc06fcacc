"""The recurrent network of mouth shapes, and what is known of the person: a linear model of the lips, and frames."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from davs_jax.constants import CLIP_FRAMES, MFCC_PER_FRAME, MFCC_WIDTH
from davs_jax.models.batch_norm import BatchNorm
from davs_jax.models.layers import Array

ADVERSARIES: tuple[str, ...] = ()
POINTS = 18  # of the lips


def build(model) -> dict[str, nn.Module]:
    """The networks by name; `model` has `cells`, `delay`, `coefficients` and `bank` of the config."""
    return {
        "mouth_rnn": MouthRnn(model.cells, model.delay, model.coefficients),
        "footage": Footage(model.coefficients, model.bank, model.image_size),
    }


def example_inputs(model, batch: int = 1) -> dict[str, tuple]:
    """Shapes and types of every network's inputs."""

    def array(*shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, CLIP_FRAMES, *shape), jnp.float32)

    return {"mouth_rnn": (array(MFCC_PER_FRAME, MFCC_WIDTH),), "footage": (array(POINTS, 2),)}


class MouthRnn(nn.Module):
    """MFCC `[B, T, 4, 12]` of T frames, columns 10 ms apart → mouth shapes `[B, T, K]`.

    One unidirectional LSTM over the columns and their changes; the shape of a frame is read `delay` columns after the
    frame's middle, so the network has heard that much of what follows (paper, section 4.2.1). After the end comes
    silence.
    """

    cells: int = 60
    delay: int = 20
    coefficients: int = 20

    @nn.compact
    def __call__(self, mfcc: Array, train: bool) -> Array:
        batch, frames = mfcc.shape[:2]
        x = mfcc.reshape(batch, -1, mfcc.shape[-1])
        x = jnp.concatenate([x, jnp.diff(x, axis=1, prepend=x[:, :1])], -1)
        x = BatchNorm(name="norm")(x, train)
        x = jnp.pad(x, ((0, 0), (0, self.delay + MFCC_PER_FRAME), (0, 0)))
        x = nn.RNN(nn.OptimizedLSTMCell(self.cells), name="lstm")(x)
        at = MFCC_PER_FRAME * jnp.arange(frames) + MFCC_PER_FRAME // 2 + self.delay
        return nn.Dense(self.coefficients, name="shape")(x[:, at])


class Footage(nn.Module):
    """What `footage.fit` has found in the person's clips; nothing of it is trained.

    Lip points `[…, 18, 2]`, in sides of the image → coefficients `[…, K]`, whose first has variance 1.
    """

    coefficients: int
    bank: int
    image_size: int

    @nn.compact
    def __call__(self, lips: Array, train: bool) -> Array:
        zeros, size = nn.initializers.zeros, self.image_size
        mean = self.param("mean", zeros, (2 * POINTS,))
        basis = self.param("basis", zeros, (2 * POINTS, self.coefficients))
        self.param("shapes", zeros, (self.bank, self.coefficients))  # of the bank's frames
        self.param("faces", zeros, (self.bank, size // 2, size // 2, 3))  # their lower halves' middle, 0…255
        self.param("proxy", zeros, ())  # the index of the frame with the sharpest teeth
        return (lips.reshape(*lips.shape[:-2], -1) - mean) @ basis

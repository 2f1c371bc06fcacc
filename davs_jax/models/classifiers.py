"""Classifiers of words and persons, and the adversaries that the encoders learn to fool."""

import flax.linen as nn
import jax.numpy as jnp

from davs_jax.models.layers import Array, conv, scaled, squeeze_channels, torch_default

nearly_zero = nn.initializers.normal(1e-4)


class WordClassifier(nn.Module):
    """`C_w`, shared by both modalities: wid `[B, 12, E]` → word logits `[B, words]` (official `ModelFusion`)."""

    num_words: int
    width: float = 1.0

    def setup(self):
        self.hidden = nn.Dense(scaled(512, self.width), kernel_init=nearly_zero)
        self.logits = nn.Dense(self.num_words, kernel_init=torch_default)

    def __call__(self, wid: Array, train: bool) -> Array:
        return self.logits(self.features(wid, train))

    def features(self, wid: Array, train: bool) -> Array:
        """What the last layer reads: wid `[B, 12, E]` → `[B, H]`."""
        return nn.relu(self.hidden(wid.reshape(wid.shape[0], -1)))


class PersonClassifier(nn.Module):
    """`C_p`: pid `[N, E]` → identity logits `[N, identities]` (official `Face_ID_fc`; its training code is ours)."""

    num_identities: int
    dropout: float = 0.5

    @nn.compact
    def __call__(self, pid: Array, train: bool) -> Array:
        x = nn.Dropout(self.dropout, deterministic=not train)(pid)
        return nn.Dense(self.num_identities, kernel_init=torch_default, name="logits")(x)


class WordAdversary(nn.Module):
    """Predicts the word from person maps: `[B, T, S/4, S/4, C]` → logits `[B, words]` (official `ID_dis32`)."""

    num_words: int
    width: float = 1.0
    dropout: float = 0.5

    @nn.compact
    def __call__(self, maps: Array, train: bool) -> Array:
        batch, time = maps.shape[:2]
        x = maps.reshape(batch * time, *maps.shape[2:])
        small = nn.initializers.normal(0.02)
        channels = squeeze_channels(4 * x.shape[1])
        x = conv(channels, 3, 2, 1, kernel_init=small, name="squeeze")(x)  # [B·T, S/8, S/8, 1]
        x = nn.relu(x).reshape(batch * time, -1)
        x = nn.Dense(scaled(128, self.width), kernel_init=torch_default, name="frame")(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(x.reshape(batch, -1))
        return nn.Dense(self.num_words, kernel_init=nearly_zero, name="logits")(x)


class PersonAdversary(nn.Module):
    """Predicts the person from one word vector: wid `[N, E]` → identity logits `[N, identities]`.

    The paper mentions it, but its code was not released; the two hidden layers are our choice.
    """

    num_identities: int
    width: float = 1.0

    @nn.compact
    def __call__(self, wid: Array, train: bool) -> Array:
        x = wid
        for name in ("hidden1", "hidden2"):
            x = nn.relu(nn.Dense(scaled(512, self.width), kernel_init=torch_default, name=name)(x))
        return nn.Dense(self.num_identities, kernel_init=torch_default, name="logits")(x)


class ModalityDiscriminator(nn.Module):
    """wid `[N, E]` → logit `[N]` that it was computed from audio (official `discriminator_audio`)."""

    embed_dim: int = 256

    @nn.compact
    def __call__(self, wid: Array, train: bool) -> Array:
        x = nn.relu(nn.Dense(self.embed_dim, kernel_init=torch_default, name="hidden")(wid))
        return jnp.squeeze(nn.Dense(1, kernel_init=torch_default, name="logit")(x), -1)

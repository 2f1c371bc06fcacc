"""`G`: one person vector and one word vector → a face frame (official `network/Decoder_networks.py`)."""

import flax.linen as nn
import jax.numpy as jnp

from davs_jax.models.batch_norm import BatchNorm
from davs_jax.models.layers import (
    Array,
    Dtype,
    at_least_float32,
    conv,
    kaiming_fan_out,
    scaled,
    torch_default,
    upsample,
)
from davs_jax.models.warp import warp

# (stride of a block's map, its channels, its convolutions); each block ends by doubling the resolution.
BLOCKS = ((64, 512, 2), (32, 512, 3), (16, 256, 4), (8, 256, 4), (4, 128, 3), (2, 64, 2))

DARKEST = 0.02  # photos are clipped to 0.02…0.98 before their logit is taken
OPEN = 2.0  # logit of the mask at the start of training: 0.88
faint = nn.initializers.variance_scaling(0.01, "fan_in", "normal")  # so that training starts at the photo


class Decoder(nn.Module):
    """pid, wid `[N, E]`, maps of the person encoder, photo `[N, S, S, 3]` → frames `[N, S, S, 3]` in 0…1.

    The first map is S/64 on a side and computed from the two vectors alone; the person map of stride 8 is concatenated
    at its resolution. Ours, not in the published topology: `skips` may name more strides (32, 16, 4, 2); `word_skips`
    names strides at which wid is concatenated again, broadcast over the map; and with `blend` the output is
    mask · generated + (1 − mask) · photo, where the mask is a fourth channel and the other three are added to the
    logits of the photo. Training then starts at the photo with an open mask: a closed mask would let no gradient reach
    the generated image, and the mouth would stay closed. Without `blend` the photo is not used. With `flow` the map of
    stride `flow_stride` also gives a smooth field of displacements that moves the photo's own pixels, and the rest of
    the network changes and covers the moved photo. Both are sown: `field` `[N, S, S, 2]`, by which generation moves the
    full-size photo, and `moved` `[N, S, S, 3]`, which the loss `warp` compares with the real frame.
    """

    width: float = 1.0
    skips: tuple[int, ...] = (8,)
    word_skips: tuple[int, ...] = ()
    blend: bool = False
    flow: bool = False
    flow_stride: int = 4
    align_corners: bool = True
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, pid: Array, wid: Array, maps: dict[int, Array], photo: Array, train: bool) -> Array:
        def normed(x: Array, name: str) -> Array:
            return nn.relu(BatchNorm(name=f"{name}_norm")(x, train))

        def layer(x: Array, name: str, features: int, init=kaiming_fan_out) -> Array:
            return normed(conv(features, 3, 1, 1, kernel_init=init, packed=True, dtype=self.dtype, name=name)(x), name)

        start = photo.shape[1] // 64
        # The layers that read vectors are cheap: they compute in float32, whatever the type of the maps.
        x = jnp.concatenate([pid, wid], -1)[:, None, None, :]
        x = nn.ConvTranspose(
            scaled(512, self.width), (start, start), padding="VALID", kernel_init=torch_default, name="start"
        )(x)
        x = normed(x, "start").astype(self.dtype)
        for number, (stride, channels, convolutions) in enumerate(BLOCKS, start=1):
            if stride in self.skips:
                x = jnp.concatenate([maps[stride].astype(self.dtype), x], -1)
            if stride in self.word_skips:
                word = nn.Dense(scaled(128, self.width), name=f"word{stride}")(wid)
                word = normed(word, f"word{stride}").astype(self.dtype)
                word = jnp.broadcast_to(word[:, None, None, :], (*x.shape[:3], word.shape[-1]))
                x = jnp.concatenate([x, word], -1)
            for i in range(convolutions):
                x = layer(x, f"block{number}_{i}", scaled(channels, self.width))
            if self.flow and stride == self.flow_stride:
                field = self._field(x, photo.shape[1])
                photo = warp(photo, field)
                self.sow("intermediates", "field", field)
                self.sow("intermediates", "moved", photo)
            x = upsample(x, self.align_corners)
        # The official code ends with two 3×3 transposed convolutions of stride 1: convolutions with a flipped kernel.
        x = layer(x, "last", scaled(32, self.width), torch_default)
        if not self.blend:
            x = at_least_float32(conv(3, 3, 1, 1, packed=True, dtype=self.dtype, name="image")(x))
            return (jnp.tanh(x) + 1) / 2
        x = at_least_float32(conv(4, 3, 1, 1, kernel_init=faint, packed=True, dtype=self.dtype, name="image")(x))
        known = jnp.clip(photo, DARKEST, 1 - DARKEST)
        generated = nn.sigmoid(jnp.log(known / (1 - known)) + x[..., :3])
        mask = nn.sigmoid(x[..., 3:] + OPEN)
        return mask * generated + (1 - mask) * photo

    def _field(self, x: Array, size: int) -> Array:
        """A map `[N, h, h, C]` → displacements in pixels `[N, S, S, 2]`; it learns them in 64ths of the side."""
        field = at_least_float32(conv(2, 3, 1, 1, kernel_init=faint, dtype=self.dtype, name="flow")(x))
        while field.shape[1] < size:
            field = upsample(field, self.align_corners)
        return field * (size / 64)

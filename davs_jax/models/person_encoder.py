"""`E_p`: a face image → the person vector and its feature maps (official `network/IdentityEncoder.py`)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from davs_jax.models.batch_norm import BatchNorm
from davs_jax.models.layers import Array, Dtype, at_least_float32, conv, convolutions, max_pool, scaled


class MaxBlock(nn.Module):
    """Two parallel convolutions with batch norm, and their element-wise maximum; no other nonlinearity.

    Both are computed as one convolution of twice the channels.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        init = nn.initializers.normal(1 / math.sqrt(self.kernel**2 * self.features))
        pads = self.kernel // 2
        sizes = (self.features, self.kernel, self.stride, pads)
        layers = [conv(*sizes, kernel_init=init, packed=True, dtype=self.dtype, name=f"conv_{name}") for name in "ab"]
        results = zip("ab", convolutions(layers, x), strict=True)
        return jnp.maximum(*(BatchNorm(name=f"norm_{name}")(y, train) for name, y in results))


class PersonEncoder(nn.Module):
    """images `[N, S, S, 3]` → pid `[N, E]` and maps `{stride: [N, S/stride, S/stride, C]}` for strides 2 … 32.

    At 256 px and width 1 the maps are 128×128×32, 64×64×64, 32×32×160, 16×16×320 and 8×8×256. The published decoder
    reads stride 8, the word adversary stride 4. The final average covers the whole map at every size.
    """

    width: float = 1.0
    embed_dim: int = 256
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: Array, train: bool) -> tuple[Array, dict[int, Array]]:
        def block(x: Array, name: str, channels: int, **kwargs) -> Array:
            features = channels if name == "block42" else scaled(channels, self.width)
            return MaxBlock(features, dtype=self.dtype, name=name, **kwargs)(x, train)

        x = block(images.astype(self.dtype), "block1", 32, kernel=7, stride=2)
        maps = {2: x}
        stages = ((4, 1, (32, 32, 64, 64)), (8, 2, (96, 96, 128, 128, 160, 160)), (16, 3, (320,) * 4))
        for stride, stage, channels in stages:
            x = max_pool(x)
            for i, c in enumerate(channels, start=1):
                x = block(x, f"block{stage}{i}", c)
            maps[stride] = x
        x = max_pool(x)
        x = block(x, "block41", 256, kernel=5)
        x = block(x, "block42", self.embed_dim, kernel=5)
        maps[32] = x
        return jnp.mean(at_least_float32(x), (1, 2)), jax.tree.map(at_least_float32, maps)

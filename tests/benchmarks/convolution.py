"""How much faster the kernel's gradient by matrix products is than XLA's own, on this CPU.

    python tests/benchmarks/convolution.py

prints, for convolutions of the networks at 64 px and width ¼, milliseconds (the best of five) of the forward, of XLA's
kernel gradient and of ours, and the last two's ratio.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from davs_jax.models.convolution import kernel_gradient

# Pictures, side, channels in and out, kernel, padding.
LAYERS = {
    "visual encoder, half of a block at 32 × 32": (192, 32, 16, 16, 3, 1),
    "visual encoder, half of a block at 16 × 16": (192, 16, 64, 32, 3, 1),
    "visual encoder, 1 × 1": (192, 16, 64, 64, 1, 0),
    "decoder, with a skip map": (64, 32, 40, 32, 3, 1),
    "decoder, last": (64, 64, 16, 16, 3, 1),
    "person encoder, at 8 × 8": (32, 8, 80, 80, 3, 1),
}


def milliseconds(function: Callable, *inputs: jax.Array) -> float:
    """The best of five runs, after one that compiles."""
    jitted = jax.jit(function)
    jax.block_until_ready(jitted(*inputs))
    times = []
    for _ in range(5):
        began = time.perf_counter()
        jax.block_until_ready(jitted(*inputs))
        times.append(time.perf_counter() - began)
    return 1000 * min(times)


def main() -> None:
    rng = np.random.default_rng(0)
    print(f"{'layer':<45}{'forward':>9}{'XLA':>9}{'ours':>9}{'ratio':>8}")
    for name, (images, side, channels, features, kernel, padding) in LAYERS.items():
        x = jnp.asarray(rng.normal(size=(images, side, side, channels)), jnp.float32)
        weights = jnp.asarray(rng.normal(size=(kernel, kernel, channels, features)), jnp.float32)
        pads = ((padding, padding),) * 2

        def convolve(x, weights, pads=pads):
            return jax.lax.conv_general_dilated(x, weights, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))

        def by_xla(x, weights, gradient, convolve=convolve):
            return jax.vjp(lambda weights: convolve(x, weights), weights)[1](gradient)

        def by_products(x, gradient, kernel=kernel, pads=pads):
            return kernel_gradient(x, gradient, (kernel, kernel), pads)

        gradient = jnp.asarray(rng.normal(size=jax.eval_shape(convolve, x, weights).shape), jnp.float32)
        forward, xla = milliseconds(convolve, x, weights), milliseconds(by_xla, x, weights, gradient)
        ours = milliseconds(by_products, x, gradient)
        print(f"{name:<45}{forward:>9.1f}{xla:>9.1f}{ours:>9.1f}{xla / ours:>7.1f}×")


if __name__ == "__main__":
    main()

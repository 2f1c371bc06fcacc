"""Optical flow by least squares in windows (Lucas & Kanade 1981), differentiable."""

import jax
import jax.numpy as jnp

Array = jax.Array

STRIDE = 4  # pixels between windows
WINDOW = 8  # side of a window, pixels
DAMPING = 1e-3  # added to the diagonal of each window's matrix: a flat window does not move


def optical_flow(frames: Array) -> Array:
    """The motion from each frame to the next, of frames `[B, T, H, W, 3]` in 0…1.

    In every window the displacement v solves (Σ ∇I ∇Iᵀ + damping) v = −Σ ∇I · dI/dt, with the gradients of the mean of
    both frames. It holds for motions of about a pixel.

    Returns:
      `[B, T − 1, H/4, W/4, 2]` in pixels, (right, down).
    """
    gray = frames @ jnp.array([0.299, 0.587, 0.114])
    before, after = gray[:, :-1], gray[:, 1:]
    rows, columns = jnp.gradient((before + after) / 2, axis=(2, 3))
    change = after - before

    def summed(x: Array) -> Array:
        margin = (WINDOW - STRIDE) // 2
        window, strides = (1, 1, WINDOW, WINDOW), (1, 1, STRIDE, STRIDE)
        padding = ((0, 0), (0, 0), (margin, margin), (margin, margin))
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, strides, padding)

    xx, yy, xy = (summed(product) for product in (columns**2, rows**2, columns * rows))
    x, y = summed(columns * change), summed(rows * change)
    xx, yy = xx + DAMPING, yy + DAMPING
    determinant = xx * yy - xy**2
    return jnp.stack([xy * y - yy * x, xy * x - xx * y], -1) / determinant[..., None]

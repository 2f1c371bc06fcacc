"""The mouth region of two baselines: the middle of an aligned face's lower half."""

import numpy as np

from davs_jax.face_geometry import lower_middle


def mouth_region(images: np.ndarray) -> np.ndarray:
    """The region of aligned faces `[…, S, S, C]`: a view, `[…, S/2, S/2, C]`."""
    return lower_middle(images, images.shape[-2] // 2)


def opacity(side: int, feather: float) -> np.ndarray:
    """`[side, side, 1]`: 1 inside the region, 0 at all edges but the lower, which is the face's own.

    Args:
      feather: width of the transition, in sides of the region.
    """
    rise = np.clip((np.arange(side) + 0.5) / (feather * side), 0, 1)
    return (rise[:, None] * np.minimum(rise, rise[::-1]))[..., None]

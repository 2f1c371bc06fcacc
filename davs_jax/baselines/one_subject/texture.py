"""The mouth's texture from a bank of frames: nearest shapes, their weighted median, teeth (paper, section 4.3)."""

import cv2
import numpy as np

from davs_jax.baselines.mouth_region import opacity
from davs_jax.media.faces.mesh import INNER_LIPS

NEAREST = 12  # frames whose median a texture is
SPREAD = 0.5  # σ of the weights, in distances of the nearest shapes' median
DETAIL = 1 / 32  # σ of the blur that separates detail, of the region's side
FEATHER = 1 / 6  # of the region's side: where the texture fades into the target


def nearest(shape: np.ndarray, bank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bank's shapes `[M, K]` nearest to one `[K]`: their indices and weights, which sum to 1, nearest first.

    Equal distances are ordered by index, so the choice is the same on every machine.
    """
    distance = np.sqrt(np.square(bank.astype(np.float64) - shape).sum(1))
    chosen = np.argsort(distance, kind="stable")[:NEAREST]
    scale = SPREAD * max(float(np.median(distance[chosen])), 1e-9)
    weights = np.exp(-(np.square(distance[chosen]) - np.square(distance[chosen[0]])) / (2 * scale**2))
    return chosen, weights / weights.sum()


def weighted_median(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Per pixel and channel the value at which half of the weight `[N]` is reached, of `[N, h, w, 3]`."""
    order = np.argsort(images, axis=0, kind="stable")
    reached = np.cumsum(weights[order], axis=0)
    at = np.argmax(reached >= 0.5 - 1e-9, axis=0)
    return np.take_along_axis(np.take_along_axis(images, order, 0), at[None], 0)[0]


def detail(image: np.ndarray) -> np.ndarray:
    """What a Gaussian blur removes of `[h, w, 3]`, float32."""
    image = image.astype(np.float32)
    return image - cv2.GaussianBlur(image, (0, 0), max(0.5, DETAIL * len(image)))


def teeth(texture: np.ndarray, lips: np.ndarray) -> np.ndarray:
    """Where the teeth of a mouth region are, float32 `[h, w, 1]` in 0…1: bright and pale, between the inner lips.

    Args:
      lips: `[18, 2]` in pixels of the region.
    """
    inner = np.concatenate([lips[INNER_LIPS][:3], lips[INNER_LIPS][3:][::-1]])
    mask = np.zeros(texture.shape[:2], np.float32)
    cv2.fillPoly(mask, [np.rint(inner).astype(np.int32)], 1.0)
    hsv = cv2.cvtColor(np.clip(texture, 0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV).astype(np.float32) / 255
    pale = np.clip((hsv[..., 2] - 0.35) / 0.2, 0, 1) * np.clip((0.5 - hsv[..., 1]) / 0.2, 0, 1)
    return cv2.GaussianBlur(mask * pale, (0, 0), max(0.5, len(texture) / 64))[..., None]


def sharpest(regions: np.ndarray, lips: np.ndarray) -> int:
    """The index of the mouth region `[M, h, h, 3]` whose teeth have the most detail: the teeth proxy.

    Args:
      lips: `[M, 18, 2]`, in sides of the face.
    """
    found = [np.square(teeth(r, in_region(p, len(r))) * detail(r)).sum() for r, p in zip(regions, lips, strict=True)]
    return int(np.argmax(found))


def in_region(lips: np.ndarray, side: int) -> np.ndarray:
    """Points in sides of the face → pixels of its mouth region of `side` pixels."""
    return lips * 2 * side - (side / 2, side)


def blended(target: np.ndarray, texture: np.ndarray) -> np.ndarray:
    """A mouth region in the place of a target's, uint8 `[h, h, 3]`: its colours are shifted to the target's at its rim,
    and it fades in from all edges but the lower."""
    shown = opacity(len(target), FEATHER)
    rim = (shown > 0) & (shown < 1)
    shift = ((target.astype(np.float64) - texture) * rim).sum((0, 1)) / max(int(rim.sum()), 1)
    return np.rint(np.clip(target + shown * (texture + shift - target), 0, 255)).astype(np.uint8)

"""Word vectors normalised over time: what moves in a clip stays; person, light and pose, which do not move, leave.

Ours, not in the published system. Speech recognition does the same to its features (cepstral mean and variance
normalisation). Within a clip, person and light hardly change; between clips, they are nearly all that differs, and a
word classifier that sees eight clips a step learns nothing from lips before they are taken out (docs/decisions.md).
"""

from typing import TypeVar

import jax
import numpy as np

Vectors = TypeVar("Vectors", np.ndarray, jax.Array)

KINDS = ("none", "mean", "mean_variance")  # of `config.model.wid_norm`
FLOOR = 1e-6  # of the variance of a feature: what moves less is not blown up


def normalised(wid: Vectors, kind: str, over: Vectors | None = None) -> Vectors:
    """wid `[…, T, E]` → per feature, minus its mean over the T frames; `mean_variance` also scales by its deviation.

    Args:
      kind: one of KINDS; "none" returns wid as it is.
      over: `[…, N, E]`, other frames of the clip, whose mean and deviation are used; by default wid's own.
    """
    if kind == "none":
        return wid
    over = wid if over is None else over
    mean = over.mean(-2, keepdims=True)
    if kind == "mean":
        return wid - mean
    return (wid - mean) / ((over - mean) ** 2).mean(-2, keepdims=True).clip(FLOOR) ** 0.5


class Running:
    """`normalised` for frames that arrive one after the other: over those so far, of which about `window` count.

    Frame t weighs 1/min(t, window): until `window` frames have come, mean and deviation are those of all of them, so
    that the first frame is 0 and the last frame of a short recording is what `normalised` makes of it.
    """

    def __init__(self, kind: str, window: int):
        self._kind, self._window = kind, window
        self._seen, self._mean, self._variance = 0, 0.0, 0.0

    def __call__(self, wid: np.ndarray) -> np.ndarray:
        """The next frames `[n, E]` → normalised `[n, E]`."""
        if self._kind == "none" or not len(wid):
            return wid
        return np.stack([self._next(vector) for vector in wid])

    def _next(self, vector: np.ndarray) -> np.ndarray:
        self._seen += 1
        weight = 1 / min(self._seen, self._window)
        change = vector - self._mean
        self._mean = self._mean + weight * change
        self._variance = (1 - weight) * (self._variance + weight * change**2)
        centred = vector - self._mean
        if self._kind == "mean_variance":
            centred = centred / np.sqrt(np.maximum(self._variance, FLOOR))
        return centred.astype(vector.dtype)

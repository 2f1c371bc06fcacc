"""How much the word logits of audio and of video count where a word is read from both."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from davs_jax.evaluate.sections import Fusion


def fit(audio: np.ndarray, video: np.ndarray, words: np.ndarray) -> Fusion:
    """The weights a, v ≥ 0 with which softmax(a · audio + v · video) has the least cross-entropy.

    A classifier that knows its training clips by heart is too sure of others, and the plain sum may then believe the
    worse of the two modalities. This is temperature scaling (Guo et al. 2017) with one temperature per modality. The
    cross-entropy is convex in (a, v), so no other weights have a lower one.

    Args:
      audio, video: logits `[N, words]` of clips that were not trained on, N ≥ 1.
      words: labels `[N]`.
    """
    logits = np.stack([audio, video]).astype(np.float64)  # [2, N, words]
    clips = np.arange(len(words))
    own = logits[:, clips, words]  # [2, N]

    def cross_entropy(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logs = log_softmax(np.tensordot(weights, logits, 1), -1)
        expected = (np.exp(logs) * logits).sum(-1)
        return -logs[clips, words].mean(), (expected - own).mean(-1)

    found = minimize(cross_entropy, np.ones(2), jac=True, bounds=[(0, None)] * 2, method="L-BFGS-B")
    return Fusion(audio=float(found.x[0]), video=float(found.x[1]), clips=len(words))


def fused(audio: np.ndarray, video: np.ndarray, weights: Fusion) -> np.ndarray:
    """Logits `[N, words]` of both."""
    return weights.audio * audio + weights.video * video

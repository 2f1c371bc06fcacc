import numpy as np
import pytest

from davs_jax.evaluate.fusion import fit, fused


@pytest.fixture
def read():
    """Audio names most of 200 words with mild logits; video names few, and is ten times as sure."""
    rng = np.random.default_rng(0)
    words = rng.integers(10, size=200)
    said = np.eye(10)[words]
    return said * 3 + rng.normal(size=(200, 10)), 10 * (said + rng.normal(size=(200, 10))), words


def accuracy(logits: np.ndarray, words: np.ndarray) -> float:
    return (logits.argmax(1) == words).mean()


def test_a_modality_that_is_too_sure_counts_less(read):
    audio, video, words = read
    weights = fit(audio, video, words)
    assert weights.video < weights.audio / 5
    assert weights.clips == 200
    assert accuracy(audio + video, words) < accuracy(audio, words) < accuracy(fused(audio, video, weights), words)


def test_the_scale_of_the_logits_does_not_matter(read):
    audio, video, words = read
    weights, scaled = fit(audio, video, words), fit(4 * audio, video / 2, words)
    assert (4 * scaled.audio, scaled.video / 2) == pytest.approx((weights.audio, weights.video), rel=1e-3)


def test_no_other_weights_make_the_words_likelier(read):
    audio, video, words = read
    best = fit(audio, video, words)

    def cross_entropy(a: float, v: float) -> float:
        logits = a * audio + v * video
        return (np.log(np.exp(logits).sum(1)) - logits[np.arange(200), words]).mean()

    around = [cross_entropy(best.audio * a, best.video * v) for a in (0.9, 1, 1.1) for v in (0.9, 1, 1.1)]
    assert min(around) == around[4]


def test_logits_that_only_mislead_count_nothing(read):
    audio, video, words = read
    assert fit(audio, -video, words).video == 0

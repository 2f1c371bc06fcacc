import numpy as np
import pytest

from davs_jax.errors import NotMeasurable
from davs_jax.evaluate import probes
from davs_jax.evaluate.probes import both_probes, probe


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_probe_reads_what_is_linearly_there(rng):
    labels = np.arange(200) % 4
    result = probe(np.eye(4)[labels] + 0.3 * rng.normal(size=(200, 4)), labels)
    assert result.accuracy > 0.9
    assert result.low <= result.accuracy <= result.high
    assert (result.chance, result.clips, result.classes) == (0.25, 200, 4)


def test_a_hidden_layer_reads_what_is_not_linearly_there(rng):
    sides = rng.integers(0, 2, (400, 2))
    features, labels = 2 * sides - 1 + 0.2 * rng.normal(size=(400, 2)), sides[:, 0] ^ sides[:, 1]
    assert probe(features, labels).accuracy < 0.65
    assert probe(features, labels, kind="mlp").accuracy > 0.95


def test_a_probe_of_noise_stays_at_chance(rng):
    labels = np.arange(400) % 4
    result = probe(rng.normal(size=(400, 10)), labels)
    assert result.low < result.chance < result.high


def test_a_probe_for_words_meets_people_that_it_has_not_seen(rng):
    people, words = np.divmod(np.arange(400) // 10, 4)  # 10 people, 4 words, 10 clips of each
    accents = rng.normal(size=(10, 4, 40))  # every person says every word in a way of his own
    features = accents[people, words] + 0.1 * rng.normal(size=(400, 40))
    assert probe(features, words).accuracy > 0.95  # knowing the person, it reads
    assert probe(features, words, held_out=people).accuracy < 0.5


def test_large_sets_are_reduced_by_a_seeded_choice(rng, monkeypatch):
    monkeypatch.setattr(probes, "MAX_CLIPS", 50)
    features, labels = rng.normal(size=(300, 3)), np.arange(300) % 2
    assert probe(features, labels, seed=1).clips == 50
    assert probe(features, labels, seed=1) == probe(features, labels, seed=1)
    assert probe(features, labels, seed=1) != probe(features, labels, seed=2)


def test_labels_of_too_few_clips_are_left_out(rng):
    labels = np.array([0] * 20 + [1] * 20 + [2] * 4)
    result = probe(rng.normal(size=(44, 3)), labels)
    assert (result.clips, result.classes) == (40, 2)


@pytest.mark.parametrize("labels", [np.zeros(10, int), np.arange(10)])
def test_a_probe_needs_two_labels(labels):
    with pytest.raises(NotMeasurable, match="needs two labels of 5 clips and two folds"):
        probe(np.zeros((10, 3)), labels)


def test_a_fold_that_leaves_a_single_label_is_not_measurable(rng):
    labels = np.repeat([0, 1], 10)  # each person says one word only
    with pytest.raises(NotMeasurable, match="one holds a single label"):
        probe(rng.normal(size=(20, 3)), labels, held_out=labels)


def test_too_many_labels_for_the_clips_that_are_kept_are_not_measurable(rng, monkeypatch):
    monkeypatch.setattr(probes, "MAX_CLIPS", 40)
    with pytest.raises(NotMeasurable, match="are too many for 40 clips in 5 folds"):
        probe(rng.normal(size=(500, 3)), np.arange(500) % 100)


def test_vectors_that_are_not_finite_are_not_measurable(rng):
    features = rng.normal(size=(40, 3))
    features[7, 1] = np.nan
    with pytest.raises(NotMeasurable, match="not finite"):
        probe(features, np.arange(40) % 2)


def test_both_probes_see_the_same_clips(rng):
    labels = np.arange(40) % 2
    found = both_probes(rng.normal(size=(40, 3)) + 5 * labels[:, None], labels)
    assert (found.accuracy, found.mlp.accuracy) == (1, 1)
    assert (found.clips, found.classes) == (found.mlp.clips, found.mlp.classes) == (40, 2)

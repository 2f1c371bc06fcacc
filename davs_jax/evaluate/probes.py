"""Probes: what can a fresh classifier, linear or a small network, read from a representation?

A low loss of the training's own adversary proves nothing, since the adversary may simply be weak; a classifier
fitted anew on the finished representation is the judge.
"""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from davs_jax.evaluate import metrics

KINDS = ("linear", "mlp")
FOLDS = 5
HIDDEN = 64  # units of the small network
MLP_DECAY = 1e-2  # L2 penalty on its weights
MLP_EPOCHS = 100
MAX_CLIPS = 2000  # per probe; enough for ±2 %, and 500 words at 25,000 clips would take hours


class Probe(NamedTuple):
    """A probe's result: cross-validated accuracy, its 95 % interval, and what guessing would reach."""

    accuracy: float
    low: float
    high: float
    chance: float  # the share of the commonest label
    clips: int
    classes: int


def probe(
    features: np.ndarray,
    labels: np.ndarray,
    held_out: np.ndarray | None = None,
    people: np.ndarray | None = None,
    seed: int = 0,
    kind: str = "linear",
) -> Probe:
    """Accuracy of a classifier of standardised features, predicted for every clip by folds that did not see it.

    Args:
      features: `[N, D]`.
      labels: `[N]`, what the probe tries to read; clips of labels with fewer than FOLDS clips are left out.
      held_out: `[N]`; clips that share this value stay in one fold. A probe for words holds out people (it must read
        words of people it has not met), a probe for people holds out words. None: plain stratified folds.
      people: `[N]`, where known: the interval resamples whole people.
      seed: of the choice of at most `MAX_CLIPS` clips, of the folds without groups, the network and the interval.
      kind: "linear", a logistic regression, or "mlp", a network of one hidden layer of HIDDEN units.

    Raises:
      ValueError: fewer than two labels are left, or fewer than two folds are possible.
    """
    values, counts = np.unique(labels, return_counts=True)
    usable = np.flatnonzero(np.isin(labels, values[counts >= FOLDS]))
    chosen = np.sort(np.random.default_rng(seed).permutation(usable)[:MAX_CLIPS])
    features, labels = features[chosen], labels[chosen]
    held_out, people = (None if g is None else g[chosen] for g in (held_out, people))
    classes, counts = np.unique(labels, return_counts=True)
    folds = min(FOLDS, len(np.unique(held_out))) if held_out is not None else FOLDS
    if len(classes) < 2 or folds < 2:
        raise ValueError(f"a probe needs two labels of {FOLDS} clips and two folds; got {len(classes)} and {folds}")
    splitter = GroupKFold(folds) if held_out is not None else StratifiedKFold(folds, shuffle=True, random_state=seed)
    classifiers = {
        "linear": LogisticRegression(max_iter=300),
        "mlp": MLPClassifier((HIDDEN,), alpha=MLP_DECAY, max_iter=MLP_EPOCHS, random_state=seed),
    }
    classifier = make_pipeline(StandardScaler(), classifiers[kind])
    # One thread: these products are small, and beside other work threads that wait for each other cost 20 times more.
    with threadpool_limits(1), warnings.catch_warnings():
        # Stopped early it is a regularised classifier still; its accuracy is what is reported.
        warnings.simplefilter("ignore", ConvergenceWarning)
        predicted = cross_val_predict(classifier, features, labels, groups=held_out, cv=splitter)
    correct = predicted == labels
    low, high = metrics.interval(correct, people, seed=seed)
    return Probe(float(correct.mean()), low, high, float(counts.max() / len(labels)), len(labels), len(classes))

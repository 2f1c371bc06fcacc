"""Probes: what a new classifier, linear or with a hidden layer, can read from a representation.

A low loss of the training's own adversary proves nothing, since the adversary may be weak. A probe is a classifier
fitted on the finished representation.
"""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from davs_jax.errors import NotMeasurable
from davs_jax.evaluate import metrics
from davs_jax.evaluate.sections import Probe, Probes

KINDS = ("linear", "mlp")
FOLDS = 5
HIDDEN = 64  # units of the hidden layer
MLP_DECAY = 1e-2  # L2 penalty on its weights
MLP_EPOCHS = 100
MAX_CLIPS = 2000  # per probe; enough for ±2 %, and 500 words at 25,000 clips would take hours


def both_probes(
    features: np.ndarray,
    labels: np.ndarray,
    held_out: np.ndarray | None = None,
    people: np.ndarray | None = None,
    seed: int = 0,
) -> Probes:
    """The linear probe and the one with a hidden layer; see `probe`.

    Raises:
      NotMeasurable: as `probe`.
    """
    linear, mlp = (probe(features, labels, held_out, people, seed, kind) for kind in KINDS)
    return Probes(**vars(linear), mlp=mlp)


def probe(
    features: np.ndarray,
    labels: np.ndarray,
    held_out: np.ndarray | None = None,
    people: np.ndarray | None = None,
    seed: int = 0,
    kind: str = "linear",
) -> Probe:
    """Cross-validated accuracy of a classifier of standardised features: each clip is predicted by a fold without it.

    Args:
      features: `[N, D]`.
      labels: `[N]`, what the probe tries to read; clips of labels with fewer than FOLDS clips are left out.
      held_out: `[N]`; clips that share this value stay in one fold. A probe for words holds out people (it must read
        the words of unseen people), a probe for people holds out words. None: plain stratified folds.
      people: `[N]`, where known: the interval resamples whole people.
      seed: of the choice of at most `MAX_CLIPS` clips, of the folds without groups, the network and the interval.
      kind: "linear", a logistic regression, or "mlp", a network with one hidden layer of HIDDEN units.

    Raises:
      NotMeasurable: too few labels, clips or folds, or features that are not finite.
    """
    values, counts = np.unique(labels, return_counts=True)
    usable = np.flatnonzero(np.isin(labels, values[counts >= FOLDS]))
    chosen = np.sort(np.random.default_rng(seed).permutation(usable)[:MAX_CLIPS])
    features, labels = features[chosen], labels[chosen]
    held_out, people = (None if g is None else g[chosen] for g in (held_out, people))
    classes, counts = np.unique(labels, return_counts=True)
    folds = min(FOLDS, len(np.unique(held_out))) if held_out is not None else FOLDS
    if len(classes) < 2 or folds < 2:
        raise NotMeasurable(f"a probe needs two labels of {FOLDS} clips and two folds; got {len(classes)} and {folds}")
    if not np.isfinite(features).all():
        raise NotMeasurable("the vectors hold numbers that are not finite")
    if held_out is None and counts.max() < folds:
        raise NotMeasurable(f"{len(classes)} labels are too many for {len(labels)} clips in {folds} folds")
    splitter = GroupKFold(folds) if held_out is not None else StratifiedKFold(folds, shuffle=True, random_state=seed)
    splits = list(splitter.split(features, labels, held_out))
    if any(len(np.unique(labels[fitted])) < 2 for fitted, _ in splits):
        raise NotMeasurable("a probe needs two labels in what each fold is fitted on; one holds a single label")
    classifiers = {
        "linear": LogisticRegression(max_iter=300),
        "mlp": MLPClassifier((HIDDEN,), alpha=MLP_DECAY, max_iter=MLP_EPOCHS, random_state=seed),
    }
    classifier = make_pipeline(StandardScaler(), classifiers[kind])
    # One thread: the products are small; on a busy machine, threads that wait for each other take 20 times longer.
    with threadpool_limits(1), warnings.catch_warnings():
        # A classifier that is stopped early is still a regularised one; its accuracy is what is reported.
        warnings.simplefilter("ignore", ConvergenceWarning)
        predicted = cross_val_predict(classifier, features, labels, cv=splits)
    correct = predicted == labels
    low, high = metrics.interval(correct, people, seed=seed)
    return Probe(
        accuracy=float(correct.mean()),
        low=low,
        high=high,
        chance=float(counts.max() / len(labels)),
        clips=len(labels),
        classes=len(classes),
    )

"""An evaluation: a list of parts, each with its requirements, that turn a shared context into typed sections."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from davs_jax.data.sources import ClipSource, FaceSource
from davs_jax.errors import DataError, NotMeasurable
from davs_jax.evaluate import disentanglement, generated, landmarks, lips, recognition, swap
from davs_jax.evaluate.context import Context
from davs_jax.evaluate.fusion import fused
from davs_jax.evaluate.generated import Generated
from davs_jax.evaluate.lip_sync import Scorer
from davs_jax.evaluate.perceptual import PerceptualMetrics
from davs_jax.evaluate.sections import (
    Accuracy,
    Control,
    Figures,
    Fusion,
    Landmarks,
    Likeness,
    Lips,
    LipSync,
    Motion,
    MouthMotion,
    Perceptual,
    Probes,
    Retrieval,
    Swap,
    Synchronisation,
    Word,
)
from davs_jax.inference import Davs
from davs_jax.media.faces import mesh
from davs_jax.talker import Talker

UNMEASURED = {
    "CPBD": "no image with a published value is available to check an implementation by",
    "blinks": "no network here detects eyelids",
}


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
      clips: the number of clips, each counted once.
      intervals: what the bootstrap resamples.
      figures: what was measured.
      skipped: by name, why a part could not be measured.
      generated: the generated frames' raw figures and examples; None where the weights cannot generate.
      curves: the examples' mouth openings, as `plots.openings` takes them.
      confusions: counts `[words, words]` of spoken and recognised words, by modality.
    """

    clips: int
    intervals: str
    figures: Figures
    skipped: dict[str, str]
    generated: Generated | None = None
    curves: list[dict[str, np.ndarray]] = field(default_factory=list)
    confusions: dict[str, np.ndarray] = field(default_factory=dict)


class Requirement(NamedTuple):
    """A condition of parts; where it is not met, the report lists `name` with the reason ("" lists nothing)."""

    name: str
    met: Callable[[Context], bool]
    reason: str


class Part(NamedTuple):
    """One part of an evaluation.

    Attributes:
      section: the field of `Figures` that it fills.
      run: measures it. NotMeasurable leaves the section out with its reason; any other error fails the evaluation.
      requires: conditions, the first unmet one of which leaves the section out.
    """

    section: str
    run: Callable[[Context], Any]
    requires: tuple[Requirement, ...] = ()


ENCODER = Requirement("recognition", lambda c: c.reads, "the weights have no word encoder")
BOTH_ENCODERS = Requirement(
    "retrieval, sync", lambda c: c.both_encoders, "the weights have only one of the two word encoders"
)
CLASSIFIER = Requirement("accuracy", lambda c: c.model.has("word_classifier"), "the weights have no word classifier")
GENERATOR = Requirement(
    "generated frames",
    lambda c: c.generates,
    "the weights lack a network that generates frames from speech, such as a decoder",
)
SWAPS = Requirement("swap", lambda c: c.both_encoders, "the weights generate from one modality only")
SYNCNET = Requirement("lip_sync", lambda c: c.scorer is not None, "no weights of SyncNet were given (--syncnet)")
FACE_MESH = Requirement("lips", lambda c: mesh.installed(), f"{mesh.MISSING}: {mesh.INSTALL}")
DISTANCES = Requirement(
    "LPIPS, FID", lambda c: c.distances is not None, "no weights of their networks were given (--perceptual)"
)
CONTROL = Requirement(
    "control", lambda c: c.control is not None, "no report of a model without adversaries was given (--control)"
)
FACES = Requirement("", lambda c: c.faces is not None, "")


def retrieval(context: Context) -> Retrieval:
    return recognition.retrieval(context.vectors, context.model.mesh)


def synchronisation(context: Context) -> Synchronisation:
    return recognition.synchronisation(context.vectors, context.seed)


def fusion(context: Context) -> Fusion:
    return context.fusion_weights


def accuracy(context: Context) -> dict[str, Accuracy]:
    read = dict(context.logits)
    if context.both_encoders:
        with contextlib.suppress(NotMeasurable):  # the part `fusion` says why
            read["weighted"] = fused(read["audio"], read["video"], context.fusion_weights)
    return recognition.accuracies(read, context.vectors, context.seed)


def accuracy_baselines(context: Context) -> dict[str, dict[str, Accuracy]]:
    batches = context.batches_with_progress("untrained")
    return recognition.baselines(context.untrained, batches, context.logits, context.vectors, context.seed)


def words(context: Context) -> dict[str, Word]:
    return recognition.word_table(context.confusions, context.source.words)


def probes(context: Context) -> dict[str, Probes]:
    found, left_out = disentanglement.probes(context.vectors, context.seed)
    context.left_out.update(left_out)
    return found


def control(context: Context) -> Control:
    other = context.control
    return Control(probes=other.probes, face_probes=other.face_probes, swap=other.swap)


def face_probes(context: Context) -> dict[str, Probes]:
    found, left_out = disentanglement.face_probes(context.model, context.faces, context.seed)
    context.left_out.update(left_out)
    return found


def swapped(context: Context) -> Swap:
    return swap.swap_test(context.model, context.source, context.vectors, context.seed)


def likeness(context: Context) -> dict[str, Likeness]:
    return generated.likeness_table(context.generated, context.people, context.seed)


def mouth_corners(context: Context) -> Landmarks:
    return landmarks.table(context.generated.corners, context.source.image_size)


def lip_motion(context: Context) -> Lips:
    return lips.table(context.generated.lips, context.people, context.seed)


def activity(context: Context) -> dict[str, Motion]:
    return generated.activity_table(context.generated, context.people, context.seed)


def lip_sync(context: Context) -> dict[str, dict[str, LipSync]]:
    return generated.lip_sync_table(context.generated)


def perceptual(context: Context) -> Perceptual:
    context.left_out.update(context.distances.missing)
    _ = context.generated  # generation gives the metrics their frames
    return context.distances.table(context.people, context.seed)


def motion(context: Context) -> MouthMotion:
    context.require_estimator()
    true = context.vectors.mouth_opening
    return generated.motion_table(context.generated, true, context.people, context.seed)


PARTS = (
    Part("retrieval", retrieval, (ENCODER, BOTH_ENCODERS)),
    Part("sync", synchronisation, (ENCODER, BOTH_ENCODERS)),
    Part("fusion", fusion, (ENCODER, BOTH_ENCODERS, CLASSIFIER)),
    Part("accuracy", accuracy, (ENCODER, CLASSIFIER)),
    Part("accuracy_baselines", accuracy_baselines, (ENCODER, CLASSIFIER)),
    Part("words", words, (ENCODER, CLASSIFIER)),
    Part("probes", probes, (ENCODER,)),
    Part("control", control, (CONTROL,)),
    Part("face_probes", face_probes, (FACES,)),
    Part("swap", swapped, (GENERATOR, SWAPS)),
    Part("likeness", likeness, (GENERATOR,)),
    Part("landmarks", mouth_corners, (GENERATOR,)),
    Part("lips", lip_motion, (GENERATOR, FACE_MESH)),
    Part("activity", activity, (GENERATOR,)),
    Part("lip_sync", lip_sync, (SYNCNET, GENERATOR)),
    Part("perceptual", perceptual, (DISTANCES, GENERATOR)),
    Part("motion", motion, (GENERATOR,)),
)


def evaluate(
    model: Talker,
    source: ClipSource,
    faces: FaceSource | None = None,
    limit: int | None = None,
    seed: int = 0,
    scorer: Scorer | None = None,
    distances: PerceptualMetrics | None = None,
    control: Figures | None = None,
    judge: Davs | None = None,
) -> Evaluation:
    """Evaluates a model on every clip of a source.

    Args:
      faces: identity images, for the person probes of corpora with unknown speakers.
      limit: count only this many clips, the first ones.
      seed: of bootstrap, folds and fresh weights.
      scorer: SyncNet with its weights.
      distances: LPIPS and FID with their networks' weights.
      control: figures of another model on the same clips, to show beside the probes: a model without adversaries.
      judge: as of `Context`.

    Raises:
      DataError: the clips do not fit the model, or a record is damaged.
      RuntimeError: a clip was missed or counted twice.
    """
    _check_fit(model, source)
    count = min(limit or len(source), len(source))
    context = Context(model, source, count, faces, seed, scorer, distances, control, judge)
    figures = Figures(**{part.section: _measured(part, context) for part in PARTS})
    return Evaluation(
        count,
        resampled(context.people),
        figures,
        context.left_out | UNMEASURED,
        generated=context.generated if figures.likeness else None,
        curves=generated.opening_curves(context.generated, context.vectors.mouth_opening) if figures.motion else [],
        confusions=context.confusions if figures.words else {},
    )


def resampled(people: np.ndarray | None) -> str:
    """What the intervals resample, in words."""
    if people is None:
        return "resampling clips"
    return f"resampling the {len(np.unique(people))} people, whose clips resemble each other"


def _measured(part: Part, context: Context) -> Any:
    """The part's section; None where it cannot be measured, with the reason in `context.left_out`."""
    unmet = next((requirement for requirement in part.requires if not requirement.met(context)), None)
    if unmet:
        context.left_out.update({unmet.name: unmet.reason} if unmet.name else {})
        return None
    try:
        return part.run(context)
    except NotMeasurable as reason:
        context.left_out[part.section] = str(reason)
        return None


def _check_fit(model: Talker, source: ClipSource) -> None:
    found = {"image_size": source.image_size}
    if source.words and model.has("word_classifier"):
        found["num_words"] = len(source.words)
    for name, value in found.items():
        if value != model.config.model[name]:
            raise DataError(
                f"{source.folder} has {name} {value} but the weights were trained with {model.config.model[name]}",
                "evaluate on clips that are prepared like the training clips",
            )

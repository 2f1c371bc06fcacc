"""One arm's figures: those of `davs_jax.evaluate`, on every clip of a split, as far as the arm's networks allow."""

import contextlib
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from davs_jax.data.pipeline import eval_batches
from davs_jax.data.sources import ClipSource
from davs_jax.errors import NotMeasurable
from davs_jax.evaluate import disentanglement, generated, lips, recognition, swap
from davs_jax.evaluate.context import BATCH, fit_estimator
from davs_jax.evaluate.generated import Generated
from davs_jax.evaluate.lip_sync import Scorer
from davs_jax.evaluate.probes import both_probes
from davs_jax.evaluate.recognition import Vectors
from davs_jax.inference import Davs
from davs_jax.talker import Talker

MAJORITY = 0.5  # of the clips with one person: with more, a guess already names the person
GUESS = "probe/person_guess"  # the share of the person with most clips
PROBES = (
    *("word_from_pid", "word_from_maps", "person_from_pid"),
    *(f"person_from_{side}_wid{view}" for side in ("video", "audio") for view in ("", "_frames", "_moments")),
)


class Judges(NamedTuple):
    """Models that measure every arm's generated frames alike.

    Attributes:
      scorer: SyncNet.
      judge: whose encoders compare identities and read the frames; None is the arm's own.
      clips: how many clips SyncNet and the face detectors see.
    """

    scorer: Scorer | None = None
    judge: Davs | None = None
    clips: int = 20


def measure(
    model: Talker,
    source: ClipSource,
    judges: Judges | None = None,
    keep: Callable[[Generated], None] = lambda made: None,
) -> dict[str, float]:
    """Flat figures by `section/name`, as stored in figures.json; what is not measurable is left out.

    The names are those of the first studies, whose figures stay readable: image quality is in the section `picture`.

    Args:
      judges: with them also identity, LMD, SyncNet's scores, parameters and speed are measured.
      keep: is given the generated frames.

    Raises:
      DataError: a damaged record.
    """
    both = model.has("audio_encoder", "visual_encoder")
    batches = eval_batches(source, BATCH, audio=model.clip_audio)
    vectors = recognition.encode(model, batches, persons=model.has("person_encoder"), every_frame=both)
    figures = {}
    if model.has("word_classifier"):
        read = recognition.accuracies(recognition.logits(model, vectors), vectors, 0)
        figures |= {f"read/{name}": found.accuracy for name, found in read.items()}
    if both:
        figures["match/r1"] = recognition.retrieval(vectors).audio_to_video.r1
        figures["match/shifts_found"] = recognition.synchronisation(vectors, 0).exact.accuracy
        with contextlib.suppress(NotMeasurable):
            figures |= _modality(vectors)
    found, _ = disentanglement.probes(vectors, 0, PROBES)
    for name, probes in found.items():
        if name.startswith("person"):
            if probes.chance > MAJORITY:
                continue
            figures[GUESS] = probes.chance
        figures |= {f"probe/{name}": probes.accuracy, f"probe/{name}_mlp": probes.mlp.accuracy}
    if not model.missing("audio_encoder"):
        figures |= _generated(model, source, vectors, judges, keep)
    return figures


def measure_frames(
    model: Talker, source: ClipSource, judges: Judges, keep: Callable[[Generated], None]
) -> dict[str, float]:
    """The figures of generated frames alone, of clips with other words than the model's; as `measure`."""
    vectors = recognition.encode(model, eval_batches(source, BATCH, audio=model.clip_audio))
    return _generated(model, source, vectors, judges, keep)


def _modality(vectors: Vectors) -> dict[str, float]:
    """Can a probe tell whether a clip's wid came from audio or video? In a common space it cannot: 50 %.

    Raises:
      NotMeasurable: too few clips or people.
    """
    wid = disentanglement.frames(np.concatenate([vectors.audio, vectors.video]))
    from_audio = np.repeat([1, 0], len(vectors.index))
    people = None if vectors.people is None else np.tile(vectors.people, 2)
    probes = both_probes(wid, from_audio, people, people)
    return {"probe/modality_from_wid": probes.accuracy, "probe/modality_from_wid_mlp": probes.mlp.accuracy}


def _generated(
    model: Talker, source: ClipSource, vectors: Vectors, judges: Judges | None, keep: Callable[[Generated], None]
) -> dict[str, float]:
    """Image quality and lip motion by driver, and for models of both modalities the swap test."""
    figures, estimator = {}, None
    with contextlib.suppress(NotMeasurable):  # the corpus has no known mouth openings
        estimator = fit_estimator(source, vectors)
    batches = eval_batches(source, BATCH, audio=model.clip_audio)
    scorer, judge, clips = judges or (None, None, 0)
    made = generated.measure(
        model, None, source, batches, vectors.word, estimator, scorer, scored_clips=clips, judge=judge
    )
    keep(made)
    if judges:
        figures |= _judged(made) | _cost(model, next(eval_batches(source, 1, audio=model.clip_audio)))
    for driver, likeness in generated.likeness_table(made, None, 0).items():
        closeness = {"psnr": likeness.psnr, "ssim": likeness.ssim, "mouth_l1": likeness.mouth_l1}
        if judges and judges.judge and likeness.identity:
            closeness["identity"] = likeness.identity
        figures |= {f"picture/{name}_{driver}": figure.mean for name, figure in closeness.items()}
    if estimator:
        moved = generated.motion_table(made, vectors.mouth_opening, None, 0).by_driver
        for driver in (name for name in moved if judges or name != "real"):
            figures[f"motion/correlation_{driver}"] = moved[driver].correlation
            figures[f"motion/amplitude_{driver}"] = moved[driver].amplitude
    if model.has("visual_encoder"):
        with contextlib.suppress(NotMeasurable):  # too few persons or words
            swapped = swap.swap_test(model, source, vectors, 0)
            figures |= {
                "swap/person": swapped.person.accuracy,
                "swap/word_audio": swapped.word_audio.accuracy,
                "swap/word_video": swapped.word_video.accuracy,
            }
    return figures


def _judged(made: Generated) -> dict[str, float]:
    """The lips' motion, LMD and SyncNet's scores by driver, as far as there are weights for them."""
    figures = {}
    if made.lips:
        with contextlib.suppress(NotMeasurable):  # no real lips move
            for driver, found in lips.table(made.lips, None, 0).by_driver.items():
                figures[f"lips/lmd_{driver}"] = found.distance
                figures[f"lips/correlation_{driver}"] = found.correlation
                figures[f"lips/amplitude_{driver}"] = found.amplitude
    if made.scores:
        by_driver = next(iter(generated.lip_sync_table(made).values()))
        for driver, found in by_driver.items():
            figures |= {f"sync/lse_d_{driver}": found.distance, f"sync/lse_c_{driver}": found.confidence}
    return figures


def _cost(model: Talker, batch: dict) -> dict[str, float]:
    """Parameters that generate from speech, and frames per second from a clip's audio and photo, compiled."""
    leaves = jax.tree.leaves({name: model.weights(name)[name]["params"] for name in model.needs("audio_encoder")})
    seconds = []
    for _ in range(4):  # the first compiles
        began = time.perf_counter()
        person = model.encode_person(batch["frames"][0][0])
        frames = model.decode(person, model.wid_from_audio(batch["speech"][0]))
        seconds.append(time.perf_counter() - began)
    return {"cost/parameters": float(sum(leaf.size for leaf in leaves)), "cost/fps": len(frames) / min(seconds[1:])}

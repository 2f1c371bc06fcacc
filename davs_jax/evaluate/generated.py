"""Quality of generated frames, beside baselines: the photo alone, the audio of another word, fresh weights."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from davs_jax.data.sources import ClipSource
from davs_jax.display.progress import progress
from davs_jax.evaluate import landmarks, lip_sync, lips, metrics, perceptual
from davs_jax.evaluate.lip_sync import Score, Scorer
from davs_jax.evaluate.lips import Lipped
from davs_jax.evaluate.mouth_opening import TRUSTED, Estimator
from davs_jax.evaluate.perceptual import PerceptualMetrics
from davs_jax.evaluate.recognition import clips, partner
from davs_jax.evaluate.sections import Likeness, LipSync, Mean, Motion, MouthMotion, Trust
from davs_jax.inference import Davs
from davs_jax.media.faces import mesh
from davs_jax.talker import Talker

PHOTO_FRAME = 0  # serves as the clip's photo; a fixed rule, the same for every run
VARIANTS = {
    "audio": "the clip's own audio",
    "video": "the clip's own video",
    "shuffled": "the audio of a clip that says another word",
    "untrained": "own audio, fresh weights",
    "photo": "nothing: the photo, copied",
}
EXTREMES = 3  # best and worst clips each
EXAMPLES = 5  # clips shown in the report, evenly spread over the split
SCORED_CLIPS = 50  # clips for SyncNet and the face detectors, evenly spread over the split: each takes seconds a clip


@dataclass(frozen=True)
class Generated:
    """Figures of N clips' generated frames.

    Attributes:
      index: of the clips in the source, `[N]`.
      figures: by variant and name (those of `metrics.image_figures`, jitter, sharpness, identity, read), `[N]`: means
        over the frames of a clip except the photo's own; `jitter` is their change outside the mouth, `sharpness` that
        of the mouth beside the real frames', `identity` the cosine of their pid and the photo's, and `read`, where all
        words are known, whether the judge's lip reader reads the clip's word in them.
      activity: of the mouth, from frame to frame (`metrics.movement`), by variant, and under "real", `[N, 28]`.
      opening: estimated curves by variant, and of the real frames under "real", `[N, 29]`; empty without an estimator.
      examples: by clip index, the frames of every variant and the real ones, uint8 `[29, S, S, 3]`.
      scores: SyncNet's, one dictionary per scored clip: by variant, and by SyncNet's own variant.
      corners: distances of mouth corners (`landmarks.corner_distances`), one dictionary per scored clip.
      lips: by index of the scored clips; empty without the weights of FaceMesh.
      extremes: as examples, the best and the worst clips by the gain in mouth L1 of the audio-driven frames over the
        copied photo.
    """

    index: np.ndarray
    figures: dict[str, dict[str, np.ndarray]]
    activity: dict[str, np.ndarray]
    opening: dict[str, np.ndarray]
    examples: dict[int, dict[str, np.ndarray]]
    scores: list[dict[str, dict[str, Score]]] = field(default_factory=list)
    corners: list[dict[str, np.ndarray]] = field(default_factory=list)
    lips: dict[int, Lipped] = field(default_factory=dict)
    extremes: dict[str, dict[int, dict[str, np.ndarray]]] = field(default_factory=dict)


def generate_variants(
    model: Talker, untrained: Talker | None, clip: dict, other_speech: np.ndarray | None
) -> dict[str, np.ndarray]:
    """A clip's frames in every variant, uint8 `[29, S, S, 3]`.

    Args:
      untrained: the same networks with fresh weights; None leaves that variant out.
      clip: one of `recognition.clips`.
      other_speech: the `speech` of a clip that says another word; None leaves that variant out.
    """
    photo, length = clip["frames"][PHOTO_FRAME], len(clip["frames"])
    wid = {"audio": model.driving("audio_encoder", model.wid_from_audio(clip["speech"]))}
    if not model.missing("visual_encoder"):
        wid["video"] = model.driving("visual_encoder", model.wid_from_video(clip["frames"]))
    if other_speech is not None:
        wid["shuffled"] = model.driving("audio_encoder", model.wid_from_audio(other_speech))
    # One call each: the last bit of an image depends on its position in the batch, and generation has the same ones.
    person = model.encode_person(photo)
    results = {driver: model.decode(person, vectors) for driver, vectors in wid.items()}
    if untrained:
        results["untrained"] = untrained.decode(
            untrained.encode_person(photo), untrained.wid_from_audio(clip["speech"])
        )
    return results | {"photo": np.repeat(photo[None], length, 0)}


def measure(
    model: Talker,
    untrained: Talker | None,
    source: ClipSource,
    batches: Iterable[dict],
    words: np.ndarray,
    estimator: Estimator | None,
    scorer: Scorer | None = None,
    distances: PerceptualMetrics | None = None,
    scored_clips: int | None = None,
    judge: Davs | None = None,
) -> Generated:
    """Generates every clip in every variant and measures it.

    Args:
      untrained: the same networks with fresh weights; None leaves that variant out.
      words: labels of the first N clips of the source, those that `batches` hold.
      estimator: of the mouth opening.
      scorer: SyncNet.
      distances: LPIPS and FID; it accumulates what it is given.
      judge: whose person encoder compares identities and whose lip reader reads the frames, where its vocabulary is
        that of the clips; default the model itself, where it is DAVS.
      scored_clips: how many clips SyncNet and the face detector see; default SCORED_CLIPS.

    Raises:
      DataError: while reading, a damaged record.
    """
    several_words = len(np.unique(words)) > 1 or (len(words) > 1 and words[0] < 0)
    judge = judge or (model if isinstance(model, Davs) else None)
    readable = (words >= 0).all() and judge is not None and _knows(judge, source.words)
    scored_clips = SCORED_CLIPS if scored_clips is None else scored_clips
    kept, scored, compared = (_spread(len(words), count) for count in (EXAMPLES, scored_clips, perceptual.CLIPS))
    rows, examples, scores, corners, lipped, extremes = [], {}, [], [], {}, {1: [], -1: []}
    for clip in progress(clips(batches), total=len(words), desc="generating", unit="clip"):
        i, real = int(clip["index"]), clip["frames"]
        other = model.clip_audio(source.record(partner(i, words))) if several_words else None
        variants = generate_variants(model, untrained, clip, other)
        figures = _figures(judge, variants, real, clip["word"] if readable else None)
        variants["real"] = real
        opening = {name: estimator(frames) for name, frames in variants.items()} if estimator else {}
        activity = {name: metrics.movement(frames)["mouth"] for name, frames in variants.items()}
        rows.append((i, figures, activity, opening))
        gain = figures["photo"]["mouth_l1"] - figures["audio"]["mouth_l1"]
        for sign, clips_ in extremes.items():
            clips_.append((sign * gain, i, variants))
            clips_.sort(key=lambda clip: (-clip[0], clip[1]))
            del clips_[EXTREMES:]
        if i in kept:
            examples[i] = variants
        shown = {name: frames for name, frames in variants.items() if name not in ("real", "untrained")}
        if i in scored:
            detected = landmarks.detected(real)
            corners.append(landmarks.corner_distances(shown, detected))
            if mesh.installed():
                lipped[i] = lips.measure(shown | {"real": real}, detected)
        if distances and i in compared:
            distances.add(i, shown, real)
        if scorer and i in scored:
            samples = source.record(i)["audio"]
            scores.append({name: scorer(frames, samples) for name, frames in variants.items() if name != "untrained"})
    named = {name: {i: variants for _, i, variants in extremes[sign]} for name, sign in (("best", 1), ("worst", -1))}
    index, *stacked = zip(*rows, strict=True)
    return Generated(np.array(index), *map(_stack, stacked), examples, scores, corners, lipped, named)


def _spread(length: int, count: int) -> set[int]:
    """At most `count` positions of `length`, evenly spread."""
    return set(np.linspace(0, length - 1, min(count, length)).astype(int).tolist())


def lip_sync_table(generated: Generated) -> dict[str, dict[str, LipSync]]:
    """SyncNet's figures by its variant and by driver."""
    drivers, variants = generated.scores[0], generated.scores[0]["real"]
    return {
        variant: {driver: lip_sync.table(clip[driver][variant] for clip in generated.scores) for driver in drivers}
        for variant in variants
    }


def likeness_table(generated: Generated, people: np.ndarray | None, seed: int) -> dict[str, Likeness]:
    """Means with 95 % intervals, by variant."""

    def mean(values: np.ndarray) -> Mean:
        low, high = metrics.interval(values, people, seed=seed)
        return Mean(mean=float(values.mean()), low=low, high=high)

    return {
        variant: Likeness(**{name: mean(values) for name, values in figures.items()})
        for variant, figures in generated.figures.items()
    }


def activity_table(generated: Generated, people: np.ndarray | None, seed: int) -> dict[str, Motion]:
    """`metrics.motion` of the mouth's activity against that of the real frames, by variant.

    Raises:
      NotMeasurable: no real mouth moves.
    """
    real = generated.activity["real"]
    return {
        variant: metrics.motion(activity, real, people, seed=seed)
        for variant, activity in generated.activity.items()
        if variant != "real"
    }


def motion_table(generated: Generated, true: np.ndarray, people: np.ndarray | None, seed: int) -> MouthMotion:
    """`metrics.motion` by variant; that of the real frames validates the mouth-opening estimator.

    Args:
      true: mouth openings `[N, 29]`; clips where they are not known (NaN) are left out.

    Raises:
      NotMeasurable: no known opening changes.
    """
    known = np.isfinite(true).all(1)
    people = people[known] if people is not None else None
    by_driver = {
        variant: metrics.motion(opening[known], true[known], people, seed=seed)
        for variant, opening in generated.opening.items()
    }
    trusted = by_driver["real"].correlation >= TRUSTED
    return MouthMotion(by_driver=by_driver, estimator=Trust(trusted=trusted, clips=int(known.sum())))


def opening_curves(generated: Generated, true: np.ndarray) -> list[dict[str, np.ndarray]]:
    """The examples' true and estimated curves by variant, `[29]` each, where the true one is known."""
    rows = np.flatnonzero(np.isin(generated.index, list(generated.examples)) & np.isfinite(true).all(1))
    return [{"true": true[row]} | {name: curve[row] for name, curve in generated.opening.items()} for row in rows]


def _knows(judge: Davs, words: tuple[str, ...]) -> bool:
    """Whether the judge's labels are those of these words; weights of earlier versions state only their number."""
    own = tuple(judge.config.get("words", ()))
    return own == words if own else judge.config.model.num_words == len(words)


def _figures(
    judge: Davs | None, variants: dict[str, np.ndarray], real: np.ndarray, word: int | None
) -> dict[str, dict[str, float]]:
    """One clip's figures by variant; `identity` and `read` as far as the judge's networks and the word allow."""
    others = np.arange(len(real)) != PHOTO_FRAME
    sharpness = metrics.mouth_sharpness(real[others]).mean()
    figures = {}
    for name, frames in variants.items():
        measured = metrics.image_figures(frames[others], real[others])
        figures[name] = {key: float(values.mean()) for key, values in measured.items()}
        figures[name]["sharpness"] = float(metrics.mouth_sharpness(frames[others]).mean() / max(sharpness, 1e-6))
        figures[name]["jitter"] = float(metrics.movement(frames)["elsewhere"].mean())
    if judge is not None and judge.has("person_encoder"):
        named = [real[:1], *(frames[judge.word_frames] for frames in variants.values())]
        pid, _ = judge.pid_from_frames(np.concatenate(named))
        photo, *parts = np.split(pid, np.cumsum([len(frames) for frames in named])[:-1])
        for name, part in zip(variants, parts, strict=True):
            lengths = np.linalg.norm(part, axis=1) * np.linalg.norm(photo)
            figures[name]["identity"] = float(np.mean(part @ photo[0] / np.maximum(lengths, 1e-12)))
    if judge is not None and word is not None and judge.has("word_classifier", "visual_encoder"):
        spoken = [frames[judge.word_frames] for frames in variants.values()]
        read = judge.word_logits(judge.wid_from_video(np.stack(spoken))).argmax(1)
        for name, answer in zip(variants, read, strict=True):
            figures[name]["read"] = float(answer == word)
    return figures


def _stack(rows: Iterable[dict]) -> dict:
    """Dictionaries with the same keys → one dictionary of arrays with a new first axis."""
    rows = list(rows)
    nested = {key: [row[key] for row in rows] for key in rows[0]}
    return {key: _stack(values) if isinstance(values[0], dict) else np.stack(values) for key, values in nested.items()}

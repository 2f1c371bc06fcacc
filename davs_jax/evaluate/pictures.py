"""How good generated frames are, beside what a photo alone, other people's sound or fresh weights would reach."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from davs_jax.data.sources import ClipSource
from davs_jax.display.progress import progress
from davs_jax.evaluate import landmarks, lip_sync, metrics, perceptual
from davs_jax.evaluate.lip_sync import Score, Scorer
from davs_jax.evaluate.mouth import TRUSTED, Ruler
from davs_jax.evaluate.recognition import clips, partner, word_frames
from davs_jax.inference import Davs
from davs_jax.media.audio import windows

PHOTO_FRAME = 0  # serves as the clip's photo; a fixed rule, so that no run can pick its own
VARIANTS = {
    "audio": "the clip's own sound",
    "video": "the clip's own video",
    "shuffled": "the sound of a clip that says another word",
    "untrained": "own sound, fresh weights",
    "photo": "nothing: the photo, copied",
}
EXTREMES = 3  # best and worst clips each
EXAMPLES = 5  # clips kept for the eye, evenly spread over the split
JUDGED_CLIPS = 50  # clips that SyncNet and the face detector judge, evenly spread over the split: both take seconds


@dataclass(frozen=True)
class Pictures:
    """Figures of N clips' generated frames.

    Attributes:
      index: of the clips in the source, `[N]`.
      figures: by variant and name (those of `metrics.picture_figures`, jitter, identity, read), `[N]`: means over the
        frames of a clip save the photo's own; `jitter` is their movement outside the mouth, `identity` the cosine of
        their pid and the photo's, and `read` whether the model's own lip reader reads the clip's word in them.
      activity: of the mouth, from frame to frame (`metrics.movement`), by variant, and under "real", `[N, 28]`.
      opening: estimated curves by variant, and of the real frames under "real", `[N, 29]`; empty without a ruler.
      examples: by clip index, the frames of every variant and the real ones, uint8 `[29, S, S, 3]`.
      scores: SyncNet's, one dictionary per clip that it judged: by variant of ours, and by its own.
      corners: distances of mouth corners (`landmarks.corner_distances`), one dictionary per clip that was looked at.
      extremes: as examples, the best and the worst clips: those in which the sound-driven mouth box comes most nearer
        to the real one than the copied photo's, in mouth L1, and those in which it goes furthest from it.
    """

    index: np.ndarray
    figures: dict[str, dict[str, np.ndarray]]
    activity: dict[str, np.ndarray]
    opening: dict[str, np.ndarray]
    examples: dict[int, dict[str, np.ndarray]]
    scores: list[dict[str, dict[str, Score]]] = field(default_factory=list)
    corners: list[dict[str, np.ndarray]] = field(default_factory=list)
    extremes: dict[str, dict[int, dict[str, np.ndarray]]] = field(default_factory=dict)


def generate_variants(
    model: Davs, untrained: Davs | None, clip: dict, other_mfcc: np.ndarray | None
) -> dict[str, np.ndarray]:
    """A clip's frames in every variant, uint8 `[29, S, S, 3]`.

    Args:
      clip: one of `recognition.clips`.
      other_mfcc: windows `[29, 20, 12]` of the clip that drives it wrongly; None leaves that variant out, as None
        for `untrained` does.
    """
    photo, length = clip["frames"][PHOTO_FRAME], len(clip["frames"])
    by_sound, by_video = model.gains["audio_encoder"], model.gains["visual_encoder"]
    wid = {"audio": by_sound * model.wid_from_audio(clip["mfcc"])}
    if model.has("visual_encoder"):
        wid["video"] = by_video * model.wid_from_video(clip["frames"])
    if other_mfcc is not None:
        wid["shuffled"] = by_sound * model.wid_from_audio(other_mfcc)
    # A call for each: compilers round the last bit of an image by its place in the batch, and generation gives every
    # frame the place that it has here.
    person = model.encode_person(photo)
    results = {driver: model.decode(person, vectors) for driver, vectors in wid.items()}
    if untrained:
        results["untrained"] = untrained.decode(untrained.encode_person(photo), untrained.wid_from_audio(clip["mfcc"]))
    return results | {"photo": np.repeat(photo[None], length, 0)}


def measure(
    model: Davs,
    untrained: Davs | None,
    source: ClipSource,
    batches: Iterable[dict],
    words: np.ndarray,
    ruler: Ruler | None,
    scorer: Scorer | None = None,
    judge: perceptual.Judge | None = None,
    judged_clips: int | None = None,
) -> Pictures:
    """Generates every clip in every variant and measures it.

    Args:
      words: labels of the first N clips of the source, those that `batches` hold.
      scorer: SyncNet.
      judge: of LPIPS and FID; it keeps what it has seen.
      judged_clips: how many clips SyncNet and the face detector judge; default JUDGED_CLIPS.
    """
    wrong = len(np.unique(words)) > 1
    judged_clips = JUDGED_CLIPS if judged_clips is None else judged_clips
    kept, judged, perceived = (_spread(len(words), count) for count in (EXAMPLES, judged_clips, perceptual.CLIPS))
    rows, examples, scores, corners, extremes = [], {}, [], [], {1: [], -1: []}
    for clip in progress(clips(batches), total=len(words), desc="generating", unit="clip"):
        i, real = int(clip["index"]), clip["frames"]
        other = windows(source.record(partner(i, words))["mfcc"], np.arange(len(real))) if wrong else None
        variants = generate_variants(model, untrained, clip, other)
        figures = _figures(model, variants, real, clip["word"])
        variants["real"] = real
        opening = {name: ruler(frames) for name, frames in variants.items()} if ruler else {}
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
        if i in judged:
            corners.append(landmarks.corner_distances(shown, real))
        if judge and i in perceived:
            judge.add(i, shown, real)
        if scorer and i in judged:
            samples = source.record(i)["audio"]
            scores.append({name: scorer(frames, samples) for name, frames in variants.items() if name != "untrained"})
    named = {name: {i: variants for _, i, variants in extremes[sign]} for name, sign in (("best", 1), ("worst", -1))}
    index, *stacked = zip(*rows, strict=True)
    return Pictures(np.array(index), *map(_stack, stacked), examples, scores, corners, named)


def _spread(length: int, count: int) -> set[int]:
    """At most so many positions of `length`, evenly spread."""
    return set(np.linspace(0, length - 1, min(count, length)).astype(int).tolist())


def lip_sync_table(generated: Pictures) -> dict[str, dict[str, dict[str, float]]]:
    """SyncNet's figures (`lip_sync.table`) by its variant and by what drives the frames."""
    drivers, variants = generated.scores[0], generated.scores[0]["real"]
    return {
        variant: {driver: lip_sync.table(clip[driver][variant] for clip in generated.scores) for driver in drivers}
        for variant in variants
    }


def picture_table(generated: Pictures, people: np.ndarray | None, seed: int) -> dict:
    """Means and 95 % intervals by variant and figure."""

    def cell(values: np.ndarray) -> dict[str, float]:
        low, high = metrics.interval(values, people, seed=seed)
        return {"mean": float(values.mean()), "low": low, "high": high}

    return {
        variant: {name: cell(values) for name, values in figures.items()}
        for variant, figures in generated.figures.items()
    }


def activity_table(generated: Pictures, people: np.ndarray | None, seed: int) -> dict:
    """`metrics.motion` of the mouth's activity against the real frames', which the driver shares, by variant.

    Raises:
      ValueError: no real mouth moves.
    """
    real = generated.activity["real"]
    return {
        variant: metrics.motion(activity, real, people, seed=seed)
        for variant, activity in generated.activity.items()
        if variant != "real"
    }


def motion_table(generated: Pictures, true: np.ndarray, people: np.ndarray | None, seed: int) -> dict:
    """`metrics.motion` by variant; "real" says what the ruler itself is worth.

    Args:
      true: mouth openings `[N, 29]`; clips where they are not known (NaN) are left out.

    Returns:
      the table, with a row "ruler" (trusted, clips).

    Raises:
      ValueError: no known opening changes.
    """
    known = np.isfinite(true).all(1)
    people = people[known] if people is not None else None
    table = {
        variant: metrics.motion(opening[known], true[known], people, seed=seed)
        for variant, opening in generated.opening.items()
    }
    trusted = table["real"]["correlation"] >= TRUSTED
    return table | {"ruler": {"trusted": trusted, "clips": int(known.sum())}}


def opening_curves(generated: Pictures, true: np.ndarray) -> list[dict[str, np.ndarray]]:
    """The examples' true and estimated curves by variant, `[29]` each, where the true one is known."""
    rows = np.flatnonzero(np.isin(generated.index, list(generated.examples)) & np.isfinite(true).all(1))
    return [{"true": true[row]} | {name: curve[row] for name, curve in generated.opening.items()} for row in rows]


def _figures(model: Davs, variants: dict[str, np.ndarray], real: np.ndarray, word: int) -> dict[str, dict[str, float]]:
    """One clip's figures by variant."""
    others = np.arange(len(real)) != PHOTO_FRAME
    figures = {}
    for name, frames in variants.items():
        measured = metrics.picture_figures(frames[others], real[others])
        figures[name] = {key: float(values.mean()) for key, values in measured.items()}
        figures[name]["jitter"] = float(metrics.movement(frames)["elsewhere"].mean())
    named = [real[:1], *(frames[word_frames(model)] for frames in variants.values())]
    pid, _ = model.pid_from_frames(np.concatenate(named))
    photo, *parts = np.split(pid, np.cumsum([len(frames) for frames in named])[:-1])
    for name, part in zip(variants, parts, strict=True):
        lengths = np.linalg.norm(part, axis=1) * np.linalg.norm(photo)
        figures[name]["identity"] = float(np.mean(part @ photo[0] / np.maximum(lengths, 1e-12)))
    if model.has("word_classifier", "visual_encoder"):
        spoken = [frames[word_frames(model)] for frames in variants.values()]
        wid = model.wid_from_video(np.concatenate(spoken))
        read = model.word_logits(wid.reshape(len(spoken), len(spoken[0]), -1)).argmax(1)
        for name, answer in zip(variants, read, strict=True):
            figures[name]["read"] = float(answer == word)
    return figures


def _stack(rows: Iterable[dict]) -> dict:
    """Dictionaries of the same keys → one dictionary of arrays with a first axis more."""
    rows = list(rows)
    nested = {key: [row[key] for row in rows] for key in rows[0]}
    return {key: _stack(values) if isinstance(values[0], dict) else np.stack(values) for key, values in nested.items()}

"""How good generated frames are, beside what a photo alone, other people's sound or fresh weights would reach."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from davs_jax import metrics
from davs_jax.inference import Davs
from davs_jax.media.audio import windows
from davs_jax.mouth import TRUSTED, Ruler
from davs_jax.recognition import clips, word_frames
from davs_jax.sources import ClipSource

PHOTO_FRAME = 0  # serves as the clip's photo; a fixed rule, so that no run can pick its own
VARIANTS = {
    "audio": "driven by the clip's own sound",
    "video": "driven by the clip's own video",
    "shuffled": "driven by the sound of another clip, which says another word",
    "untrained": "driven by the clip's own sound, through fresh weights of the same configuration",
    "photo": "the photo itself, repeated: a mouth that never moves",
}
EXAMPLES = 5  # clips kept for the eye, evenly spread over the split


@dataclass(frozen=True)
class Pictures:
    """Figures of N clips' generated frames.

    Attributes:
      figures: by variant and name (psnr, ssim, mouth_psnr, mouth_l1, read), `[N]`: means over the frames of a clip
        save the photo's own; `read` is whether the model's own lip reader reads the clip's word in them.
      opening: estimated curves by variant, and of the real frames under "real", `[N, 29]`; empty without a ruler.
      true: the true curves `[N, 29]`, NaN where unknown.
      examples: by clip index, the frames of every variant and the real ones, uint8 `[29, S, S, 3]`.
    """

    index: np.ndarray
    speaker: np.ndarray
    figures: dict[str, dict[str, np.ndarray]]
    opening: dict[str, np.ndarray]
    true: np.ndarray
    examples: dict[int, dict[str, np.ndarray]]


def partner(i: int, words: np.ndarray) -> int:
    """The clip whose sound drives clip i wrongly: the next one, from the middle on, that says another word.

    Raises:
      ValueError: every clip says the same word.
    """
    others = (i + len(words) // 2 + np.arange(len(words))) % len(words)
    different = others[words[others] != words[i]]
    if not len(different):
        raise ValueError("all clips say one word, so none can drive another wrongly")
    return int(different[0])


def generate_variants(
    model: Davs, untrained: Davs | None, clip: dict, other_mfcc: np.ndarray | None
) -> dict[str, np.ndarray]:
    """A clip's frames in every variant, uint8 `[29, S, S, 3]`.

    Args:
      clip: one of `recognition.clips`.
      other_mfcc: windows `[29, 20, 12]` of the clip that drives it wrongly; None leaves that variant out, as None
        for `untrained` does.
    """
    photo = clip["frames"][PHOTO_FRAME]
    person = model.encode_person(photo)
    results = {
        "audio": model.decode(person, model.wid_from_audio(clip["mfcc"])),
        "video": model.decode(person, model.wid_from_video(clip["frames"])),
    }
    if other_mfcc is not None:
        results["shuffled"] = model.decode(person, model.wid_from_audio(other_mfcc))
    if untrained:
        fresh = untrained.encode_person(photo)
        results["untrained"] = untrained.decode(fresh, untrained.wid_from_audio(clip["mfcc"]))
    results["photo"] = np.repeat(photo[None], len(clip["frames"]), 0)
    return results


def measure(
    model: Davs,
    untrained: Davs | None,
    source: ClipSource,
    batches: Iterable[dict],
    words: np.ndarray,
    ruler: Ruler | None,
) -> Pictures:
    """Generates every clip in every variant and measures it.

    Args:
      words: labels of the first N clips of the source, those that `batches` hold.
    """
    wrong = len(np.unique(words)) > 1
    kept = set(np.linspace(0, len(words) - 1, min(EXAMPLES, len(words))).astype(int).tolist())
    rows, examples = [], {}
    for clip in tqdm(clips(batches), total=len(words), desc="generating", unit="clip"):
        i, real = int(clip["index"]), clip["frames"]
        other = windows(source.record(partner(i, words))["mfcc"], range(len(real))) if wrong else None
        variants = generate_variants(model, untrained, clip, other)
        figures = {name: _clip_figures(model, frames, real, clip["word"]) for name, frames in variants.items()}
        variants["real"] = real
        opening = {name: ruler(frames) for name, frames in variants.items()} if ruler else {}
        rows.append((i, clip["speaker"], clip["mouth_opening"], figures, opening))
        if i in kept:
            examples[i] = variants
    index, speaker, true, figures, opening = zip(*rows, strict=True)
    return Pictures(np.array(index), np.array(speaker), _stack(figures), _stack(opening), np.stack(true), examples)


def picture_table(generated: Pictures, people: np.ndarray | None, seed: int) -> dict:
    """Means and 95 % intervals by variant and figure."""

    def cell(values: np.ndarray) -> dict[str, float]:
        low, high = metrics.interval(values, people, seed=seed)
        return {"mean": float(values.mean()), "low": low, "high": high}

    return {
        variant: {name: cell(values) for name, values in figures.items()}
        for variant, figures in generated.figures.items()
    }


def motion_table(generated: Pictures, people: np.ndarray | None, seed: int) -> tuple[dict, dict[str, str]]:
    """`metrics.motion` by variant on the clips whose true opening is known; "real" says what the ruler is worth.

    Returns:
      the table, with a row "ruler" (trusted, clips), and the reason if there is none.
    """
    known = np.isfinite(generated.true).all(1)
    people = people[known] if people is not None else None
    try:
        table = {
            variant: metrics.motion(opening[known], generated.true[known], people, seed=seed)
            for variant, opening in generated.opening.items()
        }
    except ValueError as error:
        return {}, {"motion": str(error)}
    trusted = table["real"]["correlation"] >= TRUSTED
    return table | {"ruler": {"trusted": trusted, "clips": int(known.sum())}}, {}


def opening_curves(generated: Pictures) -> list[dict[str, np.ndarray]]:
    """The examples' true and estimated curves by variant, `[29]` each."""
    rows = [np.flatnonzero(generated.index == i)[0] for i in generated.examples]
    return [
        {"true": generated.true[row]} | {name: curve[row] for name, curve in generated.opening.items()}
        for row in rows
        if np.isfinite(generated.true[row]).all()
    ]


def _clip_figures(model: Davs, frames: np.ndarray, real: np.ndarray, word: int) -> dict[str, float]:
    others = np.arange(len(real)) != PHOTO_FRAME
    measured = metrics.picture_figures(frames[others], real[others])
    figures = {name: float(values.mean()) for name, values in measured.items()}
    if model.has("word_classifier"):
        wid = model.wid_from_video(frames[word_frames(model)])
        figures["read"] = float(model.word_logits(wid[None]).argmax() == word)
    return figures


def _stack(rows: Iterable[dict]) -> dict:
    """Dictionaries of the same keys → one dictionary of arrays with a first axis more."""
    first, *_ = rows = list(rows)
    return {
        k: _stack(r[k] for r in rows) if isinstance(first[k], dict) else np.stack([r[k] for r in rows]) for k in first
    }

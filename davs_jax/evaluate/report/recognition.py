"""Sections of the page: words read, retrieval, synchronisation, and disentanglement by probes and the swap test."""

import html
from collections.abc import Mapping, Sequence

from davs_jax.display.page import bracketed, image, percent, section, table
from davs_jax.evaluate.sections import (
    Accuracy,
    Control,
    Figures,
    Probes,
    Retrieval,
    Share,
    Swap,
    Swapped,
    Synchronisation,
    Word,
)
from davs_jax.media.offsets import SHIFTS

BASELINES = {"untrained": "fresh weights", "shuffled": "audio exchanged"}
MODALITIES = {"audio": "from audio", "video": "from video", "both": "from both (summed logits)"}
WEIGHTED = "from both (logits weighted by {audio:.2f}, {video:.2f})"
PLACES = {
    "audio_wid": "word vectors of the audio",
    "video_wid": "word vectors of the video",
    **{
        f"{modality}_wid_{view}": f"word vectors of the {modality}, {text}"
        for modality in ("audio", "video")
        for view, text in (("frames", "all frames"), ("moments", "how far each feature moves"))
    },
    "pid": "person vectors",
    "maps": "person map that the word adversary reads",
}


def accuracy(figures: Figures, words: int, confusions: bytes | None) -> str:
    """The section "Lip reading and speech recognition"; empty where words were not read.

    Args:
      words: the size of the vocabulary.
      confusions: a plot, PNG bytes.
    """
    if not figures.accuracy:
        return ""
    rows = [_accuracy(name, figures.accuracy[key]) for key, name in MODALITIES.items() if key in figures.accuracy]
    if figures.fusion and "weighted" in figures.accuracy:
        rows.append(_accuracy(WEIGHTED.format(**vars(figures.fusion)), figures.accuracy["weighted"]))
    rows += [
        _accuracy(f"{name}, {BASELINES[key]}", row[modality])
        for key, row in (figures.accuracy_baselines or {}).items()
        for modality, name in MODALITIES.items()
        # Exchanged audio does not change what is read from video.
        if modality in row and (key, modality) != ("shuffled", "video")
    ]
    body = table(("words read", "first guess right", "among the first five"), rows)
    body += f"<figure>{image(confusions)}</figure>" if confusions else ""
    return section(
        "Lip reading and speech recognition",
        f"The share of clips whose word, one of {words:,}, is recognised. Guessing reaches {percent(1 / words)} at "
        f"once and {percent(min(1, 5 / words))} in five. “Both” can hide a video encoder that does not work: look at "
        "video alone. Weights of the logits are fitted on the validation split. Where “audio is exchanged”, each clip "
        "gets the audio of a clip that says another word.",
        body + _words(figures.words or {}),
    )


def _accuracy(name: str, found: Accuracy) -> tuple[str, str, str]:
    top5 = bracketed(found.top5, found.top5_low, found.top5_high, percent)
    return name, bracketed(found.accuracy, found.low, found.high, percent), top5


def _words(found: Mapping[str, Word]) -> str:
    if not found:
        return ""
    first = next(iter(found.values()))
    modalities = [name for name in MODALITIES if getattr(first, name) is not None]
    rows = [
        (
            html.escape(word),
            f"{row.clips:,}",
            *(percent(getattr(row, name)) for name in modalities),
            html.escape(row.taken_for),
        )
        for word, row in found.items()
    ]
    counted = "video" if "video" in modalities else "audio"
    headers = ("word", "clips", *(MODALITIES[name] for name in modalities), f"from {counted}, most often taken for")
    return f"<details><summary>Every word</summary>{table(headers, rows)}</details>"


def retrieval(found: Retrieval | None) -> str:
    """The section "Retrieval"."""
    if not found:
        return ""
    directions = {"audio → its video": found.audio_to_video, "video → its audio": found.video_to_audio}
    rows = [
        (
            name,
            *(percent(share) for share in (ranks.r1, ranks.r5, ranks.r10, ranks.r50)),
            f"{ranks.median_rank:.1f}",
            f"{ranks.mean_rank:.1f}",
        )
        for name, ranks in directions.items()
    ]
    size = found.audio_to_video.gallery
    return section(
        "Retrieval",
        f"Given a clip's audio, is its own video among the nearest k of all {size:,} clips (and vice versa)? Distances "
        f"are Euclidean, between normalised clip vectors. Guessing reaches {percent(1 / size)} at k = 1 and a median "
        f"rank of {(size + 1) / 2:,.0f}. Clips of the same word are close to each other by design, so R@1 needs more "
        "than the word.",
        table(("", "R@1", "R@5", "R@10", "R@50", "median rank", "mean rank"), rows),
    )


def synchronisation(found: Synchronisation | None) -> str:
    """The section "Synchronisation"."""
    if not found:
        return ""

    def row(name: str, share: Share) -> tuple[str, str, str]:
        return name, bracketed(share.accuracy, share.low, share.high, percent), percent(share.chance)

    rows = [row("known shifts found to the frame", found.exact), row("found within one frame", found.within_1)]
    counts = {int(late): number for late, number in found.offsets.items()}
    total = sum(counts.values())
    spread = table(
        ("frames late", *(f"{late:+d}" if late else "0" for late in counts)),
        [("share of the clips", *(f"{100 * n / total:.0f} %" for n in counts.values()))],
    )
    return section(
        "Synchronisation",
        f"By how many frames is a clip's audio late? The answer is the offset, out of ±{max(counts)}, at which the "
        "vectors of video and audio are nearest on average; every offset is measured on the same frames, none on "
        f"padding. Known shifts are tests: audio is moved by −{max(SHIFTS)} … {max(SHIFTS)} frames. Mean distance at "
        f"the offset {found.distance:.3f}, confidence (median minus minimum) {found.confidence:.3f}.",
        table(("", "share", "guessing"), rows) + f"<h3>Clips by the offset found, nothing moved</h3>{spread}",
    )


def disentanglement(figures: Figures) -> str:
    """The section of probes and the swap test, beside those of the control where there is one."""
    control = figures.control or Control()
    beside = figures.control is not None
    groups = (
        ("clips", "", figures.probes, control.probes),
        ("identity images", ", of identity images", figures.face_probes, control.face_probes),
    )
    rows = [
        _probe(name, found, (other or {}).get(name), beside, unit, label)
        for unit, label, group, other in groups
        for name, found in (group or {}).items()
    ]
    if not rows:
        return ""
    return section(
        "Disentanglement",
        "A new classifier, linear or with a hidden layer of 64 units, tries to read words and people from each "
        "representation. It is tested on clips that it was not fitted on: words on unseen people (where the corpus "
        "knows its people), people on unseen words. A perfect separation leaves “at chance” rows at chance. The "
        "training's own adversaries cannot show this: they may be weak.",
        table(
            (
                "probe",
                "should be",
                *_headers("linear", beside),
                *_headers("hidden layer", beside),
                "chance",
                "on",
            ),
            rows,
        )
        + _swapped(figures.swap, control.swap, beside),
    )


def _probe(name: str, found: Probes, other: Probes | None, beside: bool, unit: str, label: str) -> tuple[str, ...]:
    what, place = name.split("_from_")
    wanted = (what == "word") == ("wid" in place)
    return (
        f"{what} from {PLACES[place]}{label}",
        "high" if wanted else "at chance",
        *_beside(found, other, beside),
        *_beside(found.mlp, other and other.mlp, beside),
        percent(found.chance),
        f"{found.clips:,} {unit}",
    )


def _headers(name: str, beside: bool) -> tuple[str, ...]:
    return (name, f"{name}, control") if beside else (name,)


def _beside(found: Share | Swapped, other: Share | Swapped | None, beside: bool) -> Sequence[str]:
    """A figure's cell and, beside a control, the control's."""
    cells = [bracketed(f.accuracy, f.low, f.high, percent) if f else "–" for f in (found, other)]
    return cells if beside else cells[:1]


def _swapped(found: Swap | None, control: Swap | None, beside: bool) -> str:
    if not found:
        return ""
    names = {
        "person": "A, by the face",
        "word_video": "B's word, driven by B's video",
        "word_audio": "B's word, driven by B's audio",
    }
    rows = []
    for key, text in names.items():
        row = getattr(found, key)
        cells = _beside(row, getattr(control, key, None), beside)
        rows.append((text, percent(row.real), *cells, percent(row.other), percent(row.chance)))
    headers = ("recognised as", "on real frames", *_headers("on swapped frames", beside), "as the other", "chance")
    return (
        "<h3>Swap test</h3><p>The person of clip A is generated saying what clip B says "
        f"({found.pairs:,} pairs of two people and two words). Classifiers of pixels, fitted on {found.clips:,} real "
        "clips only, name the person and the word. Their accuracy on other real clips is the upper bound.</p>"
        + table(headers, rows)
    )

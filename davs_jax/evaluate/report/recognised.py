"""What is read: words from sound and picture, one from the other, words and people from the vectors."""

import html

from davs_jax.display.page import bracketed, image, percent, section, table
from davs_jax.media.offsets import SHIFTS

BASELINES = {"untrained": "fresh weights", "shuffled": "sounds exchanged"}
ACCURACY = {"audio": "from the sound", "video": "from the picture", "both": "from both (summed logits)"}
DIRECTIONS = {"audio_to_video": "sound → its picture", "video_to_audio": "picture → its sound"}
PLACES = {
    "audio_wid": "word vectors of the sound",
    "video_wid": "word vectors of the picture",
    "pid": "person vectors",
    "maps": "person map that the word adversary reads",
}


def accuracy(figures: dict, evaluated: dict, confusions: bytes | None) -> str:
    found = figures.get("accuracy")
    if not found:
        return ""
    rows = [
        (name, bracketed(found[key], "accuracy", percent), bracketed(found[key], "top5", percent, "top5_"))
        for key, name in ACCURACY.items()
        if key in found
    ]
    rows += [
        (
            f"{name}, {BASELINES[key]}",
            bracketed(row[side], "accuracy", percent),
            bracketed(row[side], "top5", percent, "top5_"),
        )
        for key, row in figures.get("accuracy_baselines", {}).items()
        for side, name in ACCURACY.items()
        if side in row and (key, side) != ("shuffled", "video")  # the sound does not change what the picture says
    ]
    chance, top5 = 1 / evaluated["words"], min(1, 5 / evaluated["words"])
    body = table(("words read", "first guess right", "among the first five"), rows)
    body += f"<figure>{image(confusions)}</figure>" if confusions else ""
    return section(
        "Lip reading and speech reading",
        f"The share of clips whose word, one of {evaluated['words']:,}, is named correctly. Guessing reaches "
        f"{percent(chance)} at once and {percent(top5)} in five. “Both” can hide a blind video encoder: look at the "
        "picture alone. Where “sounds are exchanged”, each clip gets the sound of one that says another word.",
        body + _words(figures.get("words", {})),
    )


def _words(found: dict) -> str:
    rows = [
        (
            html.escape(word),
            f"{row['clips']:,}",
            *(percent(row[key]) for key in ACCURACY if key in row),
            html.escape(row["taken_for"]),
        )
        for word, row in found.items()
    ]
    if not rows:
        return ""
    sides = [key for key in ACCURACY if key in next(iter(found.values()))]
    told = "picture" if "video" in sides else "sound"
    headers = ("word", "clips", *(ACCURACY[key] for key in sides), f"from the {told}, most often taken for")
    return f"<details><summary>Every word</summary>{table(headers, rows)}</details>"


def retrieval(found: dict | None) -> str:
    if not found:
        return ""
    keys = ("r1", "r5", "r10", "r50")
    rows = [
        (
            name,
            *(percent(found[key][k]) for k in keys),
            *(f"{found[key][k]:.1f}" for k in ("median_rank", "mean_rank")),
        )
        for key, name in DIRECTIONS.items()
    ]
    size = found["audio_to_video"]["gallery"]
    return section(
        "Retrieval",
        f"Given the sound of a clip, is its own picture among the nearest k of all {size:,} clips (and the other way)? "
        f"Distances are Euclidean, between normalised clip vectors. Guessing reaches {percent(1 / size)} at k = 1 and "
        f"a median rank of {(size + 1) / 2:,.0f}. Clips of the same word are near each other by design, so R@1 asks "
        "for more than the word.",
        table(("", "R@1", "R@5", "R@10", "R@50", "median rank", "mean rank"), rows),
    )


def synchronisation(found: dict | None) -> str:
    if not found:
        return ""
    names = {"exact": "known shifts found to the frame", "within_1": "found within one frame"}
    rows = [
        (text, bracketed(found[key], "accuracy", percent), percent(found[key]["chance"])) for key, text in names.items()
    ]
    counts = {int(late): number for late, number in found["offsets"].items()}
    total = sum(counts.values())
    spread = table(
        ("frames late", *(f"{late:+d}" if late else "0" for late in counts)),
        [("share of the clips", *(f"{100 * n / total:.0f} %" for n in counts.values()))],
    )
    return section(
        "Synchronisation",
        f"By how many frames is a clip's sound late? The offset, out of ±{max(counts)}, at which the vectors of "
        "picture and sound are nearest on average; every offset is judged on the same pictures, none on padding. Sound "
        f"is moved by −{max(SHIFTS)} … {max(SHIFTS)} frames to see whether that is found. Mean distance at the offset "
        f"{found['distance']:.3f}, confidence (median less least) {found['confidence']:.3f}.",
        table(("", "share", "guessing"), rows) + f"<h3>Clips by the offset found, nothing moved</h3>{spread}",
    )


def probes(figures: dict) -> str:
    control, rows = figures.get("control", {}), []
    for group, where in (("probes", "clips"), ("face_probes", "identity images")):
        for name, probe in figures.get(group, {}).items():
            what, place = name.split("_from_")
            label = f"{what} from {PLACES[place]}" + (", of identity images" if group == "face_probes" else "")
            wanted = (what == "word") == place.endswith("wid")
            beside = control.get(group, {}).get(name)
            rows.append(
                (
                    label,
                    "high" if wanted else "at chance",
                    *_beside(probe, beside, control),
                    *_beside(probe["mlp"], beside and beside["mlp"], control),
                    percent(probe["chance"]),
                    f"{probe['clips']:,} {where}",
                )
            )
    if not rows:
        return ""
    return section(
        "Who is in the words, and what is said in the person",
        "A fresh classifier, linear or with a hidden layer of 64, tries to read words and people from each "
        "representation, and is judged on clips that it was not fitted on: words on people it has not met (where the "
        "corpus knows its people), people on words it has not met. A perfect separation leaves “at chance” rows at "
        "chance. The training's own adversaries cannot show this: they may simply be weak.",
        table(
            ("probe", "should be", *_headers("linear", control), *_headers("small network", control), "chance", "on"),
            rows,
        )
        + _swapped(figures.get("swap"), control),
    )


def _headers(name: str, control: dict) -> tuple[str, ...]:
    return (name, f"{name}, control") if control else (name,)


def _beside(found: dict, other: dict | None, control: dict) -> list[str]:
    """A figure's cell and, where there is a control, the control's."""
    cell = bracketed(found, "accuracy", percent)
    return [cell, bracketed(other, "accuracy", percent) if other else "–"] if control else [cell]


def _swapped(found: dict | None, control: dict) -> str:
    if not found:
        return ""
    names = {
        "person": "A, by the face",
        "word_video": "B's word, driven by B's picture",
        "word_audio": "B's word, driven by B's sound",
    }
    rows = [
        (
            text,
            percent(found[key]["real"]),
            *_beside(found[key], control.get("swap", {}).get(key), control),
            *(percent(found[key]["other"]), percent(found[key]["chance"])),
        )
        for key, text in names.items()
    ]
    return (
        f"<h3>Swapped</h3><p>The person of clip A is made to say what clip B says ({found['pairs']:,} pairs of two "
        f"people and two words). Judges are classifiers of pixels, fitted on {found['clips']:,} real clips and nothing "
        "else; what they reach on other real clips is the most that can be asked for.</p>"
        + table(
            ("recognised as", "on real frames", *_headers("on swapped frames", control), "as the other", "chance"), rows
        )
    )

"""The sections of a report, one function each: a part of `figures` of report.json → HTML, empty where it is missing."""

import html

from davs_jax import plots
from davs_jax.evaluation.lip_sync import VARIANTS as SYNCNET_VARIANTS
from davs_jax.evaluation.pictures import VARIANTS
from davs_jax.media.offsets import SHIFTS
from davs_jax.page import bracketed, decimals, image, percent, section, table

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


def generated(found: dict | None, evaluated: dict) -> str:
    if not found:
        return ""
    likeness = {"psnr": "PSNR, dB ↑", "ssim": "SSIM ↑", "mouth_psnr": "mouth PSNR, dB ↑", "mouth_l1": "mouth L1 ↓"}
    likeness |= {"legacy_psnr": "legacy PSNR, dB"}
    others = {"jitter": "jitter ↓", "identity": "identity ↑"}
    if "read" in found["audio"]:
        others["read"] = "words read ↑"
    formats = dict.fromkeys(("ssim", "identity"), lambda value: decimals(value, 3)) | {"read": percent}

    def shown(columns: dict[str, str]) -> str:
        rows = [
            (VARIANTS[variant], *(bracketed(figures[k], "mean", formats.get(k, decimals)) for k in columns))
            for variant, figures in found.items()
        ]
        return table(("driven by", *columns.values()), rows, main=("audio", "video"), keys=list(found))

    return section(
        "Generated frames",
        "Every clip is generated from its first frame and compared with its real frames, the first left out. "
        "Copying the photo is hard to beat over the whole picture, for most of it never moves: look at the mouth box, "
        "and at the distance between right and wrong sound. Mouth L1 is on the 0…255 scale. Legacy PSNR subtracts and "
        "squares in bytes that wrap at 256: wrong, and here for comparison with figures published so.",
        shown(likeness)
        + "<h3>Beside likeness</h3><p>Jitter is the mean change from frame to frame outside the mouth box, on the "
        "0…255 scale. Identity is the cosine between the person vectors of frames and photo, by the model's own person "
        "encoder. “Words read” asks the model's own lip reader for the word (guessing: "
        f"{percent(1 / evaluated['words'])}): a judge that is not independent, so compare with the copied photo and "
        "the wrong sound.</p>" + shown(others),
    )


def lip_sync(found: dict | None) -> str:
    if not found:
        return ""
    names = {"real": "real frames"} | VARIANTS
    body = ""
    for variant, figures in found.items():
        rows = [
            (
                names[driver],
                *(f"{row[key]:.3f}" for key in ("distance", "confidence")),
                *(f"{row['offset']:+.2f}", percent(row["within_1"])),
                *(f"{row[key]:,}" for key in ("clips", "windows", "pairs", "padded")),
            )
            for driver, row in figures.items()
        ]
        headers = ("driven by", "LSE-D ↓", "LSE-C ↑", "mean offset", "within 1", "clips", "windows", "pairs", "padded")
        body += f"<h3>{variant}</h3><p>{SYNCNET_VARIANTS[variant]}.</p>"
        body += table(headers, rows, main=("audio", "video"), keys=list(figures))
    return section(
        "Lip sync, judged by SyncNet",
        "An independent judge of whether mouth and sound belong together. Its pictures are the aligned crops of the "
        "records, enlarged to 224 px, not the pictures that it was trained on: compare with the real frames of the "
        "same table only. Clips of 29 frames give 24 windows; at far offsets most of the sound is padding, which the "
        "variant valid-only leaves out. The variant face-track needs the whole picture about the face, which records "
        "do not hold: <code>python -m davs_jax.sync FILE --syncnet W</code> gives it for a file.",
        body,
    )


def landmarks(found: dict | None) -> str:
    if not found:
        return ""
    measure = found["measure"]
    rows = [
        (
            VARIANTS[variant],
            "–" if found[variant]["mean"] is None else f"{found[variant]['mean']:.3f}",
            *(f"{found[variant][key]:,}" for key in ("frames", "missed")),
        )
        for variant in found
        if variant != "measure"
    ]
    return section(
        "Mouth corners",
        f"How far the corners of the mouth lie from those of the real frame. Size: {measure['size']}. Detector: "
        f"{measure['detector']}. Divisor: {measure['divisor']}. Every fourth frame of {measure['clips']:,} clips; "
        "frames in which no face was found are counted as missed and left out.",
        table(("driven by", "distance ↓", "frames", "missed"), rows),
    )


def activity(found: dict | None) -> str:
    if not found:
        return ""
    rows = [(VARIANTS[v], bracketed(row, "correlation"), f"{row['amplitude']:.2f}") for v, row in found.items()]
    return section(
        "Mouth activity",
        "How much the mouth box changes from each frame to the next, against the real frames, whose sound and picture "
        "are the drivers; each clip's mean taken off. It needs no truth, so it serves recordings too, but it does not "
        "know an opening mouth from a closing one.",
        table(("driven by", "correlation", "amplitude"), rows, main=("audio", "video"), keys=list(found)),
    )


def motion(found: dict | None, openings) -> str:
    if not found:
        return ""
    names = {"real": "real frames: what the ruler itself reaches"} | VARIANTS
    rows = [(names[v], bracketed(found[v], "correlation"), f"{found[v]['amplitude']:.2f}") for v in names if v in found]
    warning = (
        ""
        if found["ruler"]["trusted"]
        else '<p class="warn"><b>Not to be trusted:</b> on real frames of unseen people the ruler correlates with the '
        "truth below 0.9, so the figures of generated frames say little.</p>"
    )
    return section(
        "Mouth motion",
        "How far the mouth is open is read from the pixels by a ridge regression fitted on real frames of the training "
        f"split, and compared with the true opening ({found['ruler']['clips']:,} clips), each clip's mean taken off. "
        "Correlation says that the mouth moves at the right time; amplitude that it moves as far (1 is the truth; a "
        "blurred mouth measures smaller).",
        warning
        + table(
            ("driven by", "correlation", "amplitude"),
            rows,
            main=("audio", "video"),
            keys=[v for v in names if v in found],
        )
        + (f"<figure>{image(plots.openings(openings))}</figure>" if openings else ""),
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

"""What is drawn: generated frames beside the real ones, by pixels, landmarks, motion, and networks that judge."""

from davs_jax.display import plots
from davs_jax.display.page import bracketed, decimals, image, percent, section, table
from davs_jax.evaluate.lip_sync import VARIANTS as SYNCNET_VARIANTS
from davs_jax.evaluate.pictures import VARIANTS


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


def perceptual(found: dict | None) -> str:
    if not found:
        return ""
    measure = found["measure"]
    titles = {"lpips": "LPIPS ↓", "fid": "FID ↓"}
    shown = [key for key in titles if key in measure]
    cells = {
        "lpips": lambda row: bracketed(row["lpips"], "mean", lambda value: decimals(value, 3)),
        "fid": lambda row: decimals(row["fid"]),
    }
    rows = [(VARIANTS[v], *(cells[key](row) for key in shown)) for v, row in found.items() if v != "measure"]
    return section(
        "Likeness, judged by networks that know photos",
        f"{'; '.join(measure[key] for key in shown)}. Every fourth frame of {measure['clips']:,} clips, "
        f"{measure['pictures']:,} pictures a row. LPIPS compares each frame with its real one; FID all frames with all "
        "real ones, whatever belongs together, and is the larger the fewer there are: compare rows of one table only.",
        table(("driven by", *(titles[key] for key in shown)), rows, main=("audio", "video"), keys=list(found)),
    )

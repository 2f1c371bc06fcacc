"""Sections of the page: generated frames against the real ones, by pixels, SyncNet, landmarks and mouth motion."""

from collections.abc import Mapping, Sequence

import numpy as np

from davs_jax.display import plots
from davs_jax.display.page import bracketed, decimals, image, percent, section, table
from davs_jax.evaluate.generated import VARIANTS
from davs_jax.evaluate.lip_sync import VARIANTS as SYNCNET_VARIANTS
from davs_jax.evaluate.mouth_opening import TRUSTED
from davs_jax.evaluate.sections import Landmarks, Likeness, Lips, LipSync, Mean, Motion, MouthMotion, Perceptual
from davs_jax.evaluate.shown import described

OURS = ("audio", "video")  # rows in bold
CLOSENESS = ("psnr", "ssim", "mouth_psnr", "mouth_l1", "legacy_psnr")
OTHERS = ("jitter", "sharpness", "identity", "read")


def _thousandths(value: float) -> str:
    return decimals(value, 3)


FORMATS = {"ssim": _thousandths, "identity": _thousandths, "read": percent}


def likeness(found: Mapping[str, Likeness] | None, words: int) -> str:
    """The section "Generated frames"; `words` is the size of the vocabulary, 0 where clips have no words."""
    if not found:
        return ""
    guessing = f" (guessing: {percent(1 / words)})" if words else ""
    return section(
        "Generated frames",
        "Every clip is generated from its first frame and compared with its real frames except the first. A copied "
        "photo is hard to beat over the whole image, most of which never moves: look at the mouth box, and at the "
        "difference between right and wrong audio. Mouth L1 is on the 0…255 scale. Legacy PSNR subtracts and squares "
        "in bytes that wrap at 256; it is wrong, and is here for comparison with figures published in this way.",
        _likeness_table(found, CLOSENESS) + "<h3>Beyond likeness</h3><p>Jitter is the mean change from frame to frame "
        "outside the mouth box, on the 0…255 scale. Mouth sharpness is the mean gradient inside the box, beside that "
        "of the real frames (1; a blurred mouth has less). Identity is the cosine between the person vectors of frames "
        "and photo, by the judge's person encoder. “Words read” is the accuracy of the judge's lip reader on the "
        f"generated frames{guessing}. The judge is the model itself unless another was given; "
        "compare with the copied photo and the wrong audio.</p>" + _likeness_table(found, OTHERS),
    )


def _likeness_table(found: Mapping[str, Likeness], columns: Sequence[str]) -> str:
    shown, labels = [name for name in columns if getattr(found["audio"], name) is not None], described(Likeness)

    def cell(figure: Mean, name: str) -> str:
        return bracketed(figure.mean, figure.low, figure.high, FORMATS.get(name, decimals))

    rows = [(VARIANTS[v], *(cell(getattr(figures, name), name) for name in shown)) for v, figures in found.items()]
    return table(("driven by", *(labels[name][1].label for name in shown)), rows, main=OURS, keys=list(found))


def lip_sync(found: Mapping[str, Mapping[str, LipSync]] | None) -> str:
    """The section "Lip sync, scored by SyncNet", a table for each of SyncNet's variants."""
    if not found:
        return ""
    names = {"real": "real frames"} | VARIANTS
    headers = ("driven by", "LSE-D ↓", "LSE-C ↑", "mean offset", "within 1", "clips", "windows", "pairs", "padded")
    body = ""
    for variant, by_driver in found.items():
        rows = [
            (
                names[driver],
                *(f"{row.distance:.3f}", f"{row.confidence:.3f}", f"{row.offset:+.2f}", percent(row.within_1)),
                *(f"{count:,}" for count in (row.clips, row.windows, row.pairs, row.padded)),
            )
            for driver, row in by_driver.items()
        ]
        body += f"<h3>{variant}</h3><p>{SYNCNET_VARIANTS[variant]}.</p>"
        body += table(headers, rows, main=OURS, keys=list(by_driver))
    return section(
        "Lip sync, scored by SyncNet",
        "An independent measure of whether mouth and audio belong together. Its input here is the aligned crops of the "
        "records, enlarged to 224 px, which differ from SyncNet's training images: compare with the real frames of the "
        "same table only. Clips of 29 frames give 24 windows; at far offsets most of the audio is padding, which the "
        "variant valid-only leaves out. The variant face-track needs the whole image around the face, which records do "
        "not hold: use <code>python -m davs_jax.sync FILE --syncnet W</code> for a file.",
        body,
    )


def landmarks(found: Landmarks | None) -> str:
    """The section "Mouth corners"."""
    if not found:
        return ""
    measure = found.measure
    rows = [
        (VARIANTS[v], "–" if row.mean is None else f"{row.mean:.3f}", f"{row.frames:,}", f"{row.missed:,}")
        for v, row in found.by_driver.items()
    ]
    return section(
        "Mouth corners",
        f"The distance of the mouth corners from those of the real frame. Size: {measure.size}. Detector: "
        f"{measure.detector}. Divisor: {measure.divisor}. Every fourth frame of {measure.clips:,} clips; frames in "
        "which no face was found are counted as missed and left out.",
        table(("driven by", "distance ↓", "frames", "missed"), rows),
    )


def lips(found: Lips | None) -> str:
    """The section "Lips"."""
    if not found:
        return ""
    measure = found.measure
    headers = ("driven by", "correlation", "amplitude", "landmark distance ↓")
    apart = "no face was found by the second" if measure.apart is None else f"{measure.apart:.3f} apart"
    rows = [
        (
            VARIANTS[v],
            bracketed(row.correlation, row.low, row.high),
            f"{row.amplitude:.2f}",
            f"{row.distance:.4f}",
        )
        for v, row in found.by_driver.items()
    ]
    return section(
        "Lips",
        "The widest gap between the inner lips, compared with that in the real frames, each clip's mean subtracted, "
        "and the mean distance of the lip points from the real ones, each frame centred (landmark distance, Chen et "
        f"al. 2018). Unit: eye distances. Detector: {measure.detector}; on real frames its mouth corners and those of "
        f"{measure.second} are {apart}. All frames of {measure.clips:,} clips.",
        table(headers, rows, main=OURS, keys=list(found.by_driver)),
    )


def activity(found: Mapping[str, Motion] | None) -> str:
    """The section "Mouth activity"."""
    if not found:
        return ""
    return section(
        "Mouth activity",
        "The change of the mouth box from frame to frame, compared with that of the real frames; each clip's mean is "
        "subtracted. It needs no ground truth, so it works for recordings too, but it cannot tell an opening mouth "
        "from a closing one.",
        _motion_table({VARIANTS[v]: row for v, row in found.items()}, list(found)),
    )


def motion(found: MouthMotion | None, openings: Sequence[dict[str, np.ndarray]]) -> str:
    """The section "Mouth motion"; `openings` as `plots.openings` takes them."""
    if not found:
        return ""
    names = {"real": "real frames: the estimator itself"} | VARIANTS
    shown = [v for v in names if v in found.by_driver]
    warning = (
        ""
        if found.estimator.trusted
        else '<p class="warn"><b>Not reliable:</b> on real frames of unseen people the estimate correlates with the '
        f"truth below {TRUSTED}, so the figures of generated frames mean little.</p>"
    )
    return section(
        "Mouth motion",
        "The mouth-opening estimator is a ridge regression from pixels, fitted on real frames of the training split. "
        f"Its estimates are compared with the true opening ({found.estimator.clips:,} clips), each clip's mean "
        "subtracted. Correlation measures the timing of the mouth, amplitude its extent (1 is the truth; a blurred "
        "mouth measures smaller).",
        warning
        + _motion_table({names[v]: found.by_driver[v] for v in shown}, shown)
        + (f"<figure>{image(plots.openings(openings))}</figure>" if openings else ""),
    )


def _motion_table(found: Mapping[str, Motion], keys: Sequence[str]) -> str:
    rows = [
        (name, bracketed(row.correlation, row.low, row.high), f"{row.amplitude:.2f}") for name, row in found.items()
    ]
    return table(("driven by", "correlation", "amplitude"), rows, main=OURS, keys=keys)


def perceptual(found: Perceptual | None) -> str:
    """The section "Perceptual similarity"."""
    if not found:
        return ""
    measure = found.measure
    titles = {"LPIPS ↓": measure.lpips, "FID ↓": measure.fid}
    rows = []
    for variant, row in found.by_driver.items():
        lpips = bracketed(row.lpips.mean, row.lpips.low, row.lpips.high, _thousandths) if row.lpips else ""
        cells = (lpips, decimals(row.fid) if row.fid is not None else "")
        rows.append((VARIANTS[variant], *(cell for cell, used in zip(cells, titles.values(), strict=True) if used)))
    return section(
        "Perceptual similarity",
        f"{'; '.join(filter(None, titles.values()))}. Every fourth frame of {measure.clips:,} clips, "
        f"{measure.images:,} images a row. LPIPS compares each frame with its real one. FID compares all frames with "
        "all real ones as sets, and is larger for fewer images: compare rows of one table only.",
        table(
            ("driven by", *(title for title, used in titles.items() if used)),
            rows,
            main=OURS,
            keys=list(found.by_driver),
        ),
    )

"""The report to read: one self-contained report.html, and the main figures as text."""

import html
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from etils import epath

from davs_jax.data.sources import ClipSource
from davs_jax.display import plots
from davs_jax.display.page import document, image, percent, section, table, video
from davs_jax.display.tables import text_table
from davs_jax.evaluate.evaluation import Evaluation
from davs_jax.evaluate.report import generated, recognition, record
from davs_jax.evaluate.report.examples import example_sheet, example_video
from davs_jax.evaluate.report.recognition import MODALITIES
from davs_jax.evaluate.report.record import Report
from davs_jax.evaluate.sections import Figures
from davs_jax.files import replacing, write_text

PAGE = "report.html"


@dataclass(frozen=True)
class Media:
    """What a page shows besides figures; what is empty is left out.

    Attributes:
      sheet: of example frames, uint8 `[H, W, 3]`.
      videos: mp4 bytes by name: examples, best, worst.
      confusions: plot of confusions, PNG bytes.
      openings: mouth openings, as `plots.openings` takes them.
      training: plot of the training's metrics, PNG bytes.
    """

    sheet: np.ndarray | None = None
    videos: dict[str, bytes] = field(default_factory=dict)
    confusions: bytes | None = None
    openings: list[dict[str, np.ndarray]] = field(default_factory=list)
    training: bytes | None = None


def save(evaluation: Evaluation, report: Report, source: ClipSource, folder: Path) -> None:
    """Writes report.json, report.html and the example videos.

    Raises:
      OSError: a file cannot be written.
    """
    sheet, videos = None, {}
    if evaluation.generated:
        sheet = example_sheet(evaluation.generated.examples)
        with tempfile.TemporaryDirectory() as place:
            for name, examples in ({"examples": evaluation.generated.examples} | evaluation.generated.extremes).items():
                path = Path(place) / f"{name}.mp4"
                example_video(examples, source, path)
                videos[name] = path.read_bytes()
    metrics = _metrics(report.evaluated.checkpoint)
    media = Media(
        sheet,
        videos,
        plots.confusions(evaluation.confusions, source.words) if evaluation.confusions else None,
        evaluation.curves,
        plots.training(metrics) if metrics else None,
    )
    write_report(report, media, folder)


def write_report(report: Report, media: Media, folder: Path) -> Path:
    """Writes report.json, report.html and the videos into `folder`; returns the path of report.html."""
    record.write(report, folder)
    for name, data in media.videos.items():
        with replacing(folder / f"{name}.mp4") as draft:
            draft.write_bytes(data)
    write_text(folder / PAGE, _page(report, media))
    return folder / PAGE


def summary(figures: Figures) -> str:
    """The main figures in a few lines of text."""
    rows = list(_headline(figures))
    return text_table(rows) if rows else ""


def _page(report: Report, media: Media) -> str:
    figures, evaluated = report.figures, report.evaluated
    cards = "".join(f'<div class="card"><b>{v}</b>{html.escape(k)}</div>' for k, v in _headline(figures))
    parts = [
        _examples(media),
        recognition.accuracy(figures, evaluated.words, media.confusions),
        recognition.retrieval(figures.retrieval),
        recognition.synchronisation(figures.sync),
        generated.likeness(figures.likeness, evaluated.words),
        generated.lip_sync(figures.lip_sync),
        generated.landmarks(figures.landmarks),
        generated.lips(figures.lips),
        generated.perceptual(figures.perceptual),
        generated.activity(figures.activity),
        generated.motion(figures.motion, media.openings),
        recognition.disentanglement(figures),
        section("Training", "Metrics of the training run, by step.", image(media.training)) if media.training else "",
        _skipped(report.skipped),
        _origin(report),
    ]
    lead = (
        f'<p class="soft">{report.clips:,} clips of split “{html.escape(evaluated.split)}” in '
        f"{html.escape(evaluated.data)}, each counted once. Brackets hold 95&nbsp;% bootstrap intervals, "
        f"{html.escape(evaluated.intervals)}.</p>"
    )
    title = f"Evaluation of {Path(evaluated.checkpoint).name}"
    return document(title, f'{lead}<div class="cards">{cards}</div>{"".join(parts)}')


def _headline(figures: Figures) -> Iterator[tuple[str, str]]:
    for name, where in MODALITIES.items():
        if name in (figures.accuracy or {}):
            yield f"words read {where}", percent(figures.accuracy[name].accuracy)
    if figures.retrieval:
        yield "R@1, audio → video", percent(figures.retrieval.audio_to_video.r1)
    if figures.likeness:
        ours, photo = (figures.likeness[driver].mouth_psnr.mean for driver in ("audio", "photo"))
        yield f"mouth PSNR from audio (copied photo: {photo:.1f})", f"{ours:.1f} dB"
    if figures.motion:
        yield "mouth motion from audio, correlation", f"{figures.motion.by_driver['audio'].correlation:.2f}"


def _examples(media: Media) -> str:
    body = ""
    if "examples" in media.videos:
        body += _figure(
            video(media.videos["examples"]),
            "Left to right: the photo, the real clip, and generated clips: driven by audio and, by systems that read "
            "lips, by video; with the real audio.",
        )
    for name in ("best", "worst"):
        if name in media.videos:
            body += _figure(
                video(media.videos[name]),
                f"The {name} clips, by how much closer the audio-driven mouth box is to the real one than that of the "
                "copied photo.",
            )
    if media.sheet is not None:
        body += _figure(
            image(plots.png(media.sheet)),
            "One block of rows per clip: the photo, then the real frames (top), those driven by audio (middle) and by "
            "video (bottom).",
        )
    intro = "Clips are evenly spread over the split, not selected. The photo is each clip's first frame."
    return section("Examples", intro, body) if body else ""


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{caption}</figcaption></figure>"


def _skipped(skipped: dict[str, str]) -> str:
    if not skipped:
        return ""
    rows = [(html.escape(name), html.escape(reason)) for name, reason in skipped.items()]
    text = f"What could not be computed, and why. Missing parts: {len(rows)}."
    return section("Left out", text, table(("part", "reason"), rows, text=True))


def _origin(report: Report) -> str:
    facts = record.encoded(report.evaluated)
    rows = [(name, html.escape(str(value))) for name, value in facts.items() if value is not None]
    config = html.escape(json.dumps(report.config, indent=1))
    return section(
        "How this was made",
        "The same figures, unrounded, are in report.json.",
        table(("", ""), rows, text=True) + f"<details><summary>Configuration</summary><pre>{config}</pre></details>",
    )


def _metrics(checkpoint: str) -> epath.Path | None:
    """metrics.jsonl of the workdir of the weights: `checkpoint`, or the folder of the checkpoints that it lies in."""
    places = (epath.Path(checkpoint), epath.Path(checkpoint).parent.parent)
    return next((p / "metrics.jsonl" for p in places if (p / "metrics.jsonl").exists()), None)

"""An evaluation to read: report.json with every figure, and one self-contained report.html."""

import html
import json
from collections.abc import Iterable
from pathlib import Path

from davs_jax.display import plots
from davs_jax.display.page import document, film, image, percent, section, table
from davs_jax.evaluate.report import generated, recognised
from davs_jax.evaluate.report.recognised import ACCURACY


def write_report(folder: Path, record: dict, curves: Path | None, media: dict) -> Path:
    """Writes report.json and report.html into `folder`, which is made if need be.

    Args:
      record: what report.json holds: `evaluated` (what, with what), `clips`, `figures`, `skipped`, `config`.
      curves: metrics.jsonl of the training run, if there is one.
      media: for the eye, each optional: `sheet` uint8 `[H, W, 3]`, `films` (mp4 bytes by name: examples, best, worst;
        also written beside the page), `confusions` (PNG bytes), `openings` (see `plots.openings`).

    Returns:
      the path of report.html.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
    media = {"films": {}} | media
    for name, data in media["films"].items():
        (folder / f"{name}.mp4").write_bytes(data)
    page = folder / "report.html"
    page.write_text(_page(record, plots.training(curves) if curves else None, media), encoding="utf-8")
    return page


def summary(record: dict) -> str:
    """The chief figures in a few lines of text."""
    return "\n".join(f"{name:<48}{value:>10}" for name, value in _headline(record["figures"]))


def _page(record: dict, training: bytes | None, media: dict) -> str:
    figures, evaluated = record["figures"], record["evaluated"]
    cards = "".join(f'<div class="card"><b>{v}</b>{html.escape(k)}</div>' for k, v in _headline(figures))
    parts = [
        _seeing(media),
        recognised.accuracy(figures, evaluated, media.get("confusions")),
        recognised.retrieval(figures.get("retrieval")),
        recognised.synchronisation(figures.get("sync")),
        generated.generated(figures.get("pictures"), evaluated),
        generated.lip_sync(figures.get("lip_sync")),
        generated.landmarks(figures.get("landmarks")),
        generated.perceptual(figures.get("perceptual")),
        generated.activity(figures.get("activity")),
        generated.motion(figures.get("motion"), media.get("openings")),
        recognised.probes(figures),
        section("Training", "The logged terms and figures of the run, by step.", image(training)) if training else "",
        _skipped(record["skipped"]),
        section(
            "How this was made",
            "The same figures, unrounded, are in report.json.",
            table(("", ""), [(name, html.escape(str(value))) for name, value in evaluated.items()], text=True)
            + f"<details><summary>Configuration</summary><pre>{html.escape(json.dumps(record['config'], indent=1))}"
            "</pre></details>",
        ),
    ]
    title = f"DAVS evaluation: {Path(str(evaluated['checkpoint'])).name}"
    lead = (
        f'<p class="soft">{record["clips"]:,} clips of split “{html.escape(evaluated["split"])}” in '
        f"{html.escape(str(evaluated['data']))}, each counted once. Brackets hold 95&nbsp;% bootstrap intervals, "
        f"{html.escape(evaluated['intervals'])}.</p>"
    )
    return document(title, f'{lead}<div class="cards">{cards}</div>{"".join(parts)}')


def _headline(figures: dict) -> Iterable[tuple[str, str]]:
    for name, where in ACCURACY.items():
        if name in figures.get("accuracy", {}):
            yield f"words read {where}", percent(figures["accuracy"][name]["accuracy"])
    if "retrieval" in figures:
        yield "R@1, sound → picture", percent(figures["retrieval"]["audio_to_video"]["r1"])
    if "pictures" in figures:
        ours, photo = (figures["pictures"][v]["mouth_psnr"]["mean"] for v in ("audio", "photo"))
        yield f"mouth PSNR from sound (copied photo: {photo:.1f})", f"{ours:.1f} dB"
    if figures.get("motion"):
        yield "mouth motion from sound, correlation", f"{figures['motion']['audio']['correlation']:.2f}"


def _seeing(media: dict) -> str:
    body = ""
    if "examples" in media["films"]:
        body += (
            f"<figure>{film(media['films']['examples'])}"
            "<figcaption>Left to right: the photo, the real clip, driven by sound, driven by video; with the real "
            "sound. Both right-hand columns are generated.</figcaption></figure>"
        )
    for name in ("best", "worst"):
        if name in media["films"]:
            body += (
                f"<figure>{film(media['films'][name])}<figcaption>The {name} clips, by how much nearer the mouth box "
                "driven by sound comes to the real one than the copied photo does.</figcaption></figure>"
            )
    if "sheet" in media:
        body += (
            f"<figure>{image(plots.png(media['sheet']))}<figcaption>One block of rows per clip: the photo, then the "
            "real frames (top), those driven by sound (middle) and by video (bottom).</figcaption></figure>"
        )
    intro = "Clips evenly spread over the split; nobody chose them. The photo is each clip's first frame."
    return section("See and hear", intro, body) if body else ""


def _skipped(skipped: dict[str, str]) -> str:
    if not skipped:
        return ""
    rows = [(html.escape(name), html.escape(reason)) for name, reason in skipped.items()]
    text = f"What could not be computed, and why. Missing parts: {len(rows)}."
    return section("Left out", text, table(("part", "reason"), rows, text=True))

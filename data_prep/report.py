"""The report of a preparation: counts, rejections, measures and images, as an HTML page and as text tables.

It is written after each preparation; to write it again:

    python -m data_prep.report data/lrw
"""

import argparse
import html
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep import dataset, summary
from data_prep.folders import AnyPath, replacing, shard_folder
from data_prep.plan import Plan, PreparationError, read_plan
from data_prep.shards import REJECTED_FILE, REPORT_FILE
from data_prep.status import exit_status
from data_prep.tally import MEASURES, Tally
from davs_jax import command_line
from davs_jax.data import sources
from davs_jax.display import page, plots
from davs_jax.display.progress import progress
from davs_jax.media.offsets import REACH

SAMPLES, PER_ROW, SAMPLE_SIDE = 40, 10, 96  # images of a split's contact sheet and of its rows; pixels
CLIPS, CLIP_IMAGES = 4, 7  # clips shown with their landmarks, frames of each
MAX_ROWS = 500  # of a table of classes or of reasons
HINTS = ("offset_hint", "offset_strength")


class Findings(NamedTuple):
    """The content of the page and of the text tables."""

    tables: dict[str, Counter]  # by split: `records`, and rejections by stage
    tally: Tally
    reasons: Counter  # of rejections, by (stage, reason, remedy), without numbers and names
    first: dict[tuple, str]  # the first file rejected for each of the reasons
    samples: dict[str, list[np.ndarray]]  # by split: images evenly spread over it
    clips: list[tuple[str, dict, list[np.ndarray]]]  # (clip, its measures, its frames with their landmarks)


def make(plan: Plan, output: AnyPath, tables: dict[str, Counter]) -> str:
    """Writes report.html into the folder of a finished preparation.

    Args:
      tables: as `dataset.finish` returns them.

    Returns:
      a summary in a few lines of text.

    Raises:
      DataError: a record cannot be read.
    """
    found = collect(plan, output, tables)
    with replacing(output / REPORT_FILE) as draft:
        draft.write_text(_page(plan, found), encoding="utf-8")
    rejected = [f"rejections and their reasons: {output / REJECTED_FILE}"] if found.reasons else []
    return "\n".join([summary.text(plan, found.tables, found.tally), *rejected, f"the report: {output / REPORT_FILE}"])


def collect(plan: Plan, output: AnyPath, tables: dict[str, Counter]) -> Findings:
    """Reads every record once and counts it; only the sample images are kept.

    Raises:
      DataError: a record cannot be read.
    """
    found = Findings(tables, Tally(), Counter(), {}, {}, [])
    for split in (split for split, table in tables.items() if table["records"]):
        open_split = sources.open_clips if "word" in plan.labels else sources.open_faces
        opened = open_split(str(output), split)
        sampled, shown = (_spread(len(opened), count) for count in (SAMPLES, CLIPS))
        beside = dataset.measures(plan, output, split)
        for i in progress(range(len(opened)), unit="record", desc=f"report, {split}", leave=False):
            record = opened.record(i)
            measures = json.loads(sources.text(record["measures"])) if "measures" in record else next(beside)
            found.tally.add(split, record, measures)
            if i in sampled:
                found.samples.setdefault(split, []).append(_sample(record))
            if i in shown and split == next(iter(found.samples)) and "points" in measures:
                found.clips.append(_clip(record, measures))
    with (output / REJECTED_FILE).open(encoding="utf-8") as lines:
        for line in lines:
            rejection = json.loads(line)
            reason = rejection["stage"], _general(rejection["reason"], rejection["file"]), rejection["remedy"]
            found.reasons[reason] += 1
            found.first.setdefault(reason, rejection["file"])
    return found


@command_line.command
def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.report",
        description="Writes report.html into a folder of finished shards again, and prints its tables.",
    )
    parser.add_argument("shards", metavar="SHARDS", help="folder made by data_prep")
    shards = parser.parse_args(argv).shards

    def write() -> None:
        output = shard_folder(shards)
        if (plan := read_plan(output)) is None:
            raise PreparationError(f"{output} holds no preparation (no plan.json)", "give data_prep's --output")
        print(make(plan, output, dataset.counts(plan, output)))

    return exit_status(write, shards)


def _spread(length: int, count: int) -> set[int]:
    """Up to `count` positions, evenly spread over `length`."""
    return {round(position) for position in np.linspace(0, length - 1, min(length, count))}


def _sample(record: dict) -> np.ndarray:
    name = sources.text(record["clip_id" if "frames" in record else "face_id"])
    jpeg = record["frames"][len(record["frames"]) // 2] if "frames" in record else record["image"]
    return plots.marked(sources.decode(jpeg, name), (), SAMPLE_SIDE)


def _clip(record: dict, measures: dict) -> tuple[str, dict, list[np.ndarray]]:
    name, jpegs = sources.text(record["clip_id"]), record["frames"]
    shown = sorted(_spread(len(jpegs), CLIP_IMAGES))
    return name, measures, [plots.marked(sources.decode(jpegs[i], name), measures["points"][i]) for i in shown]


def _general(reason: str, file: str) -> str:
    """A reason without the file's own name and numbers, so that equal reasons can be counted."""
    stem = Path(file.partition(" (")[0]).stem
    reason = re.sub(rf"(?<!\w){re.escape(stem)}(?!\w)", "…", reason) if stem else reason
    return re.sub(r"'[^']*'", "'…'", re.sub(r"\d+(?:[.,]\d+)*", "…", reason))


def _page(plan: Plan, found: Findings) -> str:
    records = sum(table["records"] for table in found.tables.values())
    cards = {f"records: {split}": table["records"] for split, table in found.tables.items()}
    cards |= {"rejected": found.reasons.total()}
    cards |= {f"classes of {name}": len(names) for name, names in plan.labels.items() if names}
    counted = "".join(f'<div class="card"><b>{count:,}</b>{html.escape(name)}</div>' for name, count in cards.items())
    origin = {"made by": f"python -m {plan.source}", "from": plan.input, **plan.options, "version": plan.version}
    parts = [
        _images(found),
        _rejections(found),
        _measures(found.tally),
        _offset(found.tally),
        _classes(plan, found),
        page.section(
            "How this was made",
            "The same input and options always give byte-identical shards.",
            page.table(("", ""), [(name, html.escape(str(value))) for name, value in origin.items()], text=True),
        ),
    ]
    lead = f"{records:,} records; every rejected input is listed in {REJECTED_FILE}, with the reason and a remedy."
    body = f'<p class="soft">{lead}</p><div class="cards">{counted}</div>{"".join(parts)}'
    return page.document(f"Prepared data: {plan.dataset}", body)


def _images(found: Findings) -> str:
    body = ""
    for split, images in found.samples.items():
        rows = [images[i : i + PER_ROW] for i in range(0, len(images), PER_ROW)]
        caption = f"{split}: {len(images)} images, evenly spread over the split."
        body += _figure(plots.png(plots.sheet(rows)), caption)
    for name, measures, frames in found.clips:
        known = (f"{MEASURES[key].title}: {measures[key]}" for key in MEASURES if measures.get(key) is not None)
        body += _figure(plots.png(plots.sheet([frames])), f"{name}. {'; '.join(known)}")
    text = "Aligned faces as they are stored, not hand-picked."
    text += " The clips below the sheets show their landmarks." if found.clips else ""
    return page.section("Images", text, body)


def _rejections(found: Findings) -> str:
    if not found.reasons:
        return page.section("Rejections", "None: every input gave its records.", "")
    rows = [
        (
            f"{html.escape(reason)}<small>{html.escape(remedy)}</small>",
            html.escape(stage),
            f"{count:,}",
            html.escape(found.first[stage, reason, remedy]),
        )
        for (stage, reason, remedy), count in found.reasons.most_common(MAX_ROWS)
    ]
    text = f"By reason, without numbers and names. {REJECTED_FILE} lists every rejection in full."
    return page.section("Rejections", text, page.table(("reason and remedy", "stage", "inputs", "first input"), rows))


def _measures(tally: Tally) -> str:
    names = [name for name in tally.measured() if name not in HINTS]
    if not names:
        return ""
    plotted = plots.histograms({MEASURES[name].title: tally.histogram(name) for name in names})
    rows = [
        (f"{MEASURES[name].title}<small>{MEASURES[name].meaning}</small>", *summary.quantiles(tally, name))
        for name in names
    ]
    text = "Distributions over all splits. Check both ends before you train."
    return page.section("Measures", text, page.table(("", *summary.QUANTILES), rows) + _figure(plotted, ""))


def _offset(tally: Tally) -> str:
    if tally.lip_sound is None:
        return ""
    edges = np.arange(2 * REACH + 2) - REACH - 0.5
    bars = {"correlation by offset, mean of all clips": (edges, tally.lip_sound)}
    bars |= {MEASURES[name].title: tally.histogram(name) for name in HINTS if name in tally.bars}
    text = (
        "A hint, not a measurement: the correlation of the motion in the mouth box with the loudness of the audio, for "
        "each assumed delay of the audio in frames. No model is involved. One clip says little, because it correlates "
        "only 18 numbers; a corpus in sync has its peak near 0 in the mean of all clips."
    )
    late = int(tally.lip_sound.argmax()) - REACH
    peak = f"{late:+d} frames" if late else "0"
    result = f"<p><b>The peak of the mean of all clips is at {peak}.</b></p>"
    if tally.offsets:
        rows = [(html.escape(outcome), f"{count:,}") for outcome, count in tally.offsets.most_common()]
        result += page.table(("offset of the recording, measured by a model", "clips"), rows)
    return page.section("Audio-visual offset", text, result + _figure(plots.histograms(bars), ""))


def _classes(plan: Plan, found: Findings) -> str:
    """Counts by split: records, rejections by stage, and each kind of class."""
    rows = [
        (html.escape(split), *(f"{count:,}" for count in row))
        for split, row in summary.rows(plan, found.tables, found.tally)
    ]
    body = page.table(("split", *summary.columns(plan, found.tables, found.tally)), rows)
    for name, by_split in found.tally.classes.items():
        names = plan.labels[name]
        if not names:
            continue
        totals = sum(by_split.values(), Counter())
        labels = sorted(range(len(names)), key=lambda label: (-totals[label], label))
        text = f"{len(names):,} classes of {name}, with {totals[labels[-1]]:,} to {totals[labels[0]]:,} records each"
        text += f"; the {MAX_ROWS} most frequent ones" if len(names) > MAX_ROWS else ""
        rows = [
            (html.escape(names[label]) if label >= 0 else "unknown", *(f"{of[label]:,}" for of in by_split.values()))
            for label in labels[:MAX_ROWS] + [-1] * (-1 in totals)
        ]
        opened = " open" if len(rows) <= PER_ROW else ""
        body += f"<details{opened}><summary>{text}</summary>{page.table((name, *by_split), rows)}</details>"
    return page.section("Counts", "Records by split and class.", body)


def _figure(png: bytes, caption: str) -> str:
    return f"<figure>{page.image(png)}<figcaption>{html.escape(caption)}</figcaption></figure>"


if __name__ == "__main__":
    sys.exit(main())

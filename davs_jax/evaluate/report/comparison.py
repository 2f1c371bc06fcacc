"""Any number of reports side by side, in one self-contained page."""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from davs_jax.display.page import decimals, document, percent, section, table, video
from davs_jax.evaluate.report import record
from davs_jax.evaluate.report.recognition import PLACES
from davs_jax.evaluate.report.record import Report
from davs_jax.evaluate.sections import Figures
from davs_jax.evaluate.shown import described
from davs_jax.files import write_text

PAGE = "comparison.html"
NAMES = {  # of what sections go by
    "untrained": "fresh weights",
    "shuffled": "audio of another word",
    "photo": "photo, copied",
    "real": "real frames",
}
VIDEOS = {"examples": "clips evenly spread over the split", "best": "the best clips", "worst": "the worst clips"}


def write_comparison(folders: Sequence[Path], output: Path) -> Path:
    """Writes one page with the figures of several reports, one column each.

    Figures that a report lacks are left blank; reports on different clips are shown with a warning.

    Raises:
      DataError: a folder holds no report.
      OSError: the page cannot be written.
    """
    reports = [record.read(folder) for folder in folders]
    write_text(output / PAGE, _page(folders, reports))
    return output / PAGE


def _page(folders: Sequence[Path], reports: Sequence[Report]) -> str:
    names = [html.escape(name) for name in _names(folders)]
    on = {(r.evaluated.data, r.evaluated.split, r.evaluated.clips) for r in reports}
    warning = '<p class="warn"><b>Not the same clips:</b> figures differ for this reason alone.</p>' * (len(on) > 1)
    facts = [{name: value for name, value in vars(r.evaluated).items() if value is not None} for r in reports]
    rows = [(name, *(html.escape(str(f.get(name, ""))) for f in facts)) for name in _union(facts)]
    parts = [section("What was evaluated", "", table(("", *names), rows, text=True))]
    for name, (_, shown) in described(Figures).items():
        if shown.compared:
            parts.append(_section(shown.label, names, [getattr(r.figures, name) for r in reports]))
    parts.append(_videos(names, folders))
    lead = f'<p class="soft">{len(reports)} reports side by side. Brackets hold 95&nbsp;% bootstrap intervals.</p>'
    return document("DAVS evaluations compared", f"{lead}{warning}{''.join(parts)}")


def _section(title: str, names: list[str], columns: Sequence[Any]) -> str:
    cells = [{" · ".join(filter(None, path)) or "share": cell for path, cell in _cells(column)} for column in columns]
    rows = [(html.escape(label), *(column.get(label, "") for column in cells)) for label in _union(cells)]
    return section(title, "", table(("", *names), rows)) if rows else ""


def _cells(value: Any, path: tuple[str, ...] = (), share: bool = False) -> Iterator[tuple[tuple[str, ...], str]]:
    """The figures of a section, each with the labels that lead to it and its interval."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _cells(item, (*path, _name(key)), share)
    elif is_dataclass(value):
        for name in described(type(value)):
            yield from _field(value, name, path, share)
    elif value is not None:
        yield path, _number(value, share)


def _field(holder: Any, name: str, path: tuple[str, ...], share: bool) -> Iterator[tuple[tuple[str, ...], str]]:
    (_, shown), value = described(type(holder))[name], getattr(holder, name)
    if value is None or not shown.compared:
        return
    path = (*path, name.replace("_", " ") if shown.label is None else shown.label)
    share = share or shown.share
    if shown.only:
        for inner in shown.only:
            yield from _field(value, inner, path, share)
    elif shown.bounds:
        low, high = (getattr(holder, end) for end in shown.bounds)
        interval = "" if low is None else f"<small>[{_number(low, share)}, {_number(high, share)}]</small>"
        yield path, _number(value, share) + interval
    else:
        yield from _cells(value, path, share)


def _name(key: str) -> str:
    """A key of a section in words."""
    if "_from_" in key:  # of a probe
        what, place = key.split("_from_")
        return f"{what} from {PLACES.get(place, place)}"
    return NAMES.get(key, key.replace("_", " "))


def _number(value: Any, share: bool) -> str:
    if isinstance(value, str):
        return f'<span class="words">{html.escape(value)}</span>'
    if share:
        return percent(value)
    return decimals(value, 3) if isinstance(value, float) else html.escape(str(value))


def _videos(names: list[str], folders: Sequence[Path]) -> str:
    rows = []
    for stem, what in VIDEOS.items():
        paths = [folder / f"{stem}.mp4" for folder in folders]
        if any(path.exists() for path in paths):
            rows.append((what, *(video(path.read_bytes()) if path.exists() else "" for path in paths)))
    text = "Left to right in each: the photo, the real clip, driven by audio, driven by video; with the real audio."
    return section("Examples", text, table(("", *names), rows)) if rows else ""


def _names(folders: Sequence[Path]) -> list[str]:
    """The last part of each folder's path, or the whole path where last parts are equal."""
    short = [folder.resolve().name for folder in folders]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def _union(dictionaries: Sequence[dict]) -> list:
    return list(dict.fromkeys(key for dictionary in dictionaries for key in dictionary))

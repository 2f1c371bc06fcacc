"""Any number of reports side by side, in one self-contained page."""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path

from davs_jax.display.page import decimals, document, film, percent, section, table
from davs_jax.evaluate.metrics import RECALLS
from davs_jax.evaluate.report import results
from davs_jax.evaluate.report.recognised import DIRECTIONS, PLACES

PAGE = "comparison.html"
SHARES = ("accuracy", "top5", "r1", "r5", "r10", "r50", "chance", "real", "other")  # figures shown in percent
LEFT_OUT = ("words", "control", "offsets")  # too long for a comparison, or another run's
TWICE = ("chance", "clips", "classes")  # of the small network's probe: the linear one's
PARTS = {  # of report.json, where their own names do not say what they are
    "accuracy": "Lip reading and speech reading",
    "accuracy_baselines": "… with fresh weights, and with sounds exchanged",
    "sync": "Synchronisation, by the model itself",
    "probes": "Who is in the words, and what is said in the person",
    "face_probes": "… on identity images",
    "swap": "Swapped: the person of A says what B says",
    "pictures": "Generated frames",
    "lip_sync": "Lip sync, judged by SyncNet",
    "landmarks": "Mouth corners",
    "perceptual": "Likeness, judged by networks that know photos",
    "activity": "Mouth activity",
    "motion": "Mouth motion",
}
NAMES = DIRECTIONS | {  # of figures; "" goes without saying
    "audio": "sound",
    "video": "picture",
    "untrained": "fresh weights",
    "shuffled": "sound of another word",
    "photo": "photo, copied",
    "mean": "",
    "accuracy": "",
    "exact": "known shifts found to the frame",
    "within_1": "within one frame",
    "mlp": "by a small network",
    "top5": "among the first five",
    "other": "as the other",
    "real": "real frames",
    "psnr": "PSNR, dB ↑",
    "ssim": "SSIM ↑",
    "mouth_psnr": "mouth PSNR, dB ↑",
    "mouth_l1": "mouth L1 ↓",
    "legacy_psnr": "legacy PSNR, dB",
    "lpips": "LPIPS ↓",
    "fid": "FID ↓",
    "identity": "identity ↑",
    "jitter": "jitter ↓",
    "read": "words read ↑",
    **{f"r{k}": f"R@{k}" for k in RECALLS},
}
FILMS = {"examples": "clips evenly spread over the split", "best": "the best clips", "worst": "the worst clips"}


def write_comparison(folders: Sequence[Path], output: Path) -> Path:
    """Writes one page that holds the figures of several reports, a column each.

    Figures that a report lacks are left blank; reports on different clips are shown with a warning.

    Raises:
      DataError: a folder holds no report.
    """
    records = [results.read(folder) for folder in folders]
    output.mkdir(parents=True, exist_ok=True)
    page = output / PAGE
    page.write_text(_page(folders, records), encoding="utf-8")
    return page


def _page(folders: Sequence[Path], records: list[dict]) -> str:
    names = [html.escape(name) for name in _names(folders)]
    on = [tuple(str(record["evaluated"].get(key)) for key in ("data", "split", "clips")) for record in records]
    warning = '<p class="warn"><b>Not the same clips:</b> their figures differ for that alone.</p>' * (len(set(on)) > 1)
    facts = [dict(record["evaluated"]) for record in records]
    rows = [(key, *(html.escape(str(f.get(key, ""))) for f in facts)) for key in _union(facts)]
    parts = [section("What was evaluated", "", table(("", *names), rows, text=True))]
    figures = [record["figures"] for record in records]
    for part in _union(figures):
        if part not in LEFT_OUT:
            parts.append(_figures(part, names, [f.get(part, {}) for f in figures]))
    parts.append(_films(names, folders))
    lead = f'<p class="soft">{len(records)} reports side by side. Brackets hold 95&nbsp;% bootstrap intervals.</p>'
    return document("DAVS evaluations compared", f"{lead}{warning}{''.join(parts)}")


def _figures(part: str, names: list[str], columns: list[dict]) -> str:
    flat = [dict(_flat(column)) for column in columns]
    rows = [(html.escape(_name(path)), *(column.get(path, "") for column in flat)) for path in _union(flat)]
    return section(PARTS.get(part, html.escape(part.capitalize())), "", table(("", *names), rows))


def _name(path: tuple[str, ...]) -> str:
    """A figure's path in words: ("audio", "mouth_l1", "mean") → "sound · mouth L1 ↓"."""
    if "_from_" in path[0]:  # a probe
        what, place = path[0].split("_from_")
        path = (f"{what} from {PLACES[place]}", *path[1:])
    named = [NAMES.get(step, step.replace("_", " ")) for step in path]
    return " · ".join(filter(None, named)) or "share"


def _flat(figures: dict, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """A section's figures by path; a figure's interval stands with it, its ends are no figures of their own."""
    ends = {key for key in figures if key in ("low", "high") or key.endswith(("_low", "_high"))}
    for key, value in figures.items():
        if key in LEFT_OUT or (path[-1:] == ("mlp",) and key in TWICE):
            continue
        if isinstance(value, dict):
            yield from _flat(value, (*path, key))
        elif key not in ends:
            number = percent if key in SHARES or path[-1:] == ("read",) else _number
            stem = f"{key}_" if f"{key}_low" in figures else ""
            chief = stem or key in ("accuracy", "mean", "correlation")
            low, high = (figures.get(f"{stem}{end}") for end in ("low", "high"))
            bracket = f"<small>[{number(low)}, {number(high)}]</small>" if chief and low is not None else ""
            yield (*path, key), f"{number(value)}{bracket}"


def _number(value) -> str:
    if isinstance(value, str):
        return f'<span class="words">{html.escape(value)}</span>'
    return decimals(value, 3) if isinstance(value, float) else html.escape(str(value))


def _films(names: list[str], folders: Sequence[Path]) -> str:
    rows = []
    for stem, what in FILMS.items():
        films = [folder / f"{stem}.mp4" for folder in folders]
        if any(path.exists() for path in films):
            rows.append((what, *(film(path.read_bytes()) if path.exists() else "" for path in films)))
    text = "Left to right in each: the photo, the real clip, driven by sound, driven by video; with the real sound."
    return section("See and hear", text, table(("", *names), rows)) if rows else ""


def _names(folders: Sequence[Path]) -> list[str]:
    """As short as tells the folders apart: their last part, or the whole path where that is shared."""
    short = [folder.resolve().name for folder in folders]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def _union(dictionaries: Sequence[dict]) -> list:
    return list(dict.fromkeys(key for dictionary in dictionaries for key in dictionary))

"""What was found, to read: claims.json, claims.md and claims.html, and a plot of each kind of arm."""

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from davs_jax.ablations.answers import QUESTIONS, Answer, Figures, answer, spread
from davs_jax.display import plots
from davs_jax.display.page import document, image, section, table

# Figures of the tables, with their headers: of the arms that read, and of those that draw.
READ = {
    "read/video": "words from the picture",
    "read/audio": "words from the sound",
    "read/both": "words from both",
    "match/r1": "R@1, sound → picture",
    "match/shifts_found": "known shifts found",
    "probe/modality_from_wid_mlp": "sound or picture, from wid (50 % is best)",
    "probe/person_from_video_wid": "person from the picture's wid",
    "probe/person_from_audio_wid": "person from the sound's wid",
}
DRAWN = {
    "motion/correlation_audio": "mouth motion from sound, correlation",
    "motion/amplitude_audio": "mouth motion from sound, amplitude",
    "motion/correlation_shuffled": "mouth motion from the wrong sound, correlation",
    "picture/psnr_audio": "PSNR from sound, dB",
    "picture/mouth_l1_audio": "mouth L1 from sound",
    "probe/word_from_pid": "word from pid",
    "probe/word_from_maps": "word from the person map",
    "probe/person_from_pid": "person from pid",
    "swap/word_audio": "swap: B's word, from sound",
    "swap/person": "swap: A's person",
}
SHARES = ("read/", "match/", "probe/", "swap/")
LIMITS = (
    "Each mean is over seeds (weights, order, crops); ± is their standard deviation. Differences are taken seed by "
    "seed, with a 95 % t interval; “cannot tell” means that it holds 0. A point is one per cent of the whole. All "
    "seeds share one corpus and its few test people, so even a yes speaks of them: what other people would show, no "
    "number of seeds can say."
)


def write(output: Path, arms: Mapping[str, str], seeds: Sequence[int], records: Iterable[dict]) -> Path:
    """Writes all files anew; what is not there yet is left blank.

    Args:
      arms: what each is, by name, in order.
      seeds: that were asked for.
      records: of the finished arms, as `run` keeps them.

    Returns:
      the path of the page.
    """
    records = list(records)
    figures: dict[str, dict[int, dict]] = {arm: {} for arm in arms}
    for record in records:
        if "figures" in record:
            figures[record["arm"]][record["seed"]] = record["figures"]
    answers = {q: [(asked, answer(figures, asked)) for asked in parts] for q, parts in QUESTIONS.items()}
    answers = {q: found for q, parts in answers.items() if (found := [(a, f) for a, f in parts if f])}
    summary = {
        "arms": dict(arms),
        "seeds": list(seeds),
        "answers": {
            q: [asked._asdict() | {k: _plain(v) for k, v in found._asdict().items()} for asked, found in parts]
            for q, parts in answers.items()
        },
        "runs": records,
    }
    (output / "claims.json").write_text(json.dumps(summary, indent=1) + "\n")
    tables = _tables(arms, figures, answers, records)
    (output / "claims.md").write_text(_markdown(_progress(arms, seeds, records), tables), encoding="utf-8")
    page = output / "claims.html"
    drawn = {title: _plot(figures, *kind) for title, kind in _kinds(figures).items()}
    for title, plot in drawn.items():
        (output / f"{title.split()[-1]}.png").write_bytes(plot)
    shown = {title: image(plot) for title, plot in drawn.items()}
    parts = [
        section(html.escape(title), "", shown.get(title, "") + table(*_escaped(headers, rows)))
        for title, headers, rows in tables
    ]
    lead = f'<p class="soft">{html.escape(_progress(arms, seeds, records))}</p><p>{html.escape(LIMITS)}</p>'
    page.write_text(document("The article's claims, tested", lead + "".join(parts)), encoding="utf-8")
    return page


def _plain(value):
    """JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _progress(arms: Mapping[str, str], seeds: Sequence[int], records: list[dict]) -> str:
    hours = sum(record["hours"] for record in records)
    failed = [f"{record['arm']}, seed {record['seed']}: {record['failed']}" for record in records if "failed" in record]
    told = f"{len(records)} of {len(arms) * len(seeds)} runs are done, in {hours:.1f} hours of wall clock."
    return told + "".join(f" Did not train: {line}." for line in failed)


def _kinds(figures: Figures) -> dict[str, tuple[dict[str, str], list[str]]]:
    """Columns that are not empty and arms, by title, of the arms that read and of those that draw, if any."""
    found = [arm for arm in figures if figures[arm]]
    draws = {arm for arm in found if any(name.startswith("picture/") for f in figures[arm].values() for name in f)}
    reads = [arm for arm in found if arm not in draws]
    kinds = {"Arms that read": (READ, reads), "Arms that draw": (DRAWN, [arm for arm in found if arm in draws])}

    def filled(columns: dict[str, str], wanted: list[str]) -> dict[str, str]:
        measured = {name for arm in wanted for seed in figures[arm].values() for name in seed}
        return {name: header for name, header in columns.items() if name in measured}

    return {title: (filled(columns, wanted), wanted) for title, (columns, wanted) in kinds.items() if wanted}


def _plot(figures: Figures, columns: Mapping[str, str], arms: Sequence[str]) -> bytes:
    """Every seed's figures of these arms, shares in per cent → PNG."""

    def values(arm: str, name: str) -> list[float]:
        factor = 100 if name.startswith(SHARES) else 1
        return [factor * seed[name] for seed in figures[arm].values() if name in seed]

    units = {name: f"{title}, %" if name.startswith(SHARES) else title for name, title in columns.items()}
    return plots.seeds({units[name]: {arm: values(arm, name) for arm in arms} for name in columns})


def _tables(arms, figures: Figures, answers: dict, records: list[dict]) -> list[tuple[str, list, list]]:
    """Title, headers and rows of plain text, of every table."""
    tables = []
    for question, parts in answers.items():
        headers = ["figure", "arm", "against", "answer", "difference", "95 % interval", "seeds"]
        rows = [
            [_words(asked.figure), asked.arm, asked.against, *_cells(asked.figure, found)] for asked, found in parts
        ]
        tables.append((question, headers, rows))
    for title, (columns, wanted) in _kinds(figures).items():
        rows = [[f"{arm}: {arms[arm]}", *(_spread(figures, arm, n) for n in columns)] for arm in wanted]
        tables.append((title, ["arm", *columns.values()], rows))
    rows = [
        [r["arm"], str(r["seed"]), f"{r['steps']:,}", f"{r['steps_per_second']:.2f}", f"{r['hours']:.2f}"]
        for r in records
    ]
    return [*tables, ("Runs", ["arm", "seed", "steps", "steps/s", "hours, with compilation and evaluation"], rows)]


def _words(name: str) -> str:
    """A figure's name as the tables' headers have it."""
    headers = READ | DRAWN
    return headers.get(name) or f"{headers[name.removesuffix('_mlp')]}, by a small network"


def _number(name: str, value: float) -> str:
    return f"{100 * value:.1f} %" if name.startswith(SHARES) else f"{value:.2f}"


def _change(name: str, *values: float) -> str:
    numbers = (f"{100 * v:+.1f}" if name.startswith(SHARES) else f"{v:+.2f}" for v in values)
    return " … ".join(numbers) + (" points" if name.startswith(SHARES) else "")


def _cells(name: str, found: Answer) -> list[str]:
    ends = "–" if math.isnan(found.low) else _change(name, found.low, found.high)
    return [found.verdict, _change(name, found.difference), ends, str(found.seeds)]


def _spread(figures: Figures, arm: str, name: str) -> str:
    if not (found := spread(figures, arm, name)):
        return "–"
    mean, deviation, seeds = found
    return _number(name, mean) + (f" ± {_number(name, deviation)}" if seeds > 1 else "")


def _escaped(headers: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    return [html.escape(h) for h in headers], [[html.escape(cell) for cell in row] for row in rows]


def _markdown(progress: str, tables: list[tuple[str, list, list]]) -> str:
    lines = ["# The article's claims, tested", "", progress, "", LIMITS]
    for title, headers, rows in tables:
        lines += ["", f"## {title}", "", f"| {' | '.join(headers)} |", "|---" * len(headers) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"

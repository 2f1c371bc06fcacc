"""Writes the results: ablations.json, ablations.md, ablations.html, and a plot of each kind of arm."""

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from davs_jax.ablations.answers import QUESTIONS, Answer, Figures, answer, spread
from davs_jax.ablations.measure import GUESS
from davs_jax.display import plots
from davs_jax.display.page import document, image, section, table
from davs_jax.files import replacing, write_text

# Metrics of the tables, with their headers: of the reading and of the generating arms.
READ = {
    "read/video": "word accuracy, video",
    "read/audio": "word accuracy, audio",
    "read/both": "word accuracy, both",
    "match/r1": "R@1, audio → video",
    "match/shifts_found": "known shifts found exactly",
    "probe/modality_from_wid_mlp": "modality from wid (50 % is best)",
    "probe/person_from_video_wid": "person from visual wid, mean",
    "probe/person_from_video_wid_frames": "… all frames",
    "probe/person_from_video_wid_moments": "… how far each feature moves",
    "probe/person_from_audio_wid": "person from audio wid, mean",
    "probe/person_from_audio_wid_frames": "… all frames",
    "probe/person_from_audio_wid_moments": "… how far each feature moves",
}
GENERATED = {
    "motion/correlation_audio": "mouth opening: correlation",
    "motion/amplitude_audio": "mouth opening: amplitude",
    "motion/correlation_shuffled": "mouth opening, mismatched audio: correlation",
    "motion/correlation_video": "mouth opening, video-driven: correlation",
    "motion/amplitude_video": "mouth opening, video-driven: amplitude",
    "picture/psnr_audio": "PSNR, dB",
    "picture/mouth_l1_audio": "mouth L1",
    "picture/mouth_l1_video": "mouth L1, video-driven",
    "picture/mouth_l1_photo": "mouth L1, copied photo",
    "probe/word_from_pid": "word from pid",
    "probe/word_from_maps": "word from the person map",
    "probe/person_from_pid": "person from pid",
    "swap/word_audio": "swap test: word of B",
    "swap/person": "swap test: person of A",
}
READING, GENERATING = "Reading arms", "Generating arms"
PERSONS = "Person from wid against words read"
PLOTS = {READING: "read.png", GENERATING: "generate.png", PERSONS: "persons.png"}
NAME, TITLE = "ablations", "Ablations: testing the paper's claims"
SHARES = ("read/", "match/", "probe/", "swap/")
PERSONS_READ = (
    "Every dot is one seed. The best of six probes counts: linear and with a hidden layer, on the mean, on all frames "
    "and on how far each feature moves. Good word vectors lie at the lower right."
)
LIMITS = (
    "Each mean is over seeds (weights, order, crops); ± is their standard deviation. Differences are taken seed by "
    "seed, with a 95 % t interval; “undecided” means that it contains 0, “opposite” that the difference is significant "
    "and against the claim. A point is one percentage point. Metrics of generated frames are of audio-driven ones "
    "unless stated otherwise. All seeds share one corpus and its few test people, so even a “yes” holds for these "
    "people only."
)


def write(output: Path, arms: Mapping[str, str], seeds: Sequence[int], records: Iterable[dict]) -> Path:
    """Rewrites all files, with the results so far.

    Args:
      arms: descriptions by name, in order.
      seeds: all seeds of the study.
      records: of the finished arms, as `run` stores them.

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
    write_text(output / f"{NAME}.json", json.dumps(summary, indent=1) + "\n")
    tables = _tables(arms, figures, answers, records)
    write_text(output / f"{NAME}.md", _markdown(_progress(arms, seeds, records), tables))
    plotted = {title: _plot(figures, *kind) for title, kind in _kinds(figures).items()}
    if points := _persons(figures):
        guesses = [100 * seed[GUESS] for seeds in figures.values() for seed in seeds.values() if GUESS in seed]
        guess = guesses[0] if guesses else None  # records of earlier versions lack it
        plotted[PERSONS] = plots.scatter(points, "words read, %", "persons that the best probe reads, %", guess)
    for title, plot in plotted.items():
        with replacing(output / PLOTS[title]) as draft:
            draft.write_bytes(plot)
    shown = {title: image(plot) for title, plot in plotted.items()}
    parts = [
        section(html.escape(title), "", shown.get(title, "") + table(*_escaped(headers, rows)))
        for title, headers, rows in tables
    ]
    if PERSONS in shown:
        parts.insert(-1, section(PERSONS, PERSONS_READ, shown[PERSONS]))
    lead = f'<p class="soft">{html.escape(_progress(arms, seeds, records))}</p><p>{html.escape(LIMITS)}</p>'
    page = output / f"{NAME}.html"
    write_text(page, document(TITLE, lead + "".join(parts)))
    return page


def _persons(figures: Figures) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """By modality and arm, every seed's percentage of words read, and of persons that the best probe reads from wid."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for side in ("video", "audio"):
        for arm, seeds in figures.items():
            for seed in seeds.values():
                probes = [seed[name] for name in seed if name.startswith(f"probe/person_from_{side}_wid")]
                if probes and f"read/{side}" in seed:
                    points = found.setdefault(f"from {side}", {}).setdefault(arm, [])
                    points.append((100 * seed[f"read/{side}"], 100 * max(probes)))
    return found


def _plain(value):
    """JSON has no NaN."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _progress(arms: Mapping[str, str], seeds: Sequence[int], records: list[dict]) -> str:
    hours = sum(record["hours"] for record in records)
    failed = [f"{record['arm']}, seed {record['seed']}: {record['failed']}" for record in records if "failed" in record]
    done = f"{len(records)} of {len(arms) * len(seeds)} runs are done, in {hours:.1f} hours of wall-clock time."
    return done + "".join(f" Did not train: {line}." for line in failed)


def _kinds(figures: Figures) -> dict[str, tuple[dict[str, str], list[str]]]:
    """By title, the columns that are not empty, and the arms: reading and generating."""
    found = [arm for arm in figures if figures[arm]]
    generate = [arm for arm in found if any(name.startswith("picture/") for f in figures[arm].values() for name in f)]
    kinds = {READING: (READ, [arm for arm in found if arm not in generate]), GENERATING: (GENERATED, generate)}

    def filled(columns: dict[str, str], wanted: list[str]) -> dict[str, str]:
        measured = {name for arm in wanted for seed in figures[arm].values() for name in seed}
        return {name: header for name, header in columns.items() if name in measured}

    return {title: (filled(columns, wanted), wanted) for title, (columns, wanted) in kinds.items() if wanted}


def _plot(figures: Figures, columns: Mapping[str, str], arms: Sequence[str]) -> bytes:
    """Every seed's figures of these arms, shares in percent → PNG."""

    def values(arm: str, name: str) -> list[float]:
        factor = 100 if name.startswith(SHARES) else 1
        return [factor * seed[name] for seed in figures[arm].values() if name in seed]

    units = {name: f"{title}, %" if name.startswith(SHARES) else title for name, title in columns.items()}
    return plots.seeds({units[name]: {arm: values(arm, name) for arm in arms} for name in columns})


def _tables(arms, figures: Figures, answers: dict, records: list[dict]) -> list[tuple[str, list, list]]:
    """Title, headers and rows of plain text, of every table."""
    tables = []
    for question, parts in answers.items():
        headers = ["metric", "arm", "baseline", "answer", "difference", "95 % interval", "seeds"]
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
    """The metric's name, as in the tables' headers."""
    headers = READ | GENERATED
    return headers.get(name) or f"{headers[name.removesuffix('_mlp')]}, MLP probe"


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
    lines = [f"# {TITLE}", "", progress, "", LIMITS]
    for title, headers, rows in tables:
        lines += ["", f"## {title}", "", f"| {' | '.join(headers)} |", "|---" * len(headers) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"

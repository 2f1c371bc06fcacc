"""Writes the table of systems: systems.json, systems.md and systems.html, with videos side by side."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from davs_jax.ablations import examples
from davs_jax.ablations.answers import Figures, spread
from davs_jax.display.page import document, section, table, video
from davs_jax.files import write_text

NAME, TITLE = "systems", "Talking-face systems compared"
COLUMNS = {
    "motion/correlation": "mouth opening: correlation ↑",
    "motion/amplitude": "… amplitude (1 is best)",
    "picture/mouth_l1": "mouth L1 ↓",
    "picture/ssim": "SSIM ↑",
    "picture/psnr": "PSNR, dB ↑",
    "lips/correlation": "lips' opening: correlation ↑",
    "lips/amplitude": "… amplitude (1 is best)",
    "lips/lmd": "LMD ↓",
    "sync/lse_d": "LSE-D ↓",
    "sync/lse_c": "LSE-C ↑",
    "picture/identity": "identity ↑",
}
COSTS = {"cost/fps": "frames/s", "cost/parameters": "parameters, M"}
VIDEO_CLIPS = 4
NOTHING = "–"  # in a cell of what was not measured
READING = (
    "Every row is measured on the test split of the clips named above it, from each clip's first frame and its own "
    "audio. ± is the standard deviation over seeds (weights, order, crops). One DAVS judges identity, and a SyncNet "
    "of each corpus lip sync, only on the corpus that it was trained on; compare LSE with the row of the real frames "
    "only. Figures of whole images favour what leaves the photo alone: look at the mouth."
)


def write(output: Path, arms: Mapping[str, str], seeds: Sequence[int], records: Iterable[dict]) -> Path:
    """Rewrites all files, with the results so far; arguments and result as of `table.write`."""
    records = list(records)
    write_text(output / f"{NAME}.json", json.dumps({"arms": dict(arms), "runs": records}, indent=1) + "\n")
    done = f"{len(records)} of {len(arms) * len(seeds)} runs are done, in {sum(r['hours'] for r in records):.1f} hours."
    lines, parts = [f"# {TITLE}", "", done, "", READING], []
    corpora = dict.fromkeys(r["config"]["data"]["clips"] for r in records)
    corpora |= dict.fromkeys(corpus for r in records for corpus in r.get("elsewhere", ()))
    for corpus in corpora:
        of_corpus = [r for r in records if r["config"]["data"]["clips"] == corpus]
        of_corpus += [r | {"figures": r["elsewhere"][corpus]} for r in records if corpus in r.get("elsewhere", ())]
        headers, rows = _table(arms, of_corpus)
        if not rows:
            continue
        lines += ["", f"## {corpus}", "", f"| {' | '.join(headers)} |", "|---" * len(headers) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in rows]
        cells = [[html.escape(cell) for cell in row] for row in rows]
        body = table([html.escape(header) for header in headers], cells)
        names = dict.fromkeys(r["arm"] for r in of_corpus)
        workdirs = {name: output / str(seeds[0]) / name for name in names}
        if found := examples.side_by_side(workdirs, examples.file(corpus), VIDEO_CLIPS):
            columns, data = found
            caption = html.escape(f"From left to right: {', '.join(columns)}; with the real audio.")
            body += f"<figure>{video(data)}<figcaption>{caption}</figcaption></figure>"
        parts.append(section(html.escape(corpus), "", body))
    headers, rows = _runs(records)
    parts.append(section("Runs", "", table(headers, rows)))
    lines += ["", "## Runs", "", f"| {' | '.join(headers)} |", "|---" * len(headers) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    write_text(output / f"{NAME}.md", "\n".join(lines) + "\n")
    page = output / f"{NAME}.html"
    lead = f'<p class="soft">{html.escape(done)}</p><p>{html.escape(READING)}</p>'
    write_text(page, document(TITLE, lead + "".join(parts)))
    return page


def _table(arms: Mapping[str, str], records: Sequence[dict]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows: the arms that generate, then the copied photo and the real frames, of the last such arm; only
    columns in which something was measured."""
    figures: dict[str, dict[int, dict]] = {}
    for record in records:
        found = record.get("figures", {})
        if "cost/fps" in found:
            figures.setdefault(record["arm"], {})[record["seed"]] = found
    rows = [[f"{arm}: {arms[arm]}", *_cells(figures, arm, "audio"), *_costs(figures, arm)] for arm in figures]
    if figures:
        last = list(figures)[-1]
        for driver, name in (("photo", "the photo, copied"), ("real", "the real frames")):
            rows.append([name, *_cells(figures, last, driver), *[NOTHING] * len(COSTS)])
    headers = ["system", *COLUMNS.values(), *COSTS.values()]
    measured = [i for i in range(len(headers)) if any(row[i] != NOTHING for row in rows)]
    return [headers[i] for i in measured], [[row[i] for i in measured] for row in rows]


def _cells(figures: Figures, arm: str, driver: str) -> list[str]:
    return [_spread(figures, arm, f"{name}_{driver}") for name in COLUMNS]


def _costs(figures: Figures, arm: str) -> list[str]:
    speed, parameters = (spread(figures, arm, name) for name in COSTS)
    return [f"{speed[0]:.0f}", f"{parameters[0] / 1e6:.2f}"]


def _spread(figures: Figures, arm: str, name: str) -> str:
    if not (found := spread(figures, arm, name)):
        return NOTHING
    mean, deviation, seeds = found
    digits = 3 if name.startswith("lips/lmd") else 2  # a share of the face's size
    return f"{mean:.{digits}f}" + (f" ± {deviation:.{digits}f}" if seeds > 1 else "")


def _runs(records: Sequence[dict]) -> tuple[list[str], list[list[str]]]:
    rows = [
        [
            *(r["arm"], str(r["seed"]), f"{r['steps']:,}", f"{r['steps_per_second']:.2f}"),
            *(f"{r['hours']:.2f}", r["commit"][:10]),
        ]
        for r in records
    ]
    return ["system", "seed", "steps", "steps/s", "hours, with compilation and evaluation", "commit"], rows

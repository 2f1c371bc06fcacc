"""An evaluation to read: report.json with every figure, and one self-contained report.html."""

import base64
import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from davs_jax import plots
from davs_jax.pictures import VARIANTS

STYLE = """
:root { --ink: #1d2330; --soft: #667085; --line: #e4e7ec; --accent: #3056d3; --paper: #fff; --back: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .25rem; letter-spacing: -.02em; }
h2 { font-size: 1.25rem; margin: 0 0 .5rem; letter-spacing: -.01em; }
p { margin: .25rem 0 1rem; max-width: 46rem; } .soft, figcaption { color: var(--soft); font-size: .9rem; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; }
section { padding: 1.5rem; margin-top: 1.25rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1rem; margin-top: 1.5rem; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 1rem 1.25rem; }
.card b { display: block; font-size: 1.7rem; font-variant-numeric: tabular-nums; letter-spacing: -.02em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .45rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 13rem; }
th { font-size: .85rem; color: var(--soft); font-weight: 600; }
td small { color: var(--soft); display: block; }
tr.main td { font-weight: 600; } tr.main small { font-weight: 400; }
figure { margin: 1rem 0 0; } img, video { max-width: 100%; border-radius: 8px; }
.warn { border-left: 4px solid #d97706; padding-left: 1rem; }
pre { overflow-x: auto; font-size: .8rem; background: var(--back); padding: 1rem; border-radius: 8px; }
"""

ACCURACY = {"audio": "from the sound", "video": "from the picture", "both": "from both (summed logits)"}
DIRECTIONS = {"audio_to_video": "sound → its picture", "video_to_audio": "picture → its sound"}
PLACES = {
    "audio_wid": "word vectors of the sound",
    "video_wid": "word vectors of the picture",
    "pid": "person vectors",
    "maps": "person map that the word adversary reads",
}


def write_report(folder: Path, record: dict, curves: Path | None, media: dict) -> Path:
    """Writes report.json and report.html into `folder`, which is made if need be.

    Args:
      record: what report.json holds: `evaluated` (what, with what), `clips`, `figures`, `skipped`, `config`.
      curves: metrics.jsonl of the training run, if there is one.
      media: for the eye, each optional: `sheet` uint8 `[H, W, 3]`, `video` (mp4 bytes), `openings` (see
        `plots.openings`).

    Returns:
      the path of report.html.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
    page = folder / "report.html"
    page.write_text(_page(record, plots.training(curves) if curves else None, media), encoding="utf-8")
    return page


def summary(record: dict) -> str:
    """The chief figures in a few lines of text."""
    return "\n".join(f"{name:<48}{value:>10}" for name, value in _headline(record["figures"]))


def _page(record: dict, training: bytes | None, media: dict) -> str:
    figures, evaluated = record["figures"], record["evaluated"]
    cards = "".join(f'<div class="card"><b>{v}</b>{html.escape(k)}</div>' for k, v in _headline(figures))
    sections = [
        _seeing(media),
        _accuracy(figures.get("accuracy"), evaluated),
        _retrieval(figures.get("retrieval")),
        _generated(figures.get("pictures"), evaluated),
        _motion(figures.get("motion"), media.get("openings")),
        _probes(figures),
        _section("Training", "The logged terms and figures of the run, by step.", _image(training)) if training else "",
        _skipped(record["skipped"]),
        _section(
            "How this was made",
            "The same figures, unrounded, are in report.json.",
            _table(("", ""), [(name, html.escape(str(value))) for name, value in evaluated.items()])
            + f"<details><summary>Configuration</summary><pre>{html.escape(json.dumps(record['config'], indent=1))}"
            "</pre></details>",
        ),
    ]
    title = f"DAVS evaluation: {Path(str(evaluated['checkpoint'])).name}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><main><h1>{html.escape(title)}</h1>'
        f'<p class="soft">{record["clips"]:,} clips of split “{html.escape(evaluated["split"])}” in '
        f"{html.escape(str(evaluated['data']))}, each counted once. Brackets hold 95&nbsp;% bootstrap intervals, "
        f"{html.escape(evaluated['intervals'])}.</p>"
        f'<div class="cards">{cards}</div>{"".join(sections)}</main></html>\n'
    )


def _headline(figures: dict) -> Iterable[tuple[str, str]]:
    for name, where in ACCURACY.items():
        if "accuracy" in figures:
            yield f"words read {where}", _percent(figures["accuracy"][name]["accuracy"])
    if "retrieval" in figures:
        yield "R@1, sound → picture", _percent(figures["retrieval"]["audio_to_video"]["r1"])
    if "pictures" in figures:
        ours, photo = (figures["pictures"][v]["mouth_psnr"]["mean"] for v in ("audio", "photo"))
        yield f"mouth PSNR from sound (copied photo: {photo:.1f})", f"{ours:.1f} dB"
    if figures.get("motion"):
        yield "mouth motion from sound, correlation", f"{figures['motion']['audio']['correlation']:.2f}"


def _seeing(media: dict) -> str:
    body = ""
    if "video" in media:
        data = base64.b64encode(media["video"]).decode()
        body += (
            f'<figure><video controls loop playsinline src="data:video/mp4;base64,{data}"></video>'
            "<figcaption>Left to right: the photo, the real clip, driven by sound, driven by video; with the real "
            "sound. Both right-hand columns are generated.</figcaption></figure>"
        )
    if "sheet" in media:
        body += (
            f"<figure>{_image(plots.png(media['sheet']))}<figcaption>One block of rows per clip: the photo, then the "
            "real frames (top), those driven by sound (middle) and by video (bottom).</figcaption></figure>"
        )
    intro = "Clips evenly spread over the split; nobody chose them. The photo is each clip's first frame."
    return _section("See and hear", intro, body) if body else ""


def _accuracy(table: dict | None, evaluated: dict) -> str:
    if not table:
        return ""
    rows = [(name, _bracketed(table[key], "accuracy", _percent)) for key, name in ACCURACY.items()]
    chance = 1 / evaluated["words"]
    return _section(
        "Lip reading and speech reading",
        f"The share of clips whose word, one of {evaluated['words']:,}, is named correctly. Guessing reaches "
        f"{_percent(chance)}. “Both” can hide a blind video encoder: look at the picture alone.",
        _table(("words read", "accuracy"), rows),
    )


def _retrieval(table: dict | None) -> str:
    if not table:
        return ""
    keys = ("r1", "r5", "r10", "r50")
    rows = [
        (
            name,
            *(_percent(table[key][k]) for k in keys),
            *(f"{table[key][k]:.1f}" for k in ("median_rank", "mean_rank")),
        )
        for key, name in DIRECTIONS.items()
    ]
    size = table["audio_to_video"]["gallery"]
    return _section(
        "Retrieval",
        f"Given the sound of a clip, is its own picture among the nearest k of all {size:,} clips (and the other way)? "
        f"Distances are Euclidean, between normalised clip vectors. Guessing reaches {_percent(1 / size)} at k = 1 and "
        f"a median rank of {(size + 1) / 2:,.0f}. Clips of the same word are near each other by design, so R@1 asks "
        "for more than the word.",
        _table(("", "R@1", "R@5", "R@10", "R@50", "median rank", "mean rank"), rows),
    )


def _generated(table: dict | None, evaluated: dict) -> str:
    if not table:
        return ""
    columns = {"psnr": "PSNR, dB ↑", "ssim": "SSIM ↑", "mouth_psnr": "mouth PSNR, dB ↑", "mouth_l1": "mouth L1 ↓"}
    formats = {"ssim": "{:.3f}".format, "read": _percent}
    if "read" in table["audio"]:
        columns["read"] = "words read ↑"
    rows = []
    for variant, figures in table.items():
        cells = [_bracketed(figures[k], "mean", formats.get(k, "{:.2f}".format)) for k in columns]
        rows.append((VARIANTS[variant], *cells))
    return _section(
        "Generated frames",
        "Every clip is generated from its first frame and compared with its real frames, the first left out. "
        "Copying the photo is hard to beat over the whole picture, for most of it never moves: look at the mouth box, "
        "and at the distance between right and wrong sound. Mouth L1 is on the 0…255 scale. “Words read” asks the "
        f"model's own lip reader for the word (guessing: {_percent(1 / evaluated['words'])}): a judge that is not "
        "independent, so compare with the copied photo and the wrong sound.",
        _table(("driven by", *columns.values()), rows, main=("audio", "video"), keys=list(table)),
    )


def _motion(table: dict | None, openings) -> str:
    if not table:
        return ""
    names = {"real": "real frames: what the ruler itself reaches"} | VARIANTS
    rows = [
        (names[v], _bracketed(table[v], "correlation"), f"{table[v]['amplitude']:.2f}") for v in names if v in table
    ]
    warning = (
        ""
        if table["ruler"]["trusted"]
        else '<p class="warn"><b>Not to be trusted:</b> on real frames of unseen people the ruler correlates with the '
        "truth below 0.9, so the figures of generated frames say little.</p>"
    )
    return _section(
        "Mouth motion",
        "How far the mouth is open is read from the pixels by a ridge regression fitted on real frames of the training "
        f"split, and compared with the true opening ({table['ruler']['clips']:,} clips), each clip's mean taken off. "
        "Correlation says that the mouth moves at the right time; amplitude that it moves as far (1 is the truth; a "
        "blurred mouth measures smaller).",
        warning
        + _table(
            ("driven by", "correlation", "amplitude"),
            rows,
            main=("audio", "video"),
            keys=[v for v in names if v in table],
        )
        + (f"<figure>{_image(plots.openings(openings))}</figure>" if openings else ""),
    )


def _probes(figures: dict) -> str:
    rows = []
    for group, where in (("probes", "clips"), ("face_probes", "identity images")):
        for name, probe in figures.get(group, {}).items():
            what, place = name.split("_from_")
            label = f"{what} from {PLACES[place]}" + (", of identity images" if group == "face_probes" else "")
            wanted = (what == "word") == place.endswith("wid")
            rows.append(
                (
                    label,
                    "high" if wanted else "at chance",
                    _bracketed(probe, "accuracy", _percent),
                    _percent(probe["chance"]),
                    f"{probe['clips']:,} {where}",
                )
            )
    if not rows:
        return ""
    return _section(
        "Who is in the words, and what is said in the person",
        "A fresh linear classifier tries to read words and people from each representation, and is judged on clips "
        "that it was not fitted on: words on people it has not met (where the corpus knows its people), people on "
        "words it has not met. A perfect separation leaves “at chance” rows at chance. The training's own adversaries "
        "cannot show this: they may simply be weak.",
        _table(("linear probe", "should be", "accuracy", "chance", "on"), rows),
    )


def _skipped(skipped: dict[str, str]) -> str:
    if not skipped:
        return ""
    rows = [(html.escape(name), html.escape(reason)) for name, reason in skipped.items()]
    return _section("Left out", "What could not be computed, and why.", _table(("part", "reason"), rows))


def _section(title: str, text: str, body: str) -> str:
    return f"<section><h2>{title}</h2><p>{text}</p>{body}</section>"


def _table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], main: Sequence[str] = (), keys: Sequence[str] = ()
) -> str:
    """A table of ready HTML cells; rows whose key is in `main` stand out."""
    head = "".join(f"<th>{h}</th>" for h in headers)
    body = ""
    for i, row in enumerate(rows):
        marked = ' class="main"' if keys and keys[i] in main else ""
        body += f"<tr{marked}>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _bracketed(figure: dict, key: str, number=lambda x: f"{x:.2f}") -> str:
    return f"{number(figure[key])}<small>[{number(figure['low'])}, {number(figure['high'])}]</small>"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _image(data: bytes) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(data).decode()}">'

"""Building blocks of a report page: one self-contained HTML file."""

import base64
import html
from collections.abc import Callable, Iterable, Sequence

STYLE = """
:root { --ink: #1d2330; --soft: #667085; --line: #e4e7ec; --accent: #3056d3; --paper: #fff; --back: #f6f7f9; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 78rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .25rem; letter-spacing: -.02em; }
h2 { font-size: 1.25rem; margin: 0 0 .5rem; letter-spacing: -.01em; }
p { margin: .25rem 0 1rem; max-width: 46rem; } .soft, figcaption { color: var(--soft); font-size: .9rem; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; }
section { padding: 1.5rem; margin-top: 1.25rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: 1rem; margin-top: 1.5rem; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 1rem 1.25rem; }
.card b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; letter-spacing: -.02em; }
.card b { white-space: nowrap; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .45rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 13rem; }
th { font-size: .85rem; color: var(--soft); font-weight: 600; white-space: normal; vertical-align: bottom; }
table.text th, table.text td { text-align: left; white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
td .words { display: inline-block; max-width: 14rem; white-space: normal; }
td small { color: var(--soft); display: block; }
tr.main td { font-weight: 600; } tr.main small { font-weight: 400; }
details { margin-top: .75rem; } summary { cursor: pointer; } h3 { margin: 1.5rem 0 .25rem; }
figure { margin: 1rem 0 0; } img, video { max-width: 100%; border-radius: 8px; }
.warn { border-left: 4px solid #d97706; padding-left: 1rem; }
pre { overflow-x: auto; font-size: .8rem; background: var(--back); padding: 1rem; border-radius: 8px; }
"""


def document(title: str, body: str) -> str:
    """The whole page; `body` is ready HTML, `title` text."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style><main>'
        f"<h1>{html.escape(title)}</h1>{body}</main></html>\n"
    )


def section(title: str, text: str, body: str) -> str:
    """A section of ready HTML: a title, a paragraph and what follows it."""
    return f"<section><h2>{title}</h2><p>{text}</p>{body}</section>"


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[str]],
    main: Sequence[str] = (),
    keys: Sequence[str] = (),
    text: bool = False,
) -> str:
    """A table of ready HTML cells. Rows whose key is in `main` are bold; `text` cells are aligned left and wrap."""
    head = "".join(f"<th>{h}</th>" for h in headers)
    body = ""
    for i, row in enumerate(rows):
        marked = ' class="main"' if keys and keys[i] in main else ""
        body += f"<tr{marked}>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
    start = '<table class="text">' if text else "<table>"
    return f'<div class="scroll">{start}<tr>{head}</tr>{body}</table></div>'


def decimals(value: float, places: int = 2) -> str:
    """Rounded; a zero has no sign."""
    return f"{round(value, places) + 0.0:.{places}f}"


def bracketed(value: float, low: float, high: float, number: Callable[[float], str] = decimals) -> str:
    """A figure above its interval."""
    return f"{number(value)}<small>[{number(low)}, {number(high)}]</small>"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def image(data: bytes) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(data).decode()}">'


def video(data: bytes) -> str:
    """An mp4 file, playing in the page."""
    return f'<video controls loop playsinline src="data:video/mp4;base64,{base64.b64encode(data).decode()}"></video>'

"""The state of a run on one page of a terminal, read from its workdir only."""

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from davs_jax.monitor import goodput
from davs_jax.monitor.writers import EVENTS

BARS = "▁▂▃▄▅▆▇█"
GROUPS = ("loss/", "accuracy/")  # of the curves that are shown; `loss/discriminator/` comes last
TITLE, VALUE = 34, 10  # columns
SILENT = 600  # seconds without a line after which a run seems to be dead


class StatusError(ValueError):
    """A folder that holds no run."""


def read(workdir: Path) -> tuple[list[dict], list[dict]]:
    """The events of a run, and the lines of its account; unfinished last lines are left out.

    Raises:
      StatusError: the folder holds no run.
    """
    file = workdir / EVENTS
    if not file.exists():
        raise StatusError(
            f"{workdir} has no {EVENTS}: it is not the workdir of a run, or that has not begun its steps yet"
        )
    account = workdir / goodput.FILE
    return (
        goodput.read(file.read_text().splitlines()),
        goodput.read(account.read_text().splitlines()) if account.exists() else [],
    )


def sparkline(values: Sequence[float], width: int) -> str:
    """Means of as many stretches as there are columns, from the least to the greatest of them."""
    count = min(width, len(values))
    cuts = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(cuts)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


def page(workdir: Path, now: float, width: int, height: int) -> str:
    """The page; at most `height` lines of at most `width` columns.

    Args:
      now: seconds since the epoch.

    Raises:
      StatusError: the folder holds no run.
    """
    events, account = read(workdir)
    lines = [*_progress(workdir, events, account, now), ""]
    tail = ["", *_files(workdir)]
    curves = _curves(events, width)
    room = max(height - len(lines) - len(tail), 1)
    if len(curves) > room:
        curves = [*curves[: room - 1], f"… and {len(curves) - room + 1} more curves"]
    return "\n".join(line[:width] for line in [*lines, *curves, *tail])


def _progress(workdir: Path, events: list[dict], account: list[dict], now: float) -> list[str]:
    speed = [event for event in events if event.get("time/steps_per_second")]
    step = events[-1]["step"] if events else 0
    last = account[-1]["of"] if account else None
    line = f"step {step:,}" + (f" of {last:,} ({step / last:.0%})" if last else "")
    if last and step < last and speed:
        line += f", {goodput.duration((last - step) / speed[-1]['time/steps_per_second'])} to go"
    lines = [str(workdir), line]
    if speed:
        latest = speed[-1]
        lines.append(
            f"{latest['time/clips_per_second']:,.1f} clips/s, {latest['time/steps_per_second']:.3g} steps/s, "
            f"waiting for data {latest['time/waiting_for_data']:.1%}"
        )
    if account:
        lines.append(goodput.sentence(goodput.totals(json.dumps(entry) for entry in account)))
    silence = now - (workdir / EVENTS).stat().st_mtime
    if last and step >= last:
        lines.append("done")
    elif silence > SILENT:
        lines.append(f"nothing was written for {goodput.duration(silence)}: is it still running?")
    return lines


def _curves(events: list[dict], width: int) -> list[str]:
    names = {name for event in events for name in event if name.startswith(GROUPS)}
    lines = []
    for name in sorted(names, key=lambda n: (n != "loss/total", "discriminator" in n, not n.startswith("loss/"), n)):
        values = [event[name] for event in events if name in event]
        bars = sparkline(values, max(width - TITLE - VALUE - 2, 8))
        lines.append(f"{name[:TITLE]:<{TITLE}} {values[-1]:>{VALUE}.4g} {bars}")
    return lines


def _files(workdir: Path) -> list[str]:
    pictures: Mapping[str, Path] = {
        file.stem.rpartition("_")[0]: file for file in sorted((workdir / "images").glob("*_*.png"))
    }
    return [f"{name}: {file.relative_to(workdir)}" for name, file in pictures.items()]


def follow(workdir: Path, every: float, size, write) -> None:
    """Shows the page again and again.

    Args:
      every: seconds between looks.
      size: () → (columns, lines) of the terminal.
      write: text → the terminal.

    Raises:
      StatusError: the folder holds no run.
    """
    while True:
        columns, lines = size()
        text = page(workdir, time.time(), columns, lines - 1)
        write("\x1b[H\x1b[J" + text + "\n")  # home, clear what is below
        time.sleep(every)

"""Status page of a run for the terminal, made from the files in its workdir."""

import itertools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from davs_jax.errors import DavsError
from davs_jax.monitor import goodput
from davs_jax.monitor.writers import EVENTS

BARS = "▁▂▃▄▅▆▇█"
GROUPS = ("loss/", "accuracy/")  # curves shown; `loss/discriminator/` comes last
TITLE, VALUE = 34, 10  # columns
SILENT = 600  # seconds without a new event after which the run may be dead


class StatusError(DavsError):
    """The folder is not the workdir of a run."""


def read(workdir: Path) -> tuple[list[dict], list[dict]]:
    """Reads the events of a run and the lines of its time account, except incomplete last lines.

    Raises:
      StatusError: the folder is not the workdir of a run.
    """
    file = workdir / EVENTS
    if not file.exists():
        raise StatusError(
            f"{workdir} has no {EVENTS}: it is not the workdir of a run, or the run has not taken a step yet",
            "give the folder that davs_jax.main got as --workdir",
        )
    account = workdir / goodput.FILE
    return (
        goodput.read(file.read_text().splitlines()),
        goodput.read(account.read_text().splitlines()) if account.exists() else [],
    )


def sparkline(values: Sequence[float], width: int) -> str:
    """Draws values as one line of bars: each column is the mean of its part, scaled from the least to the greatest."""
    count = min(width, len(values))
    cuts = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(cuts)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


def page(workdir: Path, now: float, width: int, height: int) -> str:
    """Composes the page: at most `height` lines of at most `width` columns.

    Args:
      now: seconds since the epoch.

    Raises:
      StatusError: the folder is not the workdir of a run.
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
        lines.append(f"no new event for {goodput.duration(silence)}: is the run still alive?")
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
    newest: Mapping[str, Path] = {
        file.stem.rpartition("_")[0]: file for file in sorted((workdir / "images").glob("*_*.png"))
    }
    return [f"{name}: {file.relative_to(workdir)}" for name, file in newest.items()]


def follow(workdir: Path, every: float, size, write) -> None:
    """Shows the page and updates it until interrupted.

    Args:
      every: seconds between updates.
      size: () → (columns, lines) of the terminal.
      write: text → the terminal.

    Raises:
      StatusError: the folder is not the workdir of a run.
    """
    while True:
        columns, lines = size()
        text = page(workdir, time.time(), columns, lines - 1)
        write("\x1b[H\x1b[J" + text + "\n")  # cursor home, clear below
        time.sleep(every)

"""Accounts for a run's time over all its starts: how much went into steps, and how much into everything else.

`goodput.jsonl` in the workdir gets a line at every log, save and end: the time since this start, by kind of work. The
work of a killed run after the checkpoint from which the next start resumed counts as lost.
"""

import collections
import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping

from etils import epath

from davs_jax.monitor.writers import append

FILE = "goodput.jsonl"
# "start" is everything before the first step except compilation: opening data, weights or a checkpoint.
KINDS = ("step", "data", "compile", "start", "evaluation", "checkpoint", "other", "lost")


class Account:
    """Accounts for the time of this start of a run.

    Args:
      workdir: folder of the run.
      first: step from which it starts or resumes.
      last: step at which it will end.
      writes: whether this process writes the file.
    """

    def __init__(self, workdir: epath.Path, first: int, last: int, writes: bool):
        self._file, self._first, self._last, self._writes = workdir / FILE, first, last, writes
        self._spent: collections.Counter[str] = collections.Counter()
        self._began, self._clock = time.time(), time.perf_counter()
        self._before = self._file.read_text().splitlines() if writes and self._file.exists() else []

    @contextlib.contextmanager
    def spending(self, kind: str) -> Iterator[None]:
        """Counts the time of the block as work of this kind, one of KINDS."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(kind, time.perf_counter() - began)

    def add(self, kind: str, seconds: float) -> None:
        """Adds to the time of one of KINDS."""
        self._spent[kind] += seconds

    def note(self, step: int) -> None:
        """Appends a line with the times after this step."""
        if self._writes:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            append(self._file, self._line(step))

    def _line(self, step: int) -> str:
        place = {"began": self._began, "first": self._first, "at": step, "of": self._last}
        spent = {"total": time.perf_counter() - self._clock, **self._spent}
        return json.dumps(place | {kind: round(seconds, 3) for kind, seconds in spent.items()})

    def total(self, step: int) -> dict[str, float]:
        """Seconds by kind over all starts, up to this step."""
        return totals([*self._before, self._line(step)])


def read(lines: Iterable[str]) -> list[dict]:
    """Parses the lines of a file, except one that a killed run left incomplete."""
    found = []
    for line in lines:
        with contextlib.suppress(json.JSONDecodeError):
            found.append(json.loads(line))
    return found


def totals(lines: Iterable[str]) -> dict[str, float]:
    """Seconds by kind, over all starts of a run; their sum is the total time that its processes ran."""
    starts: list[list[dict]] = []
    for line in read(lines):
        if not starts or line["began"] != starts[-1][-1]["began"]:
            starts.append([])
        starts[-1].append(line)
    seconds = dict.fromkeys(KINDS, 0.0)
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        ended = start[-1]
        if following and following[0]["first"] < ended["at"]:
            kept = [line for line in start if line["at"] <= following[0]["first"]]
            counted = kept[-1] if kept else {"total": 0.0}
            seconds["lost"] += ended["total"] - counted["total"]
            ended = counted
        for kind in KINDS:
            seconds[kind] += ended.get(kind, 0.0)
        seconds["other"] += ended["total"] - sum(ended.get(kind, 0.0) for kind in KINDS)
    return seconds


def shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """The metrics `goodput/KIND`: each kind's share of the total time."""
    whole = sum(seconds.values()) or 1.0
    return {f"goodput/{kind}": value / whole for kind, value in seconds.items()}


def sentence(seconds: Mapping[str, float]) -> str:
    """`time: 1 h 03 min, of which step 81%, compile 9%, …`; kinds below half a percent are left out."""
    whole = sum(seconds.values())
    parts = sorted(((value / (whole or 1.0), kind) for kind, value in seconds.items()), reverse=True)
    listed = ", ".join(f"{kind} {share:.0%}" for share, kind in parts if share >= 0.005)
    return f"time: {duration(whole)}, of which {listed}"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s`, `2 h 07 min`, `3 d 04 h`."""
    whole = round(seconds)
    for size, unit, smaller, name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller:02d} {name}"
    return f"{whole} s"

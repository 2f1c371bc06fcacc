"""Many jobs from one file, one per line. Running it again resumes it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from davs_jax.errors import DavsError, first_line
from davs_jax.generate.drivers import Driver
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.jobs import Job, Style, make, read_driver
from davs_jax.generate.result import part_of
from davs_jax.generate.table import Row, mistake, read_rows
from davs_jax.media.photo import POINTS, PhotoError, parse_points
from davs_jax.talker import Talker

PLACES = ("photo", "audio", "video", "output")
FIELDS = (*PLACES, "points", "aligned", "face")
TRUTHS = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}
MOST_FACES = 10_000


@dataclass(frozen=True)
class Tally:
    """How a manifest ended: the numbers of outputs made now and made before, and the reasons for failures."""

    made: int
    there: int
    failed: list[str]
    stopped: bool = False


def read_manifest(path: Path) -> list[Job]:
    """Reads a manifest: `.csv` (or `.tsv`) with a header line, or `.jsonl` with one object per line.

    Each line has `photo`, `output` and one of `audio` and `video`; optionally `points` (`"x,y x,y x,y x,y x,y"`, a JSON
    file, or in `.jsonl` five pairs), `aligned` and `face`. Relative paths start at the manifest's folder, `~` is the
    home folder.

    Raises:
      GenerationError: the file cannot be read, or a line is invalid; the message names the line and the column.
    """
    rows = read_rows(path, FIELDS)
    if path.suffix.lower() != ".jsonl":
        _check_columns(path, rows)
    jobs, lines = [], {}
    for line, values in rows:
        job = _job(path, line, values)
        output = job.output.resolve()
        if output in lines:
            what = f"{_shown(values['output'])} is written by line {lines[output]} too"
            raise mistake(path, line, what, "give each line its own output", "output")
        lines[output] = line
        jobs.append(job)
    return jobs


def run_manifest(model: Talker, jobs: list[Job], style: Style, say: Callable[[str], None]) -> Tally:
    """Runs all jobs whose output does not exist yet. A job that fails does not stop the others.

    An output gets its name once it is complete, so an existing output is done. A driver is read once for consecutive
    jobs.
    """
    drivers: dict[tuple[Path | None, Path | None], Driver] = {}
    made, there, failed = 0, 0, []
    for number, job in enumerate(jobs, start=1):
        if job.output.exists():
            there += 1
            continue
        try:
            _clear(part_of(job.output))
            key = job.audio, job.video  # a video file can be either: its speech or its lips drive
            if key not in drivers:
                drivers = {key: read_driver(job, style.fps, say)}  # one at a time: sort the manifest by driver
            result = make(model, job, style, say, drivers[key], part=True)
        except (DavsError, OSError) as error:
            failed.append(f"{job.output}: {error}")
            say(f"{number} of {len(jobs)} failed: {error}")
            continue
        if result.stopped:
            say(f"stopped in {part_of(job.output)}; rerun the same command to resume")
            return Tally(made, there, failed, stopped=True)
        made += 1
        say(f"{number} of {len(jobs)}: {job.output}, {result.frames} frames")
    return Tally(made, there, failed)


def _check_columns(path: Path, rows: list[Row]) -> None:
    """Refuses a table in which no line has a value of a column that every line needs."""
    given = {name for _, values in rows for name in values}
    for wanted in (("photo",), ("output",), ("audio", "video")):
        if not given & set(wanted):
            needed = "photo, output, and audio or video"
            raise GenerationError(
                f"{path}: has no column {' or '.join(wanted)}, or nothing in it", f"give {needed} in each line"
            )


def _job(path: Path, line: int, values: dict) -> Job:
    try:
        for name in ("photo", "output"):
            if name not in values:
                raise _Wrong(name, "is empty", "give the name of a file")
        if ("audio" in values) == ("video" in values):
            what = "both are there" if "audio" in values else "neither is there"
            raise _Wrong("audio or video", what, "give one of them")
        places = {name: _place(path, name, values[name]) for name in PLACES if name in values}
        return Job(**places, points=_points(path, values), aligned=_yes(values), face=_face(values))
    except _Wrong as error:
        raise mistake(path, line, error.reason, error.remedy, error.column) from error


class _Wrong(DavsError):
    """A value that its column does not allow."""

    def __init__(self, column: str, reason: str, remedy: str):
        super().__init__(reason, remedy)
        self.column = column


def _place(path: Path, column: str, value: Any) -> Path:
    """A file's place; relative ones start at the manifest's folder."""
    if not isinstance(value, str):
        raise _Wrong(column, f"{_shown(value)} is not text", "give the name of a file, in quotes")
    try:
        place = path.parent / Path(value).expanduser()
        place.resolve()
        place.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long; with a zero character; the home of nobody
        reason = error.strerror if isinstance(error, OSError) else first_line(error, 80)
        raise _Wrong(column, f"{_shown(value)} is no file's name ({reason})", "correct it") from error
    return place


def _points(path: Path, values: dict) -> np.ndarray | None:
    value = values.get("points")
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return parse_points(value.split() if "," in value else [str(_place(path, "points", value))])
        return parse_points([",".join(map(str, pair)) for pair in value])
    except TypeError as error:
        raise _Wrong("points", f"{_shown(value)} are not five pairs of numbers", f"give {POINTS}") from error
    except PhotoError as error:
        raise _Wrong("points", error.reason, error.remedy) from error


def _yes(values: dict) -> bool:
    value = str(values.get("aligned", "no")).lower()
    if value not in TRUTHS:
        raise _Wrong("aligned", f"{_shown(values['aligned'])} is none of {', '.join(TRUTHS)}", "give one of these")
    return TRUTHS[value]


def _face(values: dict) -> int:
    value = values.get("face", 1)
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= MOST_FACES:
        raise _Wrong("face", f"{_shown(value)} is not a whole number from 1", "1 is the largest face")
    return number


def _shown(value: Any) -> str:
    return f"{str(value)[:40]!r}" if isinstance(value, str) else json.dumps(value)[:40]


def _clear(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)

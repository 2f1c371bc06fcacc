"""Many jobs from one file, one per line. Running it again resumes it."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from davs_jax.errors import DavsError
from davs_jax.generate.drivers import Driver
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.jobs import Job, Style, make, read_driver
from davs_jax.generate.result import part_of
from davs_jax.inference import Davs
from davs_jax.media.photo import parse_points

FIELDS = ("photo", "audio", "video", "output", "points", "aligned", "face")


@dataclass(frozen=True)
class Tally:
    """How a manifest ended: the numbers of outputs made now and made before, and the reasons for failures."""

    made: int
    there: int
    failed: list[str]
    stopped: bool = False


def read_manifest(path: Path) -> list[Job]:
    """Reads a manifest: `.csv` with a header line, or `.jsonl` with one object per line.

    Each line has `photo`, `output` and one of `audio` and `video`; optionally `points` (`"x,y x,y x,y x,y x,y"` or a
    JSON file), `aligned` and `face`. Relative paths start at the manifest's folder.

    Raises:
      GenerationError: the file cannot be read, or a line is invalid; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise GenerationError(f"{path}: cannot be read ({error})", "give a .csv or .jsonl file") from error
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(text.splitlines(keepends=True))
        rows = [(reader.line_num, row) for row in reader]
    elif path.suffix.lower() == ".jsonl":
        rows = [(i, line) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
    else:
        raise GenerationError(f"{path}: is neither .csv nor .jsonl", "end its name in the one that it is")
    jobs = [_job(path, number, row) for number, row in rows]
    if not jobs:
        raise GenerationError(f"{path}: has no lines", f"give {', '.join(FIELDS)} in each")
    outputs = [job.output.resolve() for job in jobs]
    if twice := {str(p) for p in outputs if outputs.count(p) > 1}:
        raise GenerationError(f"{path}: several lines write {sorted(twice)[0]}", "give each its own output")
    return jobs


def run_manifest(model: Davs, jobs: list[Job], style: Style, say: Callable[[str], None]) -> Tally:
    """Runs all jobs whose output does not exist yet. A job that fails does not stop the others.

    An output gets its name once it is complete, so an existing output is done. A driver is read once for consecutive
    jobs.
    """
    drivers: dict[Path, Driver] = {}
    made, there, failed = 0, 0, []
    for number, job in enumerate(jobs, start=1):
        if job.output.exists():
            there += 1
            continue
        try:
            _clear(part_of(job.output))
            key = job.audio or job.video
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


def _job(path: Path, number: int, row: dict | str) -> Job:
    try:
        row = json.loads(row) if isinstance(row, str) else row
        if not isinstance(row, dict):
            raise GenerationError("is not an object")
        if unknown := sorted(str(k) for k in row.keys() - set(FIELDS)):
            raise GenerationError(f"{unknown[0]} is none of {', '.join(FIELDS)}")
        given = {key: value for key, value in row.items() if value not in (None, "")}
        if missing := [key for key in ("photo", "output") if key not in given]:
            raise GenerationError(f"has no {missing[0]}")
        if ("audio" in given) == ("video" in given):
            raise GenerationError("needs one of audio and video")
        places = {key: path.parent / given[key] for key in ("photo", "audio", "video", "output") if key in given}
        points = given.get("points")
        if isinstance(points, str):
            points = parse_points(points.split() if "," in points else [str(path.parent / points)])
        elif points is not None:
            points = parse_points([f"{x},{y}" for x, y in points])
        aligned = str(given.get("aligned", "")).lower() in ("1", "true", "yes")
        return Job(**places, points=points, aligned=aligned, face=int(given.get("face", 1)))
    except (DavsError, ValueError, TypeError) as error:  # the last two of JSON, of numbers and of file names
        raise GenerationError(f"{path}, line {number}: {error}", "correct it") from error


def _clear(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)

"""Many jobs from one file, a line each; run again, it goes on where it was."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from davs_jax.errors import DavsError, MediaError
from davs_jax.generate import film
from davs_jax.generate.drivers import Driver
from davs_jax.generate.follow import GenerationError
from davs_jax.generate.jobs import Job, Style, make, read_driver
from davs_jax.inference import Davs
from davs_jax.media.photo import PhotoError, parse_points
from davs_jax.provenance.credentials import ProvenanceError

FIELDS = ("photo", "audio", "video", "output", "points", "aligned", "face")


@dataclass(frozen=True)
class Tally:
    """How a work list ended: outputs made now, made before, and the reasons of those that failed."""

    made: int
    there: int
    failed: list[str]
    stopped: bool = False


def read_manifest(path: Path) -> list[Job]:
    """Reads a work list: `.csv` with a header line, or `.jsonl` with an object a line.

    Each line has `photo`, `output` and one of `audio` and `video`; `points` (`"x,y x,y x,y x,y x,y"` or a JSON file),
    `aligned` and `face` where wanted. Paths that are not absolute count from the manifest's folder.

    Raises:
      GenerationError: the file cannot be read, or a line is wrong; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise GenerationError(f"{path}: cannot be read as a work list ({error}); give a .csv or .jsonl file") from error
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(text.splitlines(keepends=True))
        rows = [(reader.line_num, row) for row in reader]
    elif path.suffix.lower() == ".jsonl":
        rows = [(i, line) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
    else:
        raise GenerationError(f"{path}: end its name in .csv or .jsonl, as it is one or the other")
    jobs = [_job(path, number, row) for number, row in rows]
    if not jobs:
        raise GenerationError(f"{path}: has no line; give {', '.join(FIELDS)} in each")
    outputs = [job.output.resolve() for job in jobs]
    if twice := {str(p) for p in outputs if outputs.count(p) > 1}:
        raise GenerationError(f"{path}: several lines write {sorted(twice)[0]}; give each an output of its own")
    return jobs


def run_manifest(model: Davs, jobs: list[Job], style: Style, say: Callable[[str], None]) -> Tally:
    """Does all jobs whose output is not there yet; one that fails does not stop the others.

    An output gets its name when it is whole, so what exists is done. A driver that serves several photos is read once.
    """
    drivers: dict[Path, Driver] = {}
    made, there, failed = 0, 0, []
    for number, job in enumerate(jobs, start=1):
        if job.output.exists():
            there += 1
            continue
        try:
            _clear(film.part_of(job.output))
            key = job.audio or job.video
            if key not in drivers:
                drivers = {key: read_driver(job, style.fps, say)}  # one at a time: the list is best sorted by driver
            result = make(model, job, style, say, drivers[key], part=True)
        except (GenerationError, MediaError, PhotoError, ProvenanceError, OSError) as error:
            failed.append(f"{job.output}: {error}")
            say(f"{number} of {len(jobs)} failed: {error}")
            continue
        if result.stopped:
            say(f"stopped in {film.part_of(job.output)}; the same command goes on")
            return Tally(made, there, failed, stopped=True)
        made += 1
        say(f"{number} of {len(jobs)}: {job.output}, {result.frames} frames")
    return Tally(made, there, failed)


def _job(path: Path, number: int, row: dict | str) -> Job:
    try:
        row = json.loads(row) if isinstance(row, str) else row
        if not isinstance(row, dict):
            raise ValueError("is no object")
        if unknown := sorted(str(k) for k in row.keys() - set(FIELDS)):
            raise ValueError(f"{unknown[0]} is none of {', '.join(FIELDS)}")
        given = {key: value for key, value in row.items() if value not in (None, "")}
        if missing := [key for key in ("photo", "output") if key not in given]:
            raise ValueError(f"has no {missing[0]}")
        if ("audio" in given) == ("video" in given):
            raise ValueError("needs one of audio and video")
        places = {key: path.parent / given[key] for key in ("photo", "audio", "video", "output") if key in given}
        points = given.get("points")
        if isinstance(points, str):
            points = parse_points(points.split() if "," in points else [str(path.parent / points)])
        elif points is not None:
            points = parse_points([f"{x},{y}" for x, y in points])
        aligned = str(given.get("aligned", "")).lower() in ("1", "true", "yes")
        return Job(**places, points=points, aligned=aligned, face=int(given.get("face", 1)))
    except (DavsError, ValueError, TypeError) as error:  # JSONDecodeError is a ValueError
        raise GenerationError(f"{path}, line {number}: {error}; correct it") from error


def _clear(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part)

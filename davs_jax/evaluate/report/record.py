"""report.json: the typed sections of an evaluation, written and read; reports of earlier versions stay readable."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from davs_jax.data.sources import ClipSource
from davs_jax.errors import DataError, first_line
from davs_jax.evaluate.sections import Figures
from davs_jax.evaluate.shown import described
from davs_jax.files import write_text

FILE = "report.json"


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What was evaluated, with what, and by what; `words` is the size of the vocabulary."""

    checkpoint: str
    data: str
    split: str
    words: int
    clips: str
    faces: str
    syncnet: str
    perceptual: str
    control: str
    gains: str
    judge: str
    seed: int
    intervals: str
    commit: str
    versions: str
    device: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What report.json holds.

    Attributes:
      clips: the number of clips, each counted once.
      skipped: by name, why a part could not be measured.
      config: of the run that trained the weights.
    """

    evaluated: Evaluated
    clips: int
    figures: Figures
    skipped: dict[str, str]
    config: dict[str, Any]


def write(report: Report, folder: Path) -> None:
    """Writes report.json into `folder`, which is made where it is missing."""
    write_text(folder / FILE, json.dumps(encoded(report), indent=1, default=str) + "\n")


def read(folder: Path) -> Report:
    """The report in a folder, or in a file named *.json.

    Raises:
      DataError: there is none, or it is damaged.
    """
    path = folder if folder.suffix == ".json" else folder / FILE
    try:
        held = json.loads(path.read_text())
        for each in fields(Report):
            held[each.name]  # all of them are there since the first version
        return decoded(Report, held)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not a report ({first_line(error)})", "make one with python -m davs_jax.evaluate"
        ) from error


def read_control(folder: Path, source: ClipSource, clips: int) -> Figures:
    """The figures of another model's report on the same clips.

    Raises:
      DataError: no report, or a report on other clips.
    """
    report = read(folder)
    found = (report.evaluated.data, report.evaluated.split, report.clips)
    if found != (source.folder, source.split, clips):
        raise DataError(
            f"{folder} reports {found[2]} clips of split {found[1]!r} in {found[0]}, not {clips} of {source.split!r} "
            f"in {source.folder}",
            "evaluate the control on the same clips",
        )
    return report.figures


def encoded(value: Any) -> Any:
    """A section, or a whole report, as report.json holds it; what is None by default is left out."""
    if isinstance(value, Mapping):
        return {key: encoded(item) for key, item in value.items()}
    if not is_dataclass(value):
        return value
    result: dict[str, Any] = {}
    for each in fields(value):
        item, (_, shown) = getattr(value, each.name), described(type(value))[each.name]
        if shown.beside:
            result |= encoded(item)
        elif item is not None or each.default is MISSING:
            result[shown.key or each.name] = encoded(item)
    return result


def decoded(kind: Any, value: Any) -> Any:
    """The inverse of `encoded`: `value`, from report.json, as a `kind`.

    Reports of other versions are read as far as possible: a figure that they lack is None, an unknown one is left out.

    Raises:
      TypeError, AttributeError: `value` does not have the structure of `kind`.
    """
    if isinstance(kind, UnionType):
        return None if value is None else decoded(get_args(kind)[0], value)
    if get_origin(kind) is dict:
        return {key: decoded(get_args(kind)[1], item) for key, item in value.items()}
    if not is_dataclass(kind):
        return value
    keys = {name: shown.key or name for name, (_, shown) in described(kind).items() if not shown.beside}
    found: dict[str, Any] = {}
    for name, (inner, shown) in described(kind).items():
        if shown.beside:
            found[name] = decoded(inner, {key: item for key, item in value.items() if key not in keys.values()})
        else:
            item = value.get(keys[name])
            found[name] = None if item is None else decoded(inner, item)
    return kind(**found)

"""Reads a table that somebody typed or a program exported: .csv or .tsv with a header line, or .jsonl."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from davs_jax.errors import first_line
from davs_jax.files import decoded, delimiter
from davs_jax.generate.errors import GenerationError

SUFFIXES = (".csv", ".tsv", ".jsonl")


class Row(NamedTuple):
    """One row, without its empty values."""

    line: int  # from 1, where it begins
    values: dict[str, Any]  # by column; text in a .csv


def read_rows(path: Path, columns: Sequence[str]) -> list[Row]:
    """Reads the rows of a table; blank ones are left out.

    The text is UTF-8 or UTF-16, with any line ends. A .csv is separated by commas, semicolons or tabs; the case of its
    header is ignored, and quoted values may hold line ends.

    Args:
      columns: the names that a header, or an object, may have.

    Raises:
      GenerationError: the file cannot be read, or is no such table; the message names line and column.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise GenerationError(f"{path}: is none of {', '.join(SUFFIXES)}", "end its name in the one that it is")
    text = _text(path)
    if not text.strip():
        raise GenerationError(f"{path}: is empty", f"give {', '.join(columns)} in each line")
    read = _objects if path.suffix.lower() == ".jsonl" else _cells
    rows = list(read(path, text, columns))
    if not rows:
        raise GenerationError(f"{path}: has no lines with values", f"give {', '.join(columns)} in each")
    return rows


def mistake(path: Path, line: int, what: str, remedy: str, column: str | int = "") -> GenerationError:
    """The error for one place of a table."""
    place = f", column {column}" if column else ""
    return GenerationError(f"{path}, line {line}{place}: {what}", remedy)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise GenerationError(f"{path}: cannot be read ({reason})", "give a .csv or .jsonl file") from error
    try:
        text = decoded(data)
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise _binary(path) from error
        begin = data.rfind(b"\n", 0, error.start) + 1
        line, column = data.count(b"\n", 0, error.start) + 1, error.start - begin + 1
        raise mistake(path, line, "is not UTF-8", "save the file as UTF-8", f"{column} (bytes)") from error
    if "\0" in text:
        raise _binary(path)
    return text


def _binary(path: Path) -> GenerationError:
    return GenerationError(f"{path}: is a binary file, not text", "give a .csv or .jsonl file")


def _cells(path: Path, text: str, columns: Sequence[str]) -> Iterator[Row]:
    between, text = delimiter(text, columns)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=between, skipinitialspace=between != "\t", strict=True)
    names, line = None, 1
    while True:
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise mistake(path, line, _reason(error), "correct the quotes of its values") from error
        if any(cells) and names is None:
            names = _header(path, line, cells, columns)
        elif any(cells):
            yield Row(line, _by_name(path, line, cells, names))
        line = reader.line_num + 1


def _header(path: Path, line: int, cells: list[str], columns: Sequence[str]) -> list[str]:
    """The columns' names; "" for those of an empty end, as spreadsheets leave it."""
    names = [cell.lower() for cell in cells]
    for number, name in enumerate(names, start=1):
        if not name and any(names[number:]):
            raise mistake(path, line, f"has no name; allowed are {', '.join(columns)}", "name it", number)
        if name and name not in columns:
            raise mistake(path, line, f"{_short(name)} is none of {', '.join(columns)}", "correct the header", number)
        if name and name in names[: number - 1]:
            raise mistake(path, line, f"{name} is there twice", "leave one of them out", number)
    return names


def _by_name(path: Path, line: int, cells: list[str], names: list[str]) -> dict[str, str]:
    for number, cell in enumerate(cells, start=1):
        if cell and (number > len(names) or not names[number - 1]):
            remedy = "put quotes around a value that holds the delimiter, or leave it out"
            raise mistake(path, line, f"{_short(cell)} is beyond the header's columns", remedy, number)
    return {name: cell for name, cell in zip(names, cells, strict=False) if cell}


def _reason(error: csv.Error) -> str:
    reason = first_line(error)
    return "a quote is not closed" if "unexpected end" in reason else reason


def _objects(path: Path, text: str, columns: Sequence[str]) -> Iterator[Row]:
    remedy = 'give one object per line, {"photo": …, …}'
    for number, line in enumerate(io.StringIO(text, newline=""), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_once, parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            if number == 1 and line.lstrip()[0] in "[{" and _is_json(text):
                raise GenerationError(f"{path}: is one JSON value over several lines", remedy) from error
            what = f"is not JSON ({error.msg})"
            raise mistake(path, number, what, remedy, error.colno) from error
        except (ValueError, RecursionError) as error:
            raise mistake(path, number, first_line(error, 80), "correct it") from error
        if not isinstance(values, dict):
            raise mistake(path, number, f"{_short(line.strip())} is not an object", remedy)
        if unknown := next((name for name in values if name not in columns), None):
            raise mistake(path, number, f"{_short(unknown)} is none of {', '.join(columns)}", "correct the name")
        if given := {name: value for name, value in values.items() if value not in (None, "")}:
            yield Row(number, given)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{_short(next(name for name in names if names.count(name) > 1))} is there twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"

"""The table of labels of a corpus of one's own: a CSV file with a header, a row for each timed word.

    clip,word,start,end,confidence,speaker,split
    talks/anna_01,hello,0.31,0.74,0.93,anna,train
    talks/anna_01,world,0.80,1.22,0.88,anna,train
    talks/ben_07,,,,,ben,test

`clip` is the video's path below the input folder, with or without its suffix, or the bare name of the file where that
is unique. The other columns are optional; further ones are ignored. A row without a word still gives the speaker and
the split. Semicolons or tabs may stand for the commas, as spreadsheets export them.
"""

import csv
import difflib
import io
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

from data_prep import folders
from data_prep.cutting import Word
from data_prep.folders import AnyPath
from data_prep.plan import PreparationError
from data_prep.shards import rejected_item
from davs_jax.files import decoded, delimiter

SPLITS = ("train", "val", "test")
TIMES = ("start", "end")
COLUMNS = ("clip", "word", *TIMES, "confidence", "speaker", "split")


@dataclass
class Labels:
    """What a table says about one video."""

    words: list[Word] = field(default_factory=list)
    speaker: str = ""
    split: str = ""


class Table(NamedTuple):
    """A table's labels."""

    videos: dict[str, Labels]  # by video
    columns: frozenset[str]
    strays: list[dict]  # rejections of the rows that no video fits
    unsure: int  # words left out for their confidence


def read(path: AnyPath, videos: Sequence[str], min_confidence: float) -> Table:
    """Reads the table of some videos.

    Args:
      videos: paths below the input folder.
      min_confidence: words below it are left out, where the table has confidences.

    Raises:
      PreparationError: the file is missing or no such table, a value in it is invalid, or no video fits any row.
    """
    found, strays, unsure = defaultdict(Labels), {}, 0
    columns, rows = _rows(path)
    names = _Names(videos)
    for line, row in rows:
        video = names.video(row["clip"], _Place(path, line, "clip", row["clip"]))
        if video is None:
            strays.setdefault(row["clip"], line)
            continue
        labels = found[video]
        for name in ("speaker", "split"):
            _agree(labels, name, row.get(name, ""), _Place(path, line, name, row.get(name, "")))
        if row.get("word"):
            word, confidence = _word(path, line, row)
            if confidence < min_confidence:
                unsure += 1
            else:
                labels.words.append(word)
    if strays and not found:
        clip, line = next(iter(strays.items()))
        near = difflib.get_close_matches(clip, videos, 1, 0)[0]
        raise _Place(path, line, "clip", clip).error(
            "fits no video, nor does any other row's", f"give paths below --input, such as {near}"
        )
    reason, remedy = "no video fits it", "copy the video, or correct the table's column clip"
    rejected = [
        rejected_item(f"{path.name} (line {line}, {clip})", "label", reason, remedy) for clip, line in strays.items()
    ]
    return Table(dict(found), columns, rejected, unsure)


class _Place(NamedTuple):
    """Where a value stands in a table."""

    path: AnyPath
    line: int
    column: str
    value: str

    def error(self, reason: str, remedy: str) -> PreparationError:
        return PreparationError(f"{self.path}, line {self.line}: {self.column} {self.value!r} {reason}", remedy)


class _Names:
    """The names by which a table may call each video."""

    def __init__(self, videos: Sequence[str]):
        self._levels: list[dict[str, list[str]]] = []
        for name in (str, _without_suffix, lambda video: PurePosixPath(video).name, lambda v: PurePosixPath(v).stem):
            self._levels.append(defaultdict(list))
            for video in videos:
                self._levels[-1][name(video)].append(video)

    def video(self, clip: str, place: _Place) -> str | None:
        """The video of that name; None where there is none.

        Raises:
          PreparationError: there are several, or the name is empty.
        """
        if not clip:
            raise place.error("is empty", "name the row's video")
        fitting = next((level[clip] for level in self._levels if clip in level), [])
        if len(fitting) > 1:
            raise place.error(
                f"fits {len(fitting)} videos, {fitting[0]} and {fitting[1]}", "give its path below --input"
            )
        return fitting[0] if fitting else None


def _without_suffix(video: str) -> str:
    return str(PurePosixPath(video).with_suffix(""))


def _rows(path: AnyPath) -> tuple[frozenset[str], Iterator[tuple[int, Mapping[str, str]]]]:
    """(the columns of the table, its rows with the number of each one's last line); spaces at the ends are left out."""
    if (data := folders.read(path)) is None:
        raise PreparationError(f"{path}: no such file", "check --labels")
    try:
        text = decoded(data)
    except UnicodeDecodeError as error:
        raise PreparationError(f"{path}: is not text in UTF-8 ({error.reason})", "save it as CSV in UTF-8") from error
    between, text = delimiter(text, COLUMNS)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=between, strict=True)
    try:
        header = [name.strip().lower() for name in next(filter(any, reader), [])]
    except csv.Error as error:
        raise _unreadable(path, reader, error) from error
    needed = ("clip", *(TIMES if "word" in header else ()))
    for name in needed:
        if name not in header:
            reason = f"{path}, line {max(reader.line_num, 1)}: the header {between.join(header)!r} has no column {name}"
            timed = " (times of words are seconds from the first frame)" if name in TIMES else ""
            raise PreparationError(reason, f"add it{timed}, with commas, semicolons or tabs between the columns")
    for name in COLUMNS:
        if header.count(name) > 1:
            reason = f"{path}, line {reader.line_num}: the column {name} is there twice"
            raise PreparationError(reason, "remove or rename one")
    return frozenset(header), _read_rows(path, reader, header)


def _read_rows(path: AnyPath, reader, header: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        for cells in reader:
            if not any(cells):
                continue
            if len(cells) != len(header):
                reason = f"{path}, line {reader.line_num}: has {len(cells)} values, the header has {len(header)}"
                raise PreparationError(reason, 'correct it; a value with the delimiter stands in quotes "…"')
            yield reader.line_num, {name: " ".join(cell.split()) for name, cell in zip(header, cells, strict=True)}
    except csv.Error as error:
        raise _unreadable(path, reader, error) from error


def _unreadable(path: AnyPath, reader, error: csv.Error) -> PreparationError:
    return PreparationError(f"{path}, line {reader.line_num}: cannot be read as CSV ({error})", "correct that line")


def _agree(labels: Labels, name: str, value: str, place: _Place) -> None:
    """Sets a video's speaker or split."""
    if not value:
        return
    if name == "split" and value not in SPLITS:
        raise place.error("is no split", f"it is one of {', '.join(SPLITS)}")
    if (before := getattr(labels, name)) and before != value:
        raise place.error(f"contradicts an earlier row of this clip, which has {before!r}", "correct one of them")
    setattr(labels, name, value)


def _word(path: AnyPath, line: int, row: Mapping[str, str]) -> tuple[Word, float]:
    """A row's word, and its confidence; ∞ where the table has none."""
    numbers = {}
    for column in (name for name in (*TIMES, "confidence") if name in row):
        place = _Place(path, line, column, row[column])
        try:
            numbers[column] = float(row[column])
        except ValueError:
            numbers[column] = math.nan
        if not math.isfinite(numbers[column]) or (column in TIMES and numbers[column] < 0):
            raise place.error("is no number" + " of seconds from 0" * (column in TIMES), "correct it, or empty word")
    if numbers["start"] > numbers["end"]:
        place = _Place(path, line, "start", row["start"])
        raise place.error(f"is after the end {row['end']!r}", "correct the times; they are seconds")
    return Word(row["word"], numbers["start"], numbers["end"], line), numbers.get("confidence", math.inf)

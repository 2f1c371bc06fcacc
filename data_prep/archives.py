"""Photos inside larger files: tables with base64 columns, MXNet RecordIO (read without MXNet), WebDataset tars.

A file is listed once, which gives each photo's offset and identity; a photo is then read by its offset alone, so any
process can make any shard.
"""

import base64
import binascii
import logging
import os
import re
import struct
import tarfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

from data_prep import folders
from data_prep.folders import AnyPath
from data_prep.shards import Unusable
from davs_jax.errors import DavsError
from davs_jax.files import decoded

TSV_COLUMNS = 7  # MID, rank, image URL, page URL, face's number, base64 of its box, base64 of its JPEG
TSV_ID, TSV_RANK, TSV_FACE, TSV_DATA = 0, 1, 4, 6
MAGIC = 0xCED7230A  # before each part of a RecordIO record, which is padded to ALIGNMENT bytes
ALIGNMENT = 4
LENGTH_BITS = 29  # of the word after MAGIC; the three above say which part of its record this is
WHOLE, LAST = 0, 3
HEADER = struct.Struct("<IfQQ")  # of a record of ImageRecordIO: number of labels (0: the one that follows), …
INDEX_LINE = re.compile(r"\s*[0-9]+\s+[0-9]+\s*")
IMAGES = ("jpg", "jpeg", "png", "webp")
COPY_AGAIN = "copy the file again"

log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """A photo in a file, or a damaged one."""

    name: str  # unique in the corpus
    offset: int = 0
    size: int = 0
    identity: str = ""
    trouble: str = ""  # why there is no photo; "" where there is one


class Damaged(DavsError):
    """Bytes that do not follow their format."""


def kind(file: str) -> str:
    """Which of KINDS a file is, by its name; "" for any other file."""
    return next((ending for ending in KINDS if file.lower().endswith(ending)), "")


def entries(path: AnyPath, name: str) -> Iterator[Entry]:
    """Lists the photos of a file; damaged ones are entries too, with their `trouble`.

    Args:
      name: of the file in the corpus; the entries' names begin with it.
    """
    try:
        yield from KINDS[kind(path.name)].entries(path, name)
    except OSError as error:
        yield Entry(name, trouble=f"cannot be read ({error.strerror or error})")


def photo_bytes(path: AnyPath, offset: int, size: int) -> bytes:
    """The JPEG (or PNG, …) of an entry.

    Raises:
      Unusable: the file ends before it, or there is no record of the file's kind at that offset.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
    except OSError as error:
        raise Unusable("read", f"cannot be read ({error.strerror or error})", "check the file") from error
    if len(data) < size:
        raise Unusable("read", f"the file ends {size - len(data)} bytes before the photo does", COPY_AGAIN)
    try:
        return KINDS[kind(path.name)].photo(data)
    except Damaged as error:
        raise Unusable("read", error.reason, COPY_AGAIN) from error


def _tsv_entries(path: AnyPath, name: str) -> Iterator[Entry]:
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            columns = line.rstrip(b"\r\n").split(b"\t")
            if len(columns) == TSV_COLUMNS and columns[TSV_ID]:
                identity, rank, face = (columns[i].decode(errors="replace") for i in (TSV_ID, TSV_RANK, TSV_FACE))
                start = offset + len(b"\t".join(columns[:TSV_DATA])) + 1
                yield Entry(f"{name}/{number}-{identity}-{rank}-{face}", start, len(columns[TSV_DATA]), identity)
            elif line.strip():
                yield Entry(f"{name}/{number}", trouble=f"the line has {len(columns)} columns, not {TSV_COLUMNS}")
            offset += len(line)


def _tsv_photo(data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise Damaged(f"its last column is not base64 ({error})") from error


def _record_entries(path: AnyPath, name: str) -> Iterator[Entry]:
    """Records by the `.idx` file beside, else from first to last.

    If the first record holds no image, its first label is the upper bound of the photos' keys. Where the
    index repeats keys, the order of the records in the file takes their place.
    """
    index = path.with_suffix(".idx")
    indexed = _indexed(index)
    if len({key for key, _ in indexed}) < len(indexed):
        log.warning("%s: repeats keys, so records are numbered in their order in %s", index, path.name)
        indexed = list(enumerate(sorted(offset for _, offset in indexed)))
    bound = None
    for number in _bad_lines(index):
        yield Entry(f"{index.name} (line {number})", trouble="the line is not a record's key and offset")
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        for key, offset in indexed if index.exists() else _sequential(file, size):
            if bound is not None and key >= bound:
                continue  # records from this key on list the records of each identity
            entry_name = f"{name}/{key}"
            try:
                record, length = _raw_record(file, offset, size)
                labels, image = _labels(record)
            except Damaged as error:
                yield Entry(entry_name, trouble=error.reason)
                continue
            if image:
                yield Entry(entry_name, offset, length, _class_name(labels[0]))
            elif key == 0:
                bound = labels[0]
            else:
                yield Entry(entry_name, trouble="the record holds no image")


def _indexed(index: AnyPath) -> list[tuple[int, int]]:
    """(key, offset) by rising key; empty where there is no index."""
    return sorted({tuple(map(int, line.split())) for line in _lines(index) if INDEX_LINE.fullmatch(line)})


def _bad_lines(index: AnyPath) -> Iterator[int]:
    """Numbers, from 1, of the lines that give no key and offset; their records are lost."""
    lines = enumerate(_lines(index), 1)
    return (number for number, line in lines if line.strip() and not INDEX_LINE.fullmatch(line))


def _lines(index: AnyPath) -> list[str]:
    return decoded(folders.read(index) or b"", errors="replace").splitlines()


def _sequential(file, size: int) -> Iterator[tuple[int, int]]:
    """(number, offset) of one record after the other, up to a damaged one: the next cannot be located after it."""
    key = offset = 0
    while offset < size:
        yield key, offset
        try:
            offset += _raw_record(file, offset, size)[1]
        except Damaged:
            return
        key += 1


def _raw_record(file, offset: int, size: int) -> tuple[bytes, int]:
    """(content, bytes in the file) of the record at an offset.

    Raises:
      Damaged: there is no complete record.
    """
    parts, position = [], offset
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            raise Damaged("the file ends within the record")
        magic, word = struct.unpack("<II", head)
        if magic != MAGIC:
            raise Damaged(f"no record begins at byte {position:,}")
        part, length = word >> LENGTH_BITS, word & ((1 << LENGTH_BITS) - 1)
        if position + 8 + length > size:
            raise Damaged("the file ends within the record")
        parts.append(file.read(length))
        position += 8 + -(-length // ALIGNMENT) * ALIGNMENT
        if part in (WHOLE, LAST):
            # A record is split where its content contains MAGIC, which is left out.
            return struct.pack("<I", MAGIC).join(parts), min(position, size) - offset


def _labels(record: bytes) -> tuple[tuple[float, ...], bytes]:
    """(labels, image) of a record's content."""
    if len(record) < HEADER.size:
        raise Damaged(f"the record has {len(record)} bytes, its header needs {HEADER.size}")
    count, label, _, _ = HEADER.unpack_from(record)
    if count == 0:
        return (label,), record[HEADER.size :]
    end = HEADER.size + 4 * count
    if len(record) < end:
        raise Damaged(f"the record has {len(record)} bytes, its {count} labels need {end}")
    return struct.unpack_from(f"<{count}f", record, HEADER.size), record[end:]


def _record_photo(data: bytes) -> bytes:
    return _labels(_raw_record(_Bytes(data), 0, len(data))[0])[1]


class _Bytes:
    """The part of a file's interface that `_raw_record` needs."""

    def __init__(self, data: bytes):
        self._data, self._position = data, 0

    def seek(self, position: int) -> None:
        self._position = position

    def read(self, count: int) -> bytes:
        self._position += count
        return self._data[self._position - count : self._position]


def _tar_entries(path: AnyPath, name: str) -> Iterator[Entry]:
    """Samples: consecutive members whose names are equal up to the first dot."""
    key, sample = None, {}
    with path.open("rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    if not member.isfile():
                        continue
                    folder, _, last = member.name.rpartition("/")
                    stem, _, ending = last.partition(".")
                    if (folder, stem) != key and sample:
                        yield _sample(name, key, sample)
                        sample = {}
                    key = folder, stem
                    if ending.lower() in IMAGES:
                        sample["image"] = member.offset_data, member.size
                    elif ending.lower() == "cls":
                        sample["class"] = archive.extractfile(member).read(64).decode(errors="replace").strip()
        except (tarfile.TarError, EOFError) as error:
            yield Entry(f"{name} (after {'/'.join(filter(None, key or ())) or 'its start'})", trouble=f"{error}")
            sample = sample if "image" in sample else {}  # the truncated sample has been reported already
    if sample:
        yield _sample(name, key, sample)


def _sample(name: str, key: tuple[str, str], sample: dict) -> Entry:
    name = "/".join(filter(None, (name, *key)))
    if "image" not in sample:
        return Entry(name, trouble=f"the sample holds no .{', .'.join(IMAGES)}")
    if not sample.get("class"):
        return Entry(name, trouble="the sample holds no .cls, so its identity is unknown")
    return Entry(name, *sample["image"], sample["class"])


def _class_name(label: float) -> str:
    return str(int(label)) if label == label and abs(label) < 2**63 else ""


class _Kind(NamedTuple):
    entries: Callable[[AnyPath, str], Iterator[Entry]]
    photo: Callable[[bytes], bytes]  # from the bytes at an entry's offset


KINDS = {
    ".tsv": _Kind(_tsv_entries, _tsv_photo),
    ".rec": _Kind(_record_entries, _record_photo),
    ".tar": _Kind(_tar_entries, bytes),
}

"""Checksums of the files of a folder, stored beside them: whether what is read is what was written.

`checksums-I-of-N.txt` lists the files that process I of N wrote: a line `CRC-32C bytes name` per file, and a last line
for the lines above it. CRC-32C detects every change of up to 32 adjacent bits, and misses one in 4·10⁹ other changes.
Processors compute it themselves: it takes less time than reading the file (`tests/benchmarks/checksums.py`).
"""

import re
from collections.abc import Iterable

import google_crc32c
from etils import epath

CHUNK = 2**18  # bytes read at once; they stay in the processor's cache


def write(folder: epath.Path, names: Iterable[str], index: int = 0, count: int = 1) -> None:
    """Writes the checksums of one process's files; a killed process leaves either all of them or none.

    Args:
      names: the files, relative to `folder`.
      index, count: this process, and how many write there.

    Raises:
      OSError: a file cannot be read, or the checksums cannot be written.
    """
    own = folder / f"checksums-{index}-of-{count}.txt"
    text = "".join(f"{_checksum(folder / name)} {name}\n" for name in sorted(names))
    part = folder / f"{own.name}.part"
    part.write_bytes((text + _last_line(text, own.name)).encode())
    part.replace(own)


def damage(folder: epath.Path, index: int = 0, count: int = 1) -> str | None:
    """Names the first file that is not as it was written; None where there is none, or no checksums.

    Args:
      index, count: this process, and how many share the files; each one reads its share.
    """
    expected = {}
    for file in _lists(folder):
        text, _, last = file.read_bytes().decode(errors="replace").rstrip("\n").rpartition("\n")
        text += "\n" * bool(text)
        if last + "\n" != _last_line(text, file.name):
            return f"{file.name} is not as it was written"
        for line in text.splitlines():
            *checksum, name = line.split(" ", 2)
            expected[name] = " ".join(checksum)
    for name in sorted(expected)[index::count]:
        try:
            if _checksum(folder / name) != expected[name]:
                return f"{name} is not as it was written"
        except PermissionError:
            raise
        except OSError as error:  # missing, or on a bad sector
            return f"{name} cannot be read: {error.strerror or type(error).__name__}"
    return None


def exist(folder: epath.Path) -> bool:
    """Whether any process has written its checksums."""
    return bool(_lists(folder))


def complete(folder: epath.Path) -> bool:
    """Whether all processes have written theirs."""
    found = [re.fullmatch(r"checksums-(\d+)-of-(\d+)\.txt", file.name).groups() for file in _lists(folder)]
    return bool(found) and len(found) == int(found[0][1])


def _lists(folder: epath.Path) -> list[epath.Path]:
    return sorted(folder.glob("checksums-*-of-*.txt"))


def _checksum(file: epath.Path) -> str:
    """CRC-32C and size of a file, as they are written."""
    checksum = size = 0
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            checksum, size = google_crc32c.extend(checksum, chunk), size + len(chunk)
    return f"{checksum:08x} {size}"


def _last_line(text: str, name: str) -> str:
    return f"{google_crc32c.value(text.encode()):08x} {len(text.encode())} {name}\n"

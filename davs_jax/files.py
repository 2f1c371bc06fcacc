"""Text in any encoding, tables with any delimiter, and writing a local file whole or not at all."""

import codecs
import contextlib
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

DELIMITERS = ",;\t"  # of tables; of equals the first
DRAFT = ".part-"  # how the name of a draft's folder begins; a killed process leaves it behind

MARKS = (  # how a text in an encoding may begin; of UTF-32 first, whose mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)


def decoded(data: bytes, errors: str = "strict") -> str:
    """The text of a file from another program: UTF-8, or UTF-16 or UTF-32 by its mark, UTF-16 by its zeros too.

    Args:
      errors: as of `bytes.decode`.

    Raises:
      UnicodeDecodeError: it is none of these.
    """
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "")
    if not encoding and len(data) % 2 == 0 and len(data) >= 4:  # an ASCII character in UTF-16 has one zero byte
        zeros = [not byte for byte in data[:4]]
        encoding = {(False, True) * 2: "utf-16-le", (True, False) * 2: "utf-16-be"}.get(tuple(zeros), "")
    return data.decode(encoding or "utf-8", errors)


def delimiter(text: str, columns: Collection[str]) -> tuple[str, str]:
    """What separates the values of a table, and the table, blank where Excel may have put a line `sep=…` above it.

    It is the one of `DELIMITERS` that gives the most known names in the first line that is not blank.

    Args:
      columns: the names that a header may have, in lower case.
    """
    if text[:4].lower() == "sep=":
        text = "\n" + "".join(text.splitlines(keepends=True)[1:])  # lines keep their numbers
    header = next((line for line in text.splitlines() if line.strip(DELIMITERS + " ")), "")

    def known(character: str) -> int:
        return sum(cell.strip('" ').lower() in columns for cell in header.split(character))

    return max(DELIMITERS, key=known), text


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a path to write to, which becomes `path` once the block ends, and is removed where the block fails.

    The folder is made where it is missing. The draft keeps the file's suffix, from which writers choose a format.

    Raises:
      OSError: the folder or the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=DRAFT, dir=path.parent) as folder:
        draft = Path(folder) / path.name
        yield draft
        os.replace(draft, path)


def write_text(path: Path, text: str) -> None:
    """Writes a text file, in UTF-8, whole or not at all; see `replacing`."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")

"""Writing a local file whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

DRAFT = ".part-"  # how the name of a draft's folder begins; a killed process leaves it behind


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

"""The files that visitors name in requests: only those in the page's own folder."""

import os
from pathlib import Path

NOT_UPLOADED = "This file was not uploaded to this page, or is removed by now; upload it again."
MARKS = {"path", "url"}  # an object with one of these keys names a file


class NotUploaded(ValueError):
    """A request names something else than a file of the page's folder. The message is always the same."""

    def __init__(self):
        super().__init__(NOT_UPLOADED)


def uploaded(path: object, folder: Path) -> Path:
    """The file of the folder that a visitor's path names, with symlinks resolved.

    What does not lie in the folder by its name is refused before the file system is asked, so that neither the answer
    nor the time it takes tells whether it exists.

    Args:
      path: anything; only an absolute path can be valid.
      folder: resolved.

    Raises:
      NotUploaded: the path names no file of the folder.
    """
    if not isinstance(path, str) or not Path(os.path.normpath(path)).is_relative_to(folder):
        raise NotUploaded
    try:
        real = Path(path).resolve(strict=True)
        inside = real.is_relative_to(folder) and real.is_file()
    except (OSError, ValueError, RuntimeError):  # missing; a null character; links in a circle
        raise NotUploaded from None
    if not inside:
        raise NotUploaded
    return real


def confined(value, folder: Path):
    """JSON of a visitor, where every object that names a file names one of the folder, by its resolved path.

    URLs are taken out: the page needs none, and whatever follows would fetch them.

    Raises:
      NotUploaded: an object names another file, or no file.
    """
    if isinstance(value, list):
        return [confined(item, folder) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() & MARKS:
        value = {**value, "path": str(uploaded(value.get("path"), folder)), "url": None}
    return {key: confined(item, folder) for key, item in value.items()}

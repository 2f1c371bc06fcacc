"""Restricts the files that requests may name to the page's own folder."""

import os
from pathlib import Path

from davs_jax.app.errors import Refusal

NOT_UPLOADED = "This file was not uploaded to this page, or is removed by now; upload it again."
MARKS = {"path", "url"}  # an object with one of these keys names a file


class NotUploaded(Refusal):
    """A request names something other than a file of the page's folder. The message is always the same."""

    def __init__(self):
        super().__init__(403, NOT_UPLOADED)


def uploaded(path: object, folder: Path) -> Path:
    """The file of the folder that a visitor's path names, with symlinks resolved.

    A path outside the folder is refused before the file system is asked, so that neither the answer nor its time
    reveals whether the file exists.

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
    except (OSError, ValueError, RuntimeError):  # missing; a null character; a cycle of links
        raise NotUploaded from None
    if not inside:
        raise NotUploaded
    return real


def confined(value, folder: Path):
    """A visitor's JSON, in which every object that names a file names one of the folder, by its resolved path.

    URLs are removed: the page needs none, and Gradio would fetch them.

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

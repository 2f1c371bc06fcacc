"""Folders that a preparation reads and writes: on a disk, or in a bucket through etils.epath and fsspec.

A local path is a `pathlib.Path`, any other an `epath.Path`. Code that needs a file on a disk (decoders, the writer of
shards) works on a local copy.
"""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from etils import epath

import davs_jax.files
from davs_jax.errors import DavsError, first_line

AnyPath = Path | epath.Path
LAYERS = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs"}  # by scheme, the package that reads and writes it
READERS = ("gs",)  # schemes that ArrayRecord can read, and so training and the report

# Other processes write into the same folder, so a cached listing may be out of date.
for _scheme in ("gcs", *LAYERS):
    fsspec.config.conf.setdefault(_scheme, {})["use_listings_cache"] = False


class FolderError(DavsError):
    """A folder that cannot be used or reached."""


def folder(text: str) -> AnyPath:
    """A path, or an address such as gs://bucket/corpus.

    Raises:
      FolderError: its scheme is unknown, or the package for it is not installed.
    """
    scheme, found, _ = text.partition("://")
    if not found:
        return Path(text)
    if scheme not in LAYERS:
        raise FolderError(f"{text}: unknown scheme {scheme}://", "give a local path, gs://, s3:// or az://")
    if importlib.util.find_spec(LAYERS[scheme]) is None:
        raise FolderError(f"{text}: {scheme}:// needs the package {LAYERS[scheme]}", f"pip install {LAYERS[scheme]}")
    return epath.Path(text)


def shard_folder(text: str) -> AnyPath:
    """A `folder` for shards.

    Raises:
      FolderError: as `folder`, or the shards could not be read again from there.
    """
    chosen = folder(text)
    if not is_local(chosen) and text.partition("://")[0] not in READERS:
        raise FolderError(f"{text}: shards can be read only from a disk or gs://", "give one of these")
    return chosen


def is_local(path: AnyPath) -> bool:
    return isinstance(path, Path)


def absolute(path: AnyPath) -> str:
    """The path under which any process finds it."""
    return str(path.resolve() if is_local(path) else path)


def files(path: AnyPath) -> list[str]:
    """The paths of all files below a folder, relative to it, sorted; hidden files and folders are left out.

    Links to folders are followed (a corpus often lies on another disk), but no folder is entered twice, so a link to a
    parent folder does no harm.

    Raises:
      OSError: a folder cannot be read.
    """
    found = _local_files(path) if is_local(path) else _remote_files(path)
    return sorted(file for file in found if not any(part.startswith(".") for part in file.split("/")))


def read(path: AnyPath) -> bytes | None:
    """A file's content; None where the file is missing.

    Raises:
      FolderError: the bucket cannot be reached.
      OSError: the local file cannot be read.
    """
    try:
        with _reaching(path):
            return path.read_bytes()
    except FileNotFoundError:
        return None


@contextmanager
def local(path: AnyPath) -> Iterator[Path]:
    """Yields `path` itself if it is local, otherwise a local copy that lasts as long as the block.

    Raises:
      FolderError: the bucket cannot be reached.
    """
    if is_local(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="davs_jax.") as place:
        copy = Path(place, path.name)
        with _reaching(path):
            if path.exists():
                path.copy(copy)
        yield copy


@contextmanager
def replacing(path: AnyPath) -> Iterator[Path]:
    """Yields a local draft, which becomes `path` once the block ends without an exception.

    A reader of `path` sees the whole file or none: on a disk the draft is renamed, in a bucket an object appears when
    its upload is complete.

    Raises:
      FolderError: the bucket cannot be reached.
      OSError: the file cannot be written.
    """
    if is_local(path):
        with davs_jax.files.replacing(path) as draft:
            yield draft
        return
    with tempfile.TemporaryDirectory(prefix="davs_jax.") as place:
        draft = Path(place, path.name)
        yield draft
        with _reaching(path):
            epath.Path(draft).copy(path, overwrite=True)


def is_draft(path: AnyPath) -> bool:
    """Whether a path holds a file that is being written."""
    return path.name.startswith(davs_jax.files.DRAFT)


def remove_drafts(path: AnyPath) -> None:
    """Removes the drafts that killed processes left below a folder; a bucket holds none."""
    if is_local(path):
        for draft in list(path.rglob(f"{davs_jax.files.DRAFT}*")):
            shutil.rmtree(draft)


@contextmanager
def _reaching(path: AnyPath) -> Iterator[None]:
    """Turns any error of a bucket's package into a FolderError, except that of a missing file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        if is_local(path):
            raise
        raise unreachable(path, error) from error


def unreachable(path: AnyPath, error: Exception) -> FolderError:
    """The error to raise for one of a bucket's package, whose kinds differ from package to package."""
    remedy = "check the address, the network and your credentials, then run again"
    return FolderError(f"{path}: cannot be reached ({first_line(error)})", remedy)


def _local_files(path: Path) -> Iterator[str]:
    def stop(error: OSError):
        raise error

    seen = set()
    for root, folders, names in os.walk(path, followlinks=True, onerror=stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if (place := os.path.realpath(root)) in seen:
            folders.clear()
            continue
        seen.add(place)
        yield from (Path(root, name).relative_to(path).as_posix() for name in names)


def _remote_files(path: epath.Path) -> Iterator[str]:
    with _reaching(path):
        system, root = fsspec.core.url_to_fs(str(path))
        yield from (name[len(root.rstrip("/")) + 1 :] for name in system.find(root))

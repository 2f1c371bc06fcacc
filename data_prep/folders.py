"""Folders that a preparation reads and writes: here, or in a bucket by the usual layers (etils.epath, fsspec).

A local path is a `pathlib.Path`, any other an `epath.Path`. What needs a file on a disk (decoders, the writer of
shards) works on a local copy.
"""

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from etils import epath

AnyPath = Path | epath.Path
LAYERS = {"gs": "gcsfs", "s3": "s3fs", "az": "adlfs"}  # by scheme, the package that reads and writes it
READERS = ("gs",)  # whose shards ArrayRecord can read, so that training and the report can

# Other processes write into the same folder, so that what one has listed before is no longer true.
for _scheme in ("gcs", *LAYERS):
    fsspec.config.conf.setdefault(_scheme, {})["use_listings_cache"] = False


class FolderError(Exception):
    """A folder cannot be used or reached. The message names it, and the remedy."""


def folder(text: str) -> AnyPath:
    """A path, or an address such as gs://bucket/corpus.

    Raises:
      FolderError: its scheme is unknown, or the package for it is not installed.
    """
    scheme, found, _ = text.partition("://")
    if not found:
        return Path(text)
    if scheme not in LAYERS:
        raise FolderError(f"{text}: {scheme}:// is not known here; give a local path, gs://, s3:// or az://")
    if importlib.util.find_spec(LAYERS[scheme]) is None:
        raise FolderError(f"{text}: {scheme}:// needs the package {LAYERS[scheme]}: pip install {LAYERS[scheme]}")
    return epath.Path(text)


def shard_folder(text: str) -> AnyPath:
    """A `folder` for shards, which have to be read again."""
    chosen = folder(text)
    if not is_local(chosen) and text.partition("://")[0] not in READERS:
        raise FolderError(f"{text}: shards can be read again from a disk or gs:// only; give one of these")
    return chosen


def is_local(path: AnyPath) -> bool:
    return isinstance(path, Path)


def absolute(path: AnyPath) -> str:
    """As any process may find it."""
    return str(path.resolve() if is_local(path) else path)


def files(path: AnyPath) -> list[str]:
    """All files below a folder: their paths in it, sorted. Those with a name that begins with a dot are left out.

    Links to folders are followed (a corpus on another disk is often put in place so), but into no folder twice, so
    that a link to a folder above it does no harm.

    Raises:
      OSError: a folder cannot be read.
    """
    found = _local_files(path) if is_local(path) else _remote_files(path)
    return sorted(file for file in found if not any(part.startswith(".") for part in file.split("/")))


def read(path: AnyPath) -> bytes | None:
    """A file's content, None where there is none.

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
    """A local file: `path` itself, or a copy of it that lasts as long as the block.

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
    """Gives a temporary local file, which takes the place of `path` if the block ends without an exception.

    Whoever looks at `path` sees the whole file or none: here it is renamed, in a bucket it appears when it is closed.
    """
    place = path.parent if is_local(path) else None
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=place)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if is_local(path):
            temporary.chmod(0o644)  # mkstemp's are for the owner only
            os.replace(temporary, path)
        else:
            with _reaching(path):
                epath.Path(temporary).copy(path, overwrite=True)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _reaching(path: AnyPath) -> Iterator[None]:
    """Whatever a layer raises, but for a missing file, becomes a FolderError; each has kinds of its own."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        if is_local(path):
            raise
        raise FolderError(unreached(path, error)) from error


def unreached(path: AnyPath, error: Exception) -> str:
    """What to say of a layer's error."""
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return f"{path}: cannot be reached ({reason}); check the address, the network and your credentials, then run again"


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

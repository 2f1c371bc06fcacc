"""The page's temporary folder: created, cleaned while it serves, and removed, at the latest by the next page."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "davs-app-"


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yields a resolved folder; folders of killed processes are removed first.

    A folder in use is locked; the lock ends with its process, however that ends.
    """
    _remove_left_over(Path(tempfile.gettempdir()).resolve())
    # It gets the name by which other processes find it only once it is locked.
    folder = Path(tempfile.mkdtemp(prefix=f".{PREFIX}")).resolve()
    lock = _locked(folder)
    try:
        folder = folder.rename(folder.with_name(folder.name[1:]))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextlib.contextmanager
def swept(folder: Path, keep: int) -> Iterator[None]:
    """Removes files older than `keep` seconds from the folder during the block."""
    over = threading.Event()
    sweeper = threading.Thread(target=_sweep, args=(folder, keep, over), daemon=True)
    sweeper.start()
    try:
        yield
    finally:
        over.set()
        sweeper.join()


def _sweep(folder: Path, keep: int, over: threading.Event) -> None:
    while not over.wait(min(60, keep / 4)):
        for path in sorted(folder.rglob("*"), reverse=True):  # a folder's content before the folder
            with contextlib.suppress(OSError):  # removed by someone else, or a folder that is not empty
                if path.lstat().st_ctime < time.time() - keep:
                    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _remove_left_over(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # removed by someone else
            if folder.is_symlink() or folder.lstat().st_uid != os.getuid():
                continue
            lock = _locked(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)


def _locked(folder: Path) -> int | None:
    """The descriptor that holds the folder's lock; None where another process has it, or locks are not supported."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor

"""Folders of the user's own, for caches: a temporary one where the usual one cannot be written.

A home may be absent or read-only, as in containers and on clusters; libraries then fail or warn, each in its own way.
"""

import atexit
import importlib.util
import logging
import os
import shutil
import tempfile
from pathlib import Path

from davs_jax.errors import DavsError

log = logging.getLogger(__name__)


def cache(name: str) -> Path:
    """The folder of one of davs_jax's caches, below $XDG_CACHE_HOME or ~/.cache, made where it is missing; or a
    temporary one, as of `writable`."""
    return writable(_home("XDG_CACHE_HOME", ".cache") / "davs_jax" / name)


def writable(folder: Path) -> Path:
    """`folder`, made where it is missing; a temporary one where it cannot be written, with one note per process.

    A temporary one is removed when this process ends.

    Raises:
      DavsError: not even a temporary one can be made.
    """
    if (reason := _refused(folder)) is None:
        return folder
    temporary = _temporary(f"{folder}: cannot be written ({reason})") / folder.name
    temporary.mkdir(exist_ok=True)
    return temporary


def settle_numba() -> None:
    """Gives numba, of librosa, a cache that can be written: it is beside librosa, or in the user's folder, or none."""
    package = importlib.util.find_spec("librosa")
    beside = [Path(place) / "__pycache__" for place in (package and package.submodule_search_locations) or ()]
    _settle("NUMBA_CACHE_DIR", [*beside, _home("XDG_CACHE_HOME", ".cache") / "numba"], any)


def settle_matplotlib() -> None:
    """Gives Matplotlib folders for settings and fonts that can be written."""
    usual = [_home(*place) / "matplotlib" for place in (("XDG_CONFIG_HOME", ".config"), ("XDG_CACHE_HOME", ".cache"))]
    _settle("MPLCONFIGDIR", usual, all)


def _settle(variable: str, usual: list[Path], enough) -> None:
    """Sets an environment variable to a temporary folder, unless the folders that it or `usual` names suffice.

    Processes that this one starts inherit it.
    """
    given = os.environ.get(variable)
    folders = [Path(given)] if given else usual
    if not enough(_refused(folder) is None for folder in folders):
        os.environ[variable] = str(writable(folders[-1]))


def _home(variable: str, name: str) -> Path:
    return Path(os.environ.get(variable) or os.path.join(os.path.expanduser("~"), name))


def _refused(folder: Path) -> str | None:
    """Why files cannot be made in a folder, which is made where it is missing; None where they can."""
    try:
        if str(folder).startswith("~"):
            return "there is no home folder"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


_made: list[Path] = []  # the temporary folder of this process, once there is one


def _temporary(reason: str) -> Path:
    """The temporary folder of this process; the reason for the first use of it is logged."""
    if not _made:
        try:
            _made.append(Path(tempfile.mkdtemp(prefix="davs_jax-")))
        except OSError as error:
            raise DavsError(
                f"{reason}, and no folder for temporary files either", "set TMPDIR to one that can"
            ) from error
        atexit.register(shutil.rmtree, _made[0], ignore_errors=True)
        log.warning("%s; caches are kept in %s, until this process ends", reason, _made[0])
    return _made[0]

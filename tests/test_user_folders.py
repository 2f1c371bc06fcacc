"""Where a home, or the installed packages, cannot be written, caches go to a temporary folder, with one note."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import configs
from davs_jax import user_folders

ROOT = Path(configs.__file__).parents[1]
MFCC = "import numpy as np; from davs_jax.media.audio import mfcc; print(mfcc(np.ones(16_000) / 2, 22_050).shape)"
PLOT = "import numpy as np; from davs_jax.display import plots; print(plots.png(np.zeros((4, 4, 3), np.uint8))[1:4])"
XLA = "import jax; from davs_jax.parallel import compilation; compilation.keep_compilations(); "
XLA += "print(jax.jit(lambda x: x + 1)(1), jax.config.jax_compilation_cache_dir)"


@pytest.fixture
def no_home(tmp_path, monkeypatch) -> Path:
    """A home that is a file, so nothing can be made in it; for this process and those that it starts."""
    (tmp_path / "home").touch()
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(user_folders, "_made", [])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / "home"


def run(code: str, *before: str) -> subprocess.CompletedProcess:
    return subprocess.run([*before, sys.executable, "-c", code], capture_output=True, text=True, timeout=300)


def test_a_folder_that_can_be_written_is_made_and_used(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_folders.cache("xla") == tmp_path / "davs_jax" / "xla"
    assert (tmp_path / "davs_jax" / "xla").is_dir()


def test_folders_that_cannot_be_written_become_temporary_ones_with_one_note(no_home, caplog):
    first, second = user_folders.cache("xla"), user_folders.cache("plans")
    assert first.is_dir() and second.is_dir() and first.parent == second.parent != no_home
    (note,) = [record.getMessage() for record in caplog.records]
    assert note.startswith(f"{no_home}/.cache/davs_jax/xla: cannot be written (Not a directory); caches are kept in ")


def test_without_any_folder_there_is_one_sentence(no_home, monkeypatch):
    def refused(**options):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.mkdtemp", refused)
    with pytest.raises(user_folders.DavsError, match=r"cannot be written .*; set TMPDIR to one that can"):
        user_folders.cache("xla")


@pytest.mark.parametrize(("code", "printed"), [(MFCC, "(71, 12)"), (PLOT, "b'PNG'"), (XLA, "2 ")])
def test_libraries_work_without_a_home(no_home, tmp_path, code, printed):
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(printed)
    assert done.stderr.count("\n") <= 1 and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("davs_jax-*"))  # removed at the end


def test_a_package_that_cannot_be_written_needs_no_home(no_home):
    """As where an administrator has installed it; numba keeps its cache beside the package or in the home."""
    if run("pass", "unshare", "-m", "true").returncode or not shutil.which("mount"):
        pytest.skip("this account may not mount a folder as read-only")
    import librosa

    packages = Path(librosa.__file__).parents[1]
    mount = f"mount --bind {packages} {packages} && mount -o remount,bind,ro {packages} && exec "
    done = run(MFCC, "unshare", "-m", "sh", "-c", mount + '"$0" "$@"')
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(71, 12)\n"
    assert done.stderr.count("\n") == 1 and "caches are kept in" in done.stderr

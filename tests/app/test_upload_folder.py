"""The page's temporary folder, and what killed processes leave of it."""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from davs_jax.app.server import served
from davs_jax.app.upload_folder import swept, temporary_folder

HOLD = """
from davs_jax.app.upload_folder import temporary_folder
with temporary_folder() as folder:
    (folder / "talking.mp4").write_bytes(b"a video")
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def parent(tmp_path, monkeypatch) -> Path:
    """Where temporary folders go."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextlib.contextmanager
def another_process() -> Iterator[tuple[subprocess.Popen, Path]]:
    """A process that holds a folder, and the folder."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", HOLD], **pipes, text=True) as process:
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_a_folder_is_removed_at_the_end(parent):
    with temporary_folder() as folder:
        assert folder.parent == parent
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "a").mkdir()
        (folder / "a" / "b.png").write_bytes(b"b")
    assert list(parent.iterdir()) == []


def test_the_next_start_removes_what_a_killed_one_left(model, gradio_client, parent, free_port):
    with another_process() as (process, left):
        process.kill()
        process.wait()
    assert (left / "talking.mp4").exists()
    with served(model, port=free_port()):
        assert not left.exists()
        assert len(list(parent.glob("davs-app-*"))) == 1
    assert list(parent.glob("davs-app-*")) == []


def test_the_folder_of_a_living_process_stays():
    with another_process() as (process, living):
        with temporary_folder() as own:
            assert own != living
            assert (living / "talking.mp4").exists()
            with temporary_folder():  # another page of the same process
                assert own.exists()
        assert (living / "talking.mp4").exists()
        process.communicate("\n")
        assert process.returncode == 0
    assert not living.exists()


def test_links_and_other_names_stay(parent):
    letter = parent / "mine" / "letter"
    letter.parent.mkdir()
    letter.write_text("Dear Jane")
    (parent / "davs-app-linked").symlink_to(letter.parent)
    (parent / "davs-app-file").write_text("Dear Joe")
    with temporary_folder():
        pass
    assert letter.read_text() == "Dear Jane"
    assert (parent / "davs-app-linked").is_symlink()
    assert (parent / "davs-app-file").read_text() == "Dear Joe"


def test_old_files_are_removed_but_not_what_links_lead_to(parent):
    letter = parent / "letter"
    letter.write_text("Dear Jane")
    with temporary_folder() as folder, swept(folder, 1):
        (folder / "a").mkdir()
        (folder / "a" / "b.png").write_bytes(b"b")
        (folder / "link").symlink_to(letter)
        (folder / "linked").symlink_to(parent)
        end = time.monotonic() + 10
        while any(folder.iterdir()):
            assert time.monotonic() < end
            time.sleep(0.05)
    assert letter.read_text() == "Dear Jane"

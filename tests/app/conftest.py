"""Fixtures of the page's tests: a served page, and files to upload."""

import socket
from collections.abc import Callable

import pytest
from PIL import Image
from scipy.io import wavfile

from davs_jax import inference
from davs_jax.app import server
from davs_jax.app.limits import Limits
from davs_jax.app.server import served
from davs_jax.inference import Davs
from support import talking_files


@pytest.fixture(scope="module")
def gradio_client():
    pytest.importorskip("gradio", reason=f"the page needs {server.INSTALL}")
    return pytest.importorskip("gradio_client")


@pytest.fixture(scope="module")
def model() -> Davs:
    return inference.load(devices="one")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of `talking_files.write`, and invalid ones."""
    folder = talking_files.write(tmp_path_factory.mktemp("a folder"))
    Image.new("RGB", (300, 300), "orange").save(folder / "plain.png")
    wavfile.write(folder / "long.wav", 16_000, talking_files.sound(25))
    (folder / "huge.wav").write_bytes(bytes(3 * 2**20))
    (folder / "letter.png").write_text("Dear Jane")
    (folder / "letter.wav").write_text("Dear Jane")
    return folder


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """Gives a port that nobody uses."""

    def free_port() -> int:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            return s.getsockname()[1]

    return free_port


@pytest.fixture(scope="module")
def address(model, gradio_client, free_port):
    with served(model, Limits(upload_mb=2, seconds=20), port=free_port()) as address:
        yield address

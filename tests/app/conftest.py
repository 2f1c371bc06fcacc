"""What the tests of the page share: a served page, and files to give it."""

import socket
from collections.abc import Callable

import pytest
from PIL import Image
from scipy.io import wavfile

from davs_jax import checkpoint
from davs_jax.app import server
from davs_jax.app.server import Limits, served
from davs_jax.checkpoint.export import DEMO
from davs_jax.inference import Davs
from support import talking_files


@pytest.fixture(scope="module")
def gradio_client():
    pytest.importorskip("gradio", reason=f"the page needs {server.INSTALL}")
    return pytest.importorskip("gradio_client")


@pytest.fixture(scope="module")
def model() -> Davs:
    return Davs(*checkpoint.load_weights(DEMO))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `talking_files.write` makes, and what people should not give."""
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

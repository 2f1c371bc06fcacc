"""What the tests of the page share: a served page, and files to give it."""

import socket
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile
from skimage import data

from davs_jax import app, checkpoint
from davs_jax.app import Limits, served
from davs_jax.inference import Davs
from davs_jax.media import video
from davs_jax.weights import DEMO


@pytest.fixture(scope="module")
def gradio_client():
    pytest.importorskip("gradio", reason=f"the page needs {app.INSTALL}")
    return pytest.importorskip("gradio_client")


@pytest.fixture(scope="module")
def model() -> Davs:
    return Davs(*checkpoint.load_weights(DEMO))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What people have: a portrait, speech of 1.03 s, a driving video of 17 frames; and what they should not give."""
    folder = tmp_path_factory.mktemp("a folder")
    portrait = data.astronaut()[:300, 75:375]
    Image.fromarray(portrait).save(folder / "photo.png")
    Image.new("RGB", (300, 300), "orange").save(folder / "plain.png")
    clock = np.arange(5 * 16_000) / 16_000
    sound = (0.3 * np.sin(2 * np.pi * 300 * clock) * np.sin(2 * np.pi * 3 * clock)).astype(np.float32)
    wavfile.write(folder / "speech.wav", 16_000, sound[:16_480])
    wavfile.write(folder / "long.wav", 16_000, sound)
    (folder / "huge.wav").write_bytes(bytes(3 * 2**20))
    (folder / "letter.png").write_text("Dear Jane")
    (folder / "letter.wav").write_text("Dear Jane")
    with video.Writer(folder / "driver.mp4", samples=sound) as writer:
        for i in range(17):
            writer.write(np.roll(portrait, i // 3, 1))
    with video.Writer(folder / "faceless.mp4") as writer:
        for _ in range(3):
            writer.write(np.full((64, 64, 3), 90, np.uint8))
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
    with served(model, Limits(upload_mb=2, seconds=3), port=free_port()) as address:
        yield address

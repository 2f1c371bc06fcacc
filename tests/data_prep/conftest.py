"""Small real videos and photos, and a detector that always finds the face in them."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from davs_jax.display import plots
from davs_jax.media.faces import detectors
from davs_jax.media.video.write import Writer

POINTS = np.array([[60, 50], [100, 50], [80, 72], [65, 88], [95, 88]], np.float32)  # in an image of 160 × 140


class OneFace:
    """Finds the face at POINTS in the first `times` images."""

    def __init__(self, times):
        self.left = times

    SURE = CLEAR = 0.5

    def detect(self, image):
        self.left -= 1
        return [detectors.Face(POINTS, np.array([45, 30, 70, 80], np.float32), 0.99)] if self.left >= 0 else []


@pytest.fixture(scope="session")
def one_face_detector():
    """Makes a detector that finds one face in every image."""
    return lambda: OneFace(np.inf)


@pytest.fixture
def one_face(monkeypatch):
    """Every image shows one face; after `one_face(n)`, only the first n images do."""

    def sees(times):
        monkeypatch.setattr(detectors, "detector", lambda name=detectors.DEFAULT: OneFace(times))

    sees(np.inf)
    return sees


@pytest.fixture(autouse=True)
def no_plots(monkeypatch):
    """Matplotlib takes most of a small preparation's time; only `test_preparation_report` looks at the plots."""
    monkeypatch.setattr(plots, "histograms", lambda bars: b"PNG")


@pytest.fixture
def points():
    """`[5, 2]`, the points of the face."""
    return POINTS


@pytest.fixture(scope="session")
def encoded(tmp_path_factory):
    """`encoded(frames, sound)` → path of a video that is encoded once per session."""
    folder = tmp_path_factory.mktemp("encoded")

    def video(frames, sound):
        path = folder / f"{frames} {sound}.mp4"
        if not path.exists():
            time = np.arange(frames * 640) / 16_000
            # The tone rises by 100 Hz per second, so that a piece of it tells its position.
            tone = (0.3 * np.sin(2 * np.pi * (200 + 50 * time) * time)).astype(np.float32)
            samples = {"tone": tone, "zeros": np.zeros_like(tone), "none": None}[sound]
            with Writer(path, samples=samples) as writer:
                for i in range(frames):
                    writer.write(np.full((140, 160, 3), 40 + 2 * i, np.uint8))
        return path

    return video


@pytest.fixture(scope="session")
def write_video(encoded):
    """`write_video(path, frames=29, sound="tone")`: frame i is gray 40 + 2i; sound is tone, zeros or none."""

    def write(path, frames=29, sound="tone"):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(encoded(frames, sound), path)
        return path

    return write


@pytest.fixture(scope="session")
def write_photos():
    """`write_photos(folder, count, name="{}.png")`: noise photos of A and B in turn, points known, the last empty."""

    def write(folder, count, name="{}.png"):
        for i in range(count):
            path = folder / "AB"[i % 2] / name.format(i)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(i).integers(0, 256, (140, 160, 3), np.uint8)).save(path)
            path.with_suffix(".json").write_text(json.dumps({"points": POINTS.tolist()}))
        path.write_bytes(b"")
        return folder

    return write

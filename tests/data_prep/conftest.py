"""Small real videos, and a detector that always sees the face drawn into them."""

import numpy as np
import pytest

from davs_jax.media.faces import detectors, tracking
from davs_jax.media.video.write import Writer

POINTS = np.array([[60, 50], [100, 50], [80, 72], [65, 88], [95, 88]], np.float32)  # of a picture of 160 × 140


class OneFace:
    """Finds the face at POINTS in the first `times` pictures that it is shown."""

    def __init__(self, times):
        self.left = times

    def detect(self, image):
        self.left -= 1
        return [tracking.Face(POINTS, np.array([45, 30, 70, 80], np.float32), 0.99)] if self.left >= 0 else []


@pytest.fixture
def one_face(monkeypatch):
    """Every picture shows one face; `one_face(n)`: only the first n pictures do."""

    def sees(times):
        monkeypatch.setattr(detectors, "detector", lambda name=detectors.DEFAULT: OneFace(times))

    sees(np.inf)
    return sees


@pytest.fixture
def points():
    """`[5, 2]`, where the face is."""
    return POINTS


@pytest.fixture
def write_video():
    """`write_video(path, frames=29, sound="tone")`: frame i is gray 40 + 2i; sound is tone, zeros or none."""

    def write(path, frames=29, sound="tone"):
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(frames * 640) / 16_000
        # The tone rises by 100 Hz in each second, so that it tells where in the clip it was cut.
        tone = (0.3 * np.sin(2 * np.pi * (200 + 50 * time) * time)).astype(np.float32)
        samples = {"tone": tone, "zeros": np.zeros_like(tone), "none": None}[sound]
        with Writer(path, samples=samples) as writer:
            for i in range(frames):
                writer.write(np.full((140, 160, 3), 40 + 2 * i, np.uint8))
        return path

    return write

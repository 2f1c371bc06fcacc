import cv2
import numpy as np
import pytest

from davs_jax.evaluate.landmarks import corner_distances, lip_distances, lip_table, table
from davs_jax.evaluate.sections import Corners
from davs_jax.media.faces import mesh
from davs_jax.media.faces.alignment import aligned_crop
from davs_jax.media.faces.detectors import Face
from support import talking_files

POINTS = np.array([[90, 100], [170, 100], [130, 140], [100, 180], [160, 180]], np.float32)


class Detector:
    """Reads from the first pixel how far down the mouth has moved; black images have no face."""

    def detect(self, image):
        if not image.any():
            return []
        points = POINTS.copy()
        points[3:, 1] += float(image[0, 0, 0]) - 100
        small = Face(points + 50, np.array([0, 0, 5, 5]), 1.0)
        return [small, Face(points, np.array([60, 60, 140, 140]), 1.0)]


@pytest.fixture
def real():
    return np.full((29, 256, 256, 3), 100, np.uint8)


def test_the_distance_is_in_eye_distances(real):
    lower = real + np.uint8(8)
    found = corner_distances({"same": real, "lower": lower}, real, Detector())
    np.testing.assert_allclose(found["same"], np.zeros(8))
    np.testing.assert_allclose(found["lower"], np.full(8, 8 / 80))


def test_the_image_size_does_not_matter(real):
    small = real[:, ::4, ::4]
    np.testing.assert_allclose(corner_distances({"x": small + np.uint8(8)}, small, Detector())["x"], np.full(8, 0.1))


def test_frames_without_a_face_are_counted_and_left_out(real):
    generated = real + np.uint8(8)
    generated[:12] = 0  # three of the measured frames
    figures = table([corner_distances({"audio": generated, "photo": real * 0}, real, Detector())], 64)
    assert figures.by_driver["audio"] == Corners(mean=pytest.approx(0.1), frames=5, missed=3)
    assert figures.by_driver["photo"] == Corners(mean=None, frames=0, missed=8)
    assert figures.measure.size == "64 px, enlarged to 256"
    assert "MTCNN" in figures.measure.detector


@pytest.mark.skipif(not mesh.installed(), reason=mesh.MISSING)
def test_lip_distances_measure_the_shape_of_the_mouth_and_not_its_place():
    face = aligned_crop(talking_files.portrait(), np.array(talking_files.POINTS, np.float64), 256)
    wider = cv2.resize(face, (300, 256))[:, 22:278]
    variants = {"same": face, "moved": np.roll(face, 3, 1), "wider": wider}
    clips = {name: np.repeat(image[None], 5, 0) for name, image in variants.items()}
    found = lip_distances(clips, clips["same"])
    assert found["same"].shape == (2,)
    np.testing.assert_allclose(found["same"], 0, atol=1e-6)
    assert found["moved"].max() < found["wider"].min() / 2
    table_of = lip_table([found])
    assert table_of.by_driver["same"] == pytest.approx(0, abs=1e-6) and table_of.clips == 1

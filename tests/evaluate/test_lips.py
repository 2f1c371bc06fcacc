import numpy as np
import pytest

from davs_jax.evaluate import lips
from davs_jax.media.faces import mesh
from davs_jax.media.faces.alignment import template

SIZE = 64
OPENINGS = np.array([0, 4, 8, 4, 0])  # pixels


@pytest.fixture(autouse=True)
def red_lips(monkeypatch):
    """A face mesh that reads from the first pixel of an image by how many pixels its lower lip is lowered."""

    def found(image, points):
        eyes = template(SIZE)[:2]
        result = np.zeros((468, 2))
        for corners, eye in zip(mesh.EYES, eyes, strict=True):
            result[list(corners)] = eye
        for ids, y in ((mesh.OUTER_UPPER, 40), (mesh.INNER_UPPER, 44), (mesh.INNER_LOWER, 44), (mesh.OUTER_LOWER, 48)):
            result[list(ids)] = [(24 + n, y) for n in range(len(ids))]
        result[list(mesh.INNER_LOWER[1:-1])] += (0, image[0, 0, 0])
        result[list(mesh.OUTER_LOWER[1:-1])] += (0, image[0, 0, 0])
        return result

    monkeypatch.setattr(mesh, "mesh", found)


def frames(openings):
    images = np.zeros((len(openings), SIZE, SIZE, 3), np.uint8)
    images[:, 0, 0, 0] = openings
    return images


def eye_distance():
    return np.linalg.norm(np.subtract(*template(SIZE)[:2]))


def test_the_opening_is_the_gap_between_the_inner_lips_in_eye_distances():
    found = lips.measure({"real": frames(OPENINGS)}, [None, None])
    np.testing.assert_allclose(found.opening["real"], OPENINGS / eye_distance())
    assert found.distance["real"] == 0


def test_half_as_wide_is_an_amplitude_of_a_half_and_a_copied_photo_one_of_zero():
    real = frames(OPENINGS)
    variants = {"audio": frames(OPENINGS // 2), "photo": frames(0 * OPENINGS), "real": real}
    clips = {3: lips.measure(variants, [None, None]), 8: lips.measure(variants, [None, None])}
    found = lips.table(clips, None, seed=0).by_driver
    assert list(found) == ["audio", "photo"]
    assert found["audio"].amplitude == pytest.approx(0.5)
    assert found["audio"].correlation == pytest.approx(1)
    assert found["photo"].amplitude == found["photo"].correlation == 0
    assert found["audio"].distance == pytest.approx(found["photo"].distance / 2)


def test_lips_in_another_place_but_of_the_same_shape_have_no_landmark_distance(monkeypatch):
    whole = mesh.mesh
    moved = frames([0])
    moved[:, 1, 1] = 9
    monkeypatch.setattr(mesh, "mesh", lambda image, points: np.add(whole(image, points), (0, image[1, 1, 0])))
    assert lips.measure({"audio": moved, "real": frames([0])}, [None]).distance["audio"] == pytest.approx(0)


def test_the_second_detector_is_compared_on_real_frames_where_it_found_a_face():
    corners = [[24, 48], [34, 48]]  # FaceMesh's, of 64 px
    points = np.vstack([template(SIZE)[:2], [[32, 32]], corners])
    enlarged = 4 * (points + 0.5) - 0.5
    enlarged[3:, 1] += 8  # of 256 px
    found = lips.measure({"real": frames(OPENINGS)}, [enlarged, None])
    assert found.apart == pytest.approx(2 / eye_distance())
    table = lips.table({0: found, 1: lips.measure({"real": frames(OPENINGS)}, [None, None])}, None, seed=0)
    assert table.measure.apart == pytest.approx(2 / eye_distance())

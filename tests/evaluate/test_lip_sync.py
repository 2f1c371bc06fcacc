import numpy as np
import pytest

from davs_jax.errors import NotMeasurable
from davs_jax.evaluate import lip_sync
from davs_jax.evaluate.lip_sync import Scorer, score, track_crops
from davs_jax.media.faces.detectors import Face
from davs_jax.media.faces.tracking import NoFace


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    return rng.normal(size=(24, 8)), rng.normal(size=(24, 8))


def test_a_word_clip_has_24_windows_and_most_far_pairs_are_padding(vectors):
    found = score(*vectors)
    assert (found.windows, found.pairs, found.padded) == (24, 504, 240)  # of 24 · 31 pairs


def test_valid_only_is_a_mean_over_the_pairs_that_exist(vectors):
    face, audio = vectors
    means = []
    for offset in range(-15, 16):
        pairs = [(i, i + offset) for i in range(24) if 0 <= i + offset < 24]
        means.append(np.mean([np.linalg.norm(face[i] - audio[j] + 1e-6) for i, j in pairs]))
    found = score(face, audio, valid_only=True)
    assert found.distance == pytest.approx(min(means))
    assert found.confidence == pytest.approx(np.median(means) - min(means))
    assert found.offset == 15 - np.argmin(means)


def test_padding_draws_the_official_score_to_the_ends_where_vectors_are_short(vectors):
    face, audio = (10 * v for v in vectors)
    face[:] = face.mean(0)  # a face that says nothing: zero vectors are the nearest audio
    assert abs(score(face, audio).offset) == 15


def test_late_audio_has_a_negative_offset_as_syncnet_counts():
    source = np.random.default_rng(0).normal(size=(30, 8))
    for valid_only in (False, True):
        assert score(source[3:27], source[:24], valid_only).offset == -3


class Detector:
    """Finds one face that steps aside by 40 pixels in one frame."""

    def __init__(self):
        self.calls = 0

    def detect(self, image):
        self.calls += 1
        left = 100 if self.calls == 4 else 60
        return [Face(np.zeros((5, 2)), np.array([left, 50, 40, 60], np.float32), 1.0)]


def test_the_crop_follows_the_faces_box_and_not_its_leaps():
    frames = np.zeros((9, 160, 160, 3), np.uint8)
    frames[:, 80, 80] = 255  # the middle of the box
    crops = track_crops(frames, Detector())
    assert crops.shape == (9, 224, 224, 3)
    # 84 pixels a side, the box's middle 42 from the left and 30 from the top
    for crop in crops:
        y, x = np.unravel_index(crop[..., 0].argmax(), (224, 224))
        assert (x, y) == (pytest.approx(42.5 / 84 * 224, abs=2), pytest.approx(30.5 / 84 * 224, abs=2))
    assert (track_crops(frames[:, :90], Detector())[0, -1] == lip_sync.GRAY).all()  # beyond the image


def test_a_video_without_a_face_has_no_track():
    class Blind:
        def detect(self, image):
            return []

    with pytest.raises(NoFace, match="no face in any of the 9 frames"):
        track_crops(np.zeros((9, 64, 64, 3), np.uint8), Blind())


def test_a_clip_too_short_is_refused():
    scorer = object.__new__(Scorer)
    with pytest.raises(NotMeasurable, match="of 5 frames with audio is too short"):
        scorer.vectors(np.zeros((5, 224, 224, 3), np.uint8), np.zeros(9 * 640, np.int16))


def test_a_score_is_described_with_its_counts(vectors):
    assert "24 windows, 504 pairs with audio, 240 padded" in lip_sync.describe("whole-frame", score(*vectors))


def test_a_table_says_what_it_is_a_mean_of(vectors):
    scores = [score(*vectors), score(*vectors[::-1])]
    found = lip_sync.table(scores)
    assert (found.clips, found.windows, found.padded) == (2, 48, 480)
    assert found.distance == pytest.approx((scores[0].distance + scores[1].distance) / 2)

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from davs_jax.media.offsets import SHIFTS, best_offset, frame_distances, offset_distances, shift_hits


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(40, 8))


def test_distances_equal_scipys_of_normalised_vectors(vectors):
    video, audio = vectors[:20], vectors[20:]
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (video, audio)]
    np.testing.assert_allclose(frame_distances(video, audio), cdist(*unit), atol=1e-6)


@pytest.mark.parametrize("late", [-4, 0, 3])
def test_late_audio_has_a_positive_offset(vectors, late):
    video = vectors[5:34]
    audio = vectors[5 - late : 34 - late]  # audio frame t belongs to video frame t − late
    offset = best_offset(offset_distances(frame_distances(video, audio), reach=5))
    assert offset.frames == late
    assert offset.distance == pytest.approx(0, abs=1e-3)
    assert offset.confidence > 0.5


def test_every_offset_is_a_mean_over_the_same_frames(vectors):
    distances = np.tile(np.arange(29.0)[:, None], 29)  # the number of the video frame
    np.testing.assert_allclose(offset_distances(distances, reach=5), 14)


def test_known_shifts_are_found_by_vectors_that_agree_and_not_by_noise(vectors):
    same = frame_distances(vectors[:29], vectors[:29])
    noise = np.random.default_rng(1).random((400, 29, 29))
    assert shift_hits(same[None], tolerance=0).all()
    assert shift_hits(noise, tolerance=0).shape == (400, len(SHIFTS))
    assert shift_hits(noise, tolerance=0).mean() == pytest.approx(1 / 11, abs=0.02)
    assert shift_hits(noise, tolerance=1).mean() == pytest.approx(3 / 11, abs=0.03)


def test_a_clip_shorter_than_its_offsets_is_refused():
    with pytest.raises(ValueError, match="10 frames are too few for offsets of ±5 with 0 to spare"):
        offset_distances(np.zeros((10, 10)), reach=5)

import numpy as np
import pytest

from davs_jax.models.word_vectors import KINDS, Running, normalised

NORMS = [kind for kind in KINDS if kind != "none"]


def moving(frames: int, clips: int = 1) -> np.ndarray:
    """Random wid `[B, T, 8]` whose features differ in mean and in movement."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=(clips, frames, 8)) * np.geomspace(0.1, 10, 8) + rng.normal(size=8)).astype(np.float32)


def test_none_leaves_word_vectors_as_they_are():
    wid = moving(12)
    assert normalised(wid, "none") is wid
    np.testing.assert_array_equal(Running("none", 5)(wid[0]), wid[0])


@pytest.mark.parametrize("kind", KINDS)
def test_other_frames_are_normalised_as_their_clip_is(kind):
    wid = moving(12, clips=3)
    np.testing.assert_array_equal(normalised(wid[:, 3:8], kind, over=wid), normalised(wid, kind)[:, 3:8])


@pytest.mark.parametrize("kind", NORMS)
def test_a_constant_added_to_every_frame_of_a_clip_changes_nothing(kind):
    wid = moving(12, clips=3)
    constants = np.random.default_rng(1).normal(size=(3, 1, 8)).astype(np.float32)
    np.testing.assert_allclose(normalised(wid + constants, kind), normalised(wid, kind), atol=1e-5)
    assert not np.allclose(normalised(wid, kind), wid)


def test_mean_variance_also_evens_out_how_far_features_move():
    wid = moving(200)
    deviation = normalised(wid, "mean_variance").std(1)
    np.testing.assert_allclose(deviation, 1, rtol=1e-5)
    assert (normalised(wid, "mean").std(1) > 5).any()
    still = np.ones((1, 12, 8), np.float32)
    np.testing.assert_array_equal(normalised(still, "mean_variance"), 0)  # the floor: no division by zero


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("block", [1, 7])
def test_the_last_live_frame_of_a_short_recording_is_that_of_the_file(kind, block):
    wid = moving(50)[0]
    running = Running(kind, window=50)
    live = np.concatenate([running(wid[start : start + block]) for start in range(0, 50, block)])
    assert live.shape == wid.shape and live.dtype == wid.dtype
    assert running(wid[:0]).shape == (0, 8)  # a block that completes no frame
    np.testing.assert_array_equal(live[0], 0)
    np.testing.assert_allclose(live[-1], normalised(wid, kind)[-1], rtol=1e-4, atol=1e-5)


def test_live_frames_stay_near_those_of_a_long_file():
    """After the window has filled they differ from the file's by less than a fifth of a deviation, root mean square:
    mean and deviation over W frames of noise err by about 1/√(2W) deviations each, here 0.06."""
    wid = moving(3_000)[0]
    live = Running("mean_variance", window=125)(wid)
    difference = live[125:] - normalised(wid, "mean_variance")[125:]
    assert 0.01 < np.sqrt((difference**2).mean()) < 0.2


def test_live_normalisation_follows_a_speaker_who_changes():
    before, after = moving(300)[0], moving(300)[0] + 20
    live = Running("mean", window=50)(np.concatenate([before, after]))
    assert np.abs(live[300:310].mean()) > 10  # at first the change shows …
    assert np.abs(live[-50:].mean()) < 0.5  # … and after a few windows it is forgotten

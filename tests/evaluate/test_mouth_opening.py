import cv2
import numpy as np
import pytest

from davs_jax.errors import NotMeasurable
from davs_jax.evaluate import metrics
from davs_jax.evaluate.mouth_opening import fit_estimator


def face(rng: np.random.Generator, person: int, opening: float) -> np.ndarray:
    """A noisy 64-pixel image in a person's colours, whose mouth is an ellipse."""
    image = np.full((64, 64, 3), (220 - 20 * person, 180, 150 + 15 * person), np.uint8)
    cv2.ellipse(image, (32, 48), (9, round(1 + 6 * opening)), 0, 0, 360, (120, 20 + 10 * person, 30), -1)
    return np.clip(image + rng.integers(-6, 7, image.shape), 0, 255).astype(np.uint8)


def batch(person: int, clips: int = 12) -> dict:
    """Clips of one person, whose mouth opens and closes at random."""
    rng = np.random.default_rng(person)
    opening = cv2.GaussianBlur(rng.random((clips, 29)), (0, 0), sigmaX=2, sigmaY=0.01).astype(np.float32)
    frames = np.stack([[face(rng, person, o) for o in curve] for curve in opening])
    return {
        "frames": frames,
        "mouth_opening": opening,
        "speaker": np.full(clips, person),
        "mask": np.ones(clips, bool),
    }


def test_the_estimator_measures_people_that_it_was_not_fitted_on():
    estimator = fit_estimator([batch(0), batch(1)])
    unseen = batch(2)
    estimated = np.stack([estimator(clip) for clip in unseen["frames"]])
    figures = metrics.motion(estimated, unseen["mouth_opening"])
    assert figures.correlation > 0.9
    assert figures.amplitude == pytest.approx(1, abs=0.25)


def test_a_still_mouth_measures_still():
    estimator = fit_estimator([batch(0)])
    np.testing.assert_allclose(estimator(np.repeat(batch(1)["frames"][0][:1], 29, 0)), 0, atol=1e-6)


def test_people_of_the_test_are_left_out_and_so_are_padding_and_unknown_openings():
    known, other, padded, unknown = batch(0), batch(1), batch(2), batch(3)
    padded["mask"][:] = False
    unknown["mouth_opening"][:, 5] = np.nan
    probe = known["frames"][0]
    alone = fit_estimator([known])(probe)
    np.testing.assert_array_equal(fit_estimator([other, known, padded, unknown], exclude=[1])(probe), alone)
    assert not np.array_equal(fit_estimator([other, known])(probe), alone)


def test_without_a_usable_clip_there_is_no_estimator():
    with pytest.raises(NotMeasurable, match="no training clip"):
        fit_estimator([batch(0)], exclude=[0])

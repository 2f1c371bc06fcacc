import numpy as np

from davs_jax.face_geometry import mouth_box
from davs_jax.media.faces.smoothing import Steady, mouth_and_jaw_mask


def test_flicker_outside_the_mouth_is_reduced_and_the_mouth_is_unchanged():
    rng, steady = np.random.default_rng(0), Steady(64)
    crops = rng.integers(100, 140, (40, 64, 64, 3), np.uint8)
    smoothed = np.stack([steady(crop) for crop in crops])
    np.testing.assert_array_equal(smoothed[:, 46:56, 20:44], crops[:, 46:56, 20:44])
    assert smoothed[10:, :20].std(0).mean() < 0.5 * crops[10:, :20].std(0).mean()
    assert steady.after < 0.4 * steady.before
    by_hand = np.abs(np.diff(crops[:, :30].astype(float), 2, axis=0)).mean()
    assert abs(steady.before - by_hand) < 0.05 * by_hand


def test_a_change_that_stays_arrives_within_half_a_second():
    steady = Steady(64)
    for level in (50, 50, *[200] * 12):
        shown = steady(np.full((64, 64, 3), level, np.uint8))
    assert shown[5, 5, 0] > 190


def test_a_still_image_stays_bit_identical():
    crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    steady = Steady(64)
    for _ in range(5):
        np.testing.assert_array_equal(steady(crop), crop)
    assert steady.before == steady.after == 0


def test_the_mouths_mask_covers_its_box():
    assert mouth_and_jaw_mask(256)[mouth_box(256)].min() > 0.95
    assert mouth_and_jaw_mask(256)[:128].max() < 0.05

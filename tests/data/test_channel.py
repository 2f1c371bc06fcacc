import numpy as np

from davs_jax.data.channel import FAINT, GAIN, heard
from davs_jax.data.pipeline import host_batches

TONE = np.rint(8_000 * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)).astype(np.int16)


def level(samples, frequency):
    """dB of a whole number of Hz in one second of audio."""
    return 20 * np.log10(np.abs(np.fft.rfft(samples)[frequency]))


def test_a_frequency_is_raised_or_lowered_within_the_bound():
    changes = [level(heard(TONE, np.random.default_rng(i), 1.0), 1_000) - level(TONE, 1_000) for i in range(40)]
    assert min(changes) < -GAIN / 3 and max(changes) > GAIN / 3
    assert all(abs(change) <= GAIN + 1 for change in changes)  # noise at that frequency adds a little


def test_noise_lies_below_speech_and_faint_clips_get_some_too():
    far = np.ones(8_001, bool)
    far[900:1_100] = False  # everything but the tone is noise
    for i in range(20):
        spectrum = np.abs(np.fft.rfft(heard(TONE, np.random.default_rng(i), 1.0)))
        assert 1e-5 < (spectrum[far] ** 2).sum() / (spectrum**2).sum() < 0.3
    assert 0 < heard(np.zeros(16_000, np.int16), np.random.default_rng(0), 1.0).std() < FAINT


def test_the_loudest_speech_is_not_clipped():
    loud = np.rint(TONE * (32_767 / 8_000)).astype(np.int16)
    for i in range(10):
        made = heard(loud, np.random.default_rng(i), 1.0)
        assert np.mean(np.abs(made.astype(int)) == 32_767) < 0.01


def test_training_hears_it_only_where_asked_and_pictures_stay(joint_config):
    plain, again, other = (
        next(iter(host_batches(joint_config, ("frames", "mfcc", "generate_start"))))
        for joint_config.data.audio_jitter in (0.0, 0.5, 0.5)
    )
    assert not np.allclose(plain["mfcc"], again["mfcc"])
    np.testing.assert_array_equal(again["mfcc"], other["mfcc"])
    for key in ("frames", "generate_start"):
        np.testing.assert_array_equal(plain[key], again[key])

import numpy as np

from davs_jax.data.channel import MAX_GAIN, QUIETEST, jittered
from davs_jax.data.pipeline import host_batches

TONE = np.rint(8_000 * np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000)).astype(np.int16)


def level(samples, frequency):
    """dB of a whole number of Hz in one second of audio."""
    return 20 * np.log10(np.abs(np.fft.rfft(samples)[frequency]))


def test_a_frequency_is_raised_or_lowered_within_the_bound():
    changes = [level(jittered(TONE, np.random.default_rng(i), 1.0), 1_000) - level(TONE, 1_000) for i in range(40)]
    assert min(changes) < -MAX_GAIN / 3 and max(changes) > MAX_GAIN / 3
    assert all(abs(change) <= MAX_GAIN + 1 for change in changes)  # noise at that frequency adds a little


def test_noise_lies_below_speech_and_faint_clips_get_some_too():
    far = np.ones(8_001, bool)
    far[900:1_100] = False  # everything but the tone is noise
    for i in range(20):
        spectrum = np.abs(np.fft.rfft(jittered(TONE, np.random.default_rng(i), 1.0)))
        assert 1e-5 < (spectrum[far] ** 2).sum() / (spectrum**2).sum() < 0.3
    assert 0 < jittered(np.zeros(16_000, np.int16), np.random.default_rng(0), 1.0).std() < QUIETEST


def test_the_loudest_speech_is_not_clipped():
    loud = np.rint(TONE * (32_767 / 8_000)).astype(np.int16)
    for i in range(10):
        made = jittered(loud, np.random.default_rng(i), 1.0)
        assert np.mean(np.abs(made.astype(int)) == 32_767) < 0.01


def test_it_changes_the_audio_alike_for_one_seed_and_leaves_the_images(joint_config):
    def batch(jitter):
        joint_config.data.audio_jitter = jitter
        return next(iter(host_batches(joint_config, ("frames", "speech", "generate_start"))))

    plain, once, again = batch(0.0), batch(0.5), batch(0.5)
    assert not np.allclose(plain["speech"], once["speech"])
    np.testing.assert_array_equal(once["speech"], again["speech"])
    for key in ("frames", "generate_start"):
        np.testing.assert_array_equal(plain[key], once[key])

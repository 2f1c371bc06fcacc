"""The MFCC against the definition written out as loops, and the windows of video frames."""

import itertools

import numpy as np
import pytest
import scipy.fft
import scipy.signal

from davs_jax.media import audio
from davs_jax.media.audio import features


def reference_mfcc(samples: np.ndarray) -> np.ndarray:
    """HTK's definition, column by column; `samples` is on int16's scale."""
    emphasised = scipy.signal.lfilter([1, -0.97], [1], samples.astype(np.float64))
    hamming = np.array([0.54 - 0.46 * np.cos(2 * np.pi * i / 399) for i in range(400)])
    columns = []
    for start in range(0, len(samples) - 399, 160):
        magnitude = np.abs(np.fft.fft(emphasised[start : start + 400] * hamming, 512))[:257]
        log_energies = [np.log(sum(reference_filter(m) * magnitude)) for m in range(13)]
        column = []
        for n in range(1, 13):
            c = np.sqrt(2 / 13) * sum(e * np.cos(np.pi * n * (m + 0.5) / 13) for m, e in enumerate(log_energies))
            column.append(c * (1 + 11 * np.sin(np.pi * n / 22)))
        columns.append(column)
    return np.array(columns)


def reference_filter(m: int) -> np.ndarray:
    """Triangle m of 13, of unit height, between 300 and 3700 Hz, equally spaced on HTK's mel scale."""
    low, high = (1127 * np.log(1 + f / 700) for f in (300, 3700))
    left, peak, right = (700 * (np.exp((low + (high - low) * (m + i) / 14) / 1127) - 1) for i in range(3))
    f = np.arange(257) * 16_000 / 512
    return np.maximum(0, np.minimum((f - left) / (peak - left), (right - f) / (right - peak)))


@pytest.fixture
def samples() -> np.ndarray:
    """A third of a second of int16 noise under a gliding tone."""
    t = np.arange(5_333) / 16_000
    tone = 8_000 * np.sin(2 * np.pi * (300 + 2_000 * t) * t)
    return (tone + np.random.default_rng(0).normal(0, 500, len(t))).astype(np.int16)


def test_mfcc_equals_the_definition(samples):
    np.testing.assert_allclose(audio.mfcc(samples, 16_000), reference_mfcc(samples), rtol=1e-6, atol=1e-5)


def test_mfcc_of_the_cosine_transform_of_scipy_agrees(samples):
    magnitude = np.abs(np.fft.rfft(scipy.signal.lfilter([1, -0.97], [1], samples)[:400] * np.hamming(400), 512))
    energies = [np.log(reference_filter(m) @ magnitude) for m in range(13)]
    cepstrum = scipy.fft.dct(energies, norm="ortho")[1:] * (1 + 11 * np.sin(np.pi * np.arange(1, 13) / 22))
    np.testing.assert_allclose(audio.mfcc(samples, 16_000)[0], cepstrum, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(("samples", "columns"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16_000, 98)])
def test_mfcc_has_a_column_for_each_whole_25_ms_without_padding(samples, columns):
    result = audio.mfcc(np.ones(samples, np.int16), 16_000)
    assert result.shape == (columns, 12)
    assert result.dtype == np.float32


def test_float_audio_is_scaled_to_int16(samples):
    expected = audio.mfcc(samples, 16_000)
    np.testing.assert_allclose(audio.mfcc(samples.astype(np.float32) / 2**15, 16_000), expected, atol=1e-5)


def test_digital_silence_gives_finite_coefficients_and_changes_no_other_column(samples):
    silent = np.zeros(1_600, np.int16)
    result = audio.mfcc(np.concatenate([silent, samples]), 16_000)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result[:8], 0, atol=1e-6)  # columns 0…7 end before sample 1,600
    # Columns from 11 on hold no silence; only the pre-emphasis of the very first sample could differ.
    np.testing.assert_array_equal(result[11:], audio.mfcc(samples, 16_000)[1:])


def test_long_audio_is_computed_in_blocks_without_a_seam(samples, monkeypatch):
    whole = audio.mfcc(samples, 16_000)
    monkeypatch.setattr(features, "_BLOCK", 7)
    np.testing.assert_allclose(audio.mfcc(samples, 16_000), whole, atol=1e-6)


def test_other_rates_are_resampled():
    def tone(rate):
        return 0.5 * np.sin(2 * np.pi * 1_000 * np.arange(rate // 2) / rate)

    expected, resampled = audio.mfcc(tone(16_000), 16_000), audio.mfcc(tone(44_100), 44_100)
    assert resampled.shape == expected.shape
    # A tone has nothing between its harmonics but the resampler's residue, hence the loose tolerance.
    peak = np.abs(expected[5:-5]).max()
    assert np.abs(resampled - expected)[5:-5].max() < 0.1 * peak


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 500), np.float32), "mono"),
        (np.zeros(500, np.int32), "int32"),
        (np.full(500, np.nan, np.float32), "not finite"),
    ],
)
def test_invalid_audio_is_refused(samples, message):
    with pytest.raises(ValueError, match=message):
        audio.mfcc(samples, 16_000)


def test_the_window_of_a_frame_is_columns_4l_minus_8_to_4l_plus_11_of_the_audio():
    samples = np.random.default_rng(1).normal(0, 1_000, 29 * 640).astype(np.int16)
    unpadded, padded = audio.mfcc(samples, 16_000), audio.clip_mfcc(samples, 29)
    assert padded.shape == (4 * 29 + 16, 12)
    inner = np.arange(3, 26)  # frames whose window lies within the audio, clear of the first column's pre-emphasis
    expected = np.stack([unpadded[4 * l - 8 : 4 * l + 12] for l in inner])  # noqa: E741
    np.testing.assert_allclose(audio.windows(padded, inner), expected, atol=1e-5)


def test_a_click_in_a_frame_lies_in_the_middle_of_its_window():
    samples = np.zeros(29 * 640, np.int16)
    samples[10 * 640 + 320] = 20_000
    loud = np.abs(audio.windows(audio.clip_mfcc(samples, 29), [10])[0]).sum(1) > 1e-3
    heard = np.flatnonzero(loud)
    assert heard.min() >= 8 and heard.max() <= 11


@pytest.mark.parametrize("length", [0, 1_000, 5 * 640, 5 * 640 + 999])
def test_clip_mfcc_takes_exactly_the_audio_of_its_frames(length):
    samples = np.random.default_rng(2).normal(0, 1_000, length).astype(np.int16)
    exact = np.zeros(5 * 640, np.int16)
    exact[: min(length, len(exact))] = samples[: len(exact)]
    np.testing.assert_array_equal(audio.clip_mfcc(samples, 5), audio.clip_mfcc(exact, 5))


def test_windows_outside_the_clip_are_refused():
    with pytest.raises(IndexError, match="3…5 are outside a clip of 5 frames"):
        audio.windows(np.zeros((36, 12)), [3, 5])
    with pytest.raises(IndexError):
        audio.windows(np.zeros((36, 12)), [-1])


@pytest.mark.parametrize("sizes", [[160], [1], [16_000], [7, 640, 3_000, 1, 401]])
@pytest.mark.parametrize("length", [1, 640, 641, 5_000])
def test_windows_of_streamed_audio_equal_those_of_the_whole(sizes, length):
    samples = np.random.default_rng(length).normal(0, 0.1, length).astype(np.float32)
    blocks, cuts, size = [], 0, itertools.cycle(sizes)
    while cuts < length:
        step = next(size)
        blocks.append(samples[cuts : cuts + step])
        cuts += step
    count = audio.frames_of(length)
    whole = audio.windows(audio.clip_mfcc(samples, count), np.arange(count))
    np.testing.assert_array_equal(np.concatenate(list(audio.stream_windows(blocks))), whole)


def test_a_frames_window_comes_as_soon_as_its_samples_have_arrived():
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    given = []

    def blocks():
        for start in range(0, len(samples), 80):
            given.append(start + 80)
            yield samples[start : start + 80]

    frame = 0
    for found in audio.stream_windows(blocks()):
        if given[-1] < len(samples):
            assert len(found) == 1
            assert given[-1] - 80 < 640 * frame + 2_160 <= given[-1]  # 135 ms after the frame's start, not before
        frame += len(found)
    assert frame == 25


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_at_another_frame_rate_a_window_is_the_nearest_in_time(fps):
    samples = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    found = np.concatenate(list(audio.stream_windows([samples], fps)))
    assert len(found) == fps
    columns = audio.clip_mfcc(samples, 26)
    for frame in range(fps):
        first = int(100 * frame / fps + 0.5)
        np.testing.assert_array_equal(found[frame], columns[first : first + 20])


def log_mel_windows(samples):
    return np.concatenate(list(audio.stream_windows([samples], window=audio.WINDOWS["log_mel"])))


def test_log_mel_magnitudes_hear_how_loud_speech_is_which_mfcc_do_not():
    samples = np.random.default_rng(0).normal(0, 1_000, 10 * 640).astype(np.int16)
    soft, loud = log_mel_windows(samples)[3], log_mel_windows(4 * samples)[3]
    np.testing.assert_allclose(loud - soft, np.log(4) / 2, atol=1e-4)
    of_mfcc = [audio.windows(audio.clip_mfcc(gain * samples, 10), [3]) for gain in (1, 4)]
    np.testing.assert_allclose(*of_mfcc, atol=1e-3)


def test_log_mel_magnitudes_hear_the_whole_band():
    time = np.arange(10 * 640) / 16_000
    heard = [log_mel_windows((8_000 * np.sin(2 * np.pi * f * time)).astype(np.int16))[3] for f in (100, 1_000, 6_000)]
    assert [columns.mean(0).argmax() for columns in heard] == sorted(columns.mean(0).argmax() for columns in heard)
    assert heard[0].mean(0).argmax() == 0 and heard[2].mean(0).argmax() > 30


def test_silence_has_one_log_mel_magnitude():
    windows = log_mel_windows(np.zeros(10 * 640, np.int16))
    assert windows.shape == (10, 20, 40) and np.ptp(windows) == 0 and -3 < windows[0, 0, 0] < -2


def test_log_mel_windows_of_streamed_audio_equal_those_of_the_whole():
    samples = np.random.default_rng(1).normal(0, 0.1, 5_000).astype(np.float32)
    blocks = np.array_split(samples, [7, 640, 3_000, 3_001])
    streamed = np.concatenate(list(audio.stream_windows(blocks, window=audio.WINDOWS["log_mel"])))
    np.testing.assert_array_equal(streamed, log_mel_windows(samples))

"""A random recording channel, applied to the audio of training clips (ours)."""

import numpy as np

from davs_jax.constants import CLIP_FRAMES, SAMPLE_RATE
from davs_jax.media.audio import clip_mfcc

BANDS = np.array([100, 300, 600, 1_200, 2_400, 4_800])  # Hz: gains are drawn here and interpolated between
MAX_GAIN = 12  # dB, up or down
MAX_SNR, MIN_SNR = 45, 5  # dB, speech above noise
LOUDEST = 32_767  # of int16
QUIETEST = 30  # RMS on int16's scale: quieter speech gets noise as if it were this loud


def through_channel(record: dict, rng: np.random.Generator, jitter: float) -> dict:
    """A clip's record with its audio `jittered`, and the MFCC of that; the record itself where jitter is 0."""
    if not jitter:
        return record
    audio = jittered(record["audio"], rng, jitter)
    return record | {"audio": audio, "mfcc": clip_mfcc(audio, CLIP_FRAMES)}


def jittered(samples: np.ndarray, rng: np.random.Generator, jitter: float) -> np.ndarray:
    """Speech as another microphone would record it in another room's noise.

    Its spectrum is multiplied by a smooth random gain, and coloured noise is added.

    Args:
      samples: `[N]`, mono, 16 kHz, int16.
      jitter: 0…1. Gains lie within ±jitter · MAX_GAIN, the ratio of speech to noise between MAX_SNR and
        MAX_SNR − jitter · (MAX_SNR − MIN_SNR).

    Returns:
      int16 `[N]`; the whole clip is scaled down where it would be clipped.
    """
    frequencies = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)

    def filtered(signal: np.ndarray) -> np.ndarray:
        decibels = jitter * MAX_GAIN * rng.uniform(-1, 1, len(BANDS))
        gains = 10 ** (np.interp(np.log(frequencies + 1), np.log(BANDS), decibels) / 20)
        return np.fft.irfft(gains * np.fft.rfft(signal), len(signal))

    speech = filtered(samples.astype(float))
    noise = filtered(rng.normal(size=len(samples)))
    snr = MAX_SNR - jitter * (MAX_SNR - MIN_SNR) * rng.uniform()
    noise *= max(speech.std(), QUIETEST) / noise.std() / 10 ** (snr / 20)
    mixed = speech + noise
    return np.rint(mixed / max(1, np.abs(mixed).max() / LOUDEST)).astype(np.int16)

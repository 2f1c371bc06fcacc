"""A random recording channel, through which training hears a clip's speech."""

import numpy as np

from davs_jax.constants import CLIP_FRAMES, SAMPLE_RATE
from davs_jax.media.audio import clip_mfcc

BANDS = np.array([100, 300, 600, 1_200, 2_400, 4_800])  # Hz: gains are drawn here and interpolated between
GAIN = 12  # dB: a band is raised or lowered by at most this
CLEAN, NOISY = 45, 5  # dB, speech above noise: the most and the least
LOUDEST = 32_767  # of int16
FAINT = 30  # RMS on int16's scale: speech that is quieter gets the noise of this level


def recorded(record: dict, rng: np.random.Generator, jitter: float) -> dict:
    """A clip's record whose audio and MFCC came through a random channel; the record itself where jitter is 0."""
    if not jitter:
        return record
    audio = heard(record["audio"], rng, jitter)
    return record | {"audio": audio, "mfcc": clip_mfcc(audio, CLIP_FRAMES)}


def heard(samples: np.ndarray, rng: np.random.Generator, jitter: float) -> np.ndarray:
    """Speech as another microphone would record it in another room's noise.

    Its spectrum is multiplied by a smooth random gain, and coloured noise is added.

    Args:
      samples: `[N]`, mono, 16 kHz, int16.
      jitter: 0…1, the share of GAIN, and of the way from CLEAN to NOISY, that may be drawn.

    Returns:
      int16 `[N]`, less loud where it would be clipped.
    """
    frequencies = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)

    def filtered(signal: np.ndarray) -> np.ndarray:
        decibels = jitter * GAIN * rng.uniform(-1, 1, len(BANDS))
        gains = 10 ** (np.interp(np.log(frequencies + 1), np.log(BANDS), decibels) / 20)
        return np.fft.irfft(gains * np.fft.rfft(signal), len(signal))

    speech = filtered(samples.astype(float))
    noise = filtered(rng.normal(size=len(samples)))
    above = CLEAN - jitter * (CLEAN - NOISY) * rng.uniform()
    noise *= max(speech.std(), FAINT) / noise.std() / 10 ** (above / 20)
    mixed = speech + noise
    return np.rint(mixed / max(1, np.abs(mixed).max() / LOUDEST)).astype(np.int16)

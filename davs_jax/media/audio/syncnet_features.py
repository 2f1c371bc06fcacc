"""MFCC with the defaults of the package `python_speech_features`, on which SyncNet was trained.

They share columns, pre-emphasis and lifter with the paper's (`features.py`), and differ in the rest: a rectangular
window, the power spectrum, 26 filters from 0 to 8,000 Hz with edges on whole FFT bins, and the logarithm of the energy
as first coefficient.
"""

import functools

import numpy as np
from scipy.fft import dct

from davs_jax.constants import SAMPLE_RATE
from davs_jax.media.audio.features import FFT_SIZE, HOP, LIFTER, PRE_EMPHASIS, WINDOW

FILTERS = 26
COEFFICIENTS = 13


def mfcc(samples: np.ndarray) -> np.ndarray:
    """Mel-frequency cepstral coefficients, a column every 10 ms.

    Pre-emphasis 0.97 with zero initial state; 25 ms columns, the last padded with zeros; power spectrum |FFT|² / 512;
    26 triangular filters between edges ⌊513·f / 16,000⌋ equally spaced on the mel scale 2595·log₁₀(1 + f/700) from 0
    to 8,000 Hz; natural logarithm (of 2⁻⁵² where an energy is 0); orthonormal DCT-II, the first 13; lifter
    1 + 11·sin(πn/22); coefficient 0 replaced by the logarithm of the column's energy. Computed in float64.

    Args:
      samples: `[N]`, int16, mono, 16 kHz; not rescaled.

    Returns:
      float64 `[T, 13]`, T = 1 + ⌈(N − 400) / 160⌉, 1 for up to 400 samples.

    Raises:
      ValueError: the samples have another type or shape, or there are none.
    """
    samples = np.asarray(samples)
    if samples.dtype != np.int16 or samples.ndim != 1 or not len(samples):
        raise ValueError(f"the audio must be int16 [N], N above 0, not {samples.dtype} {list(samples.shape)}")
    emphasised = samples.astype(np.float64)
    emphasised[1:] -= PRE_EMPHASIS * samples[:-1]
    count = 1 + max(0, -(-(len(samples) - WINDOW) // HOP))
    emphasised = np.pad(emphasised, (0, (count - 1) * HOP + WINDOW - len(samples)))
    columns = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW)[::HOP]
    power = np.square(np.abs(np.fft.rfft(columns, FFT_SIZE))) / FFT_SIZE
    cepstrum = dct(_log(power @ _filter_bank().T), norm="ortho", axis=1)[:, :COEFFICIENTS]
    cepstrum *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(COEFFICIENTS) / LIFTER)
    cepstrum[:, 0] = _log(power.sum(1))
    return cepstrum


def _log(energies: np.ndarray) -> np.ndarray:
    return np.log(np.where(energies == 0, np.finfo(np.float64).eps, energies))


@functools.cache
def _filter_bank() -> np.ndarray:
    """`[26, 257]`, unit height."""
    mel = np.linspace(0, 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700), FILTERS + 2)
    edges = np.floor((FFT_SIZE + 1) * 700 * (10 ** (mel / 2595) - 1) / SAMPLE_RATE)
    bins = np.arange(FFT_SIZE // 2 + 1)
    bank = np.zeros((FILTERS, len(bins)))
    for row, (low, middle, high) in enumerate(zip(edges, edges[1:], edges[2:], strict=False)):
        rising, falling = (bins >= low) & (bins < middle), (bins >= middle) & (bins < high)
        bank[row, rising] = (bins[rising] - low) / (middle - low)
        bank[row, falling] = (high - bins[falling]) / (high - middle)
    return bank

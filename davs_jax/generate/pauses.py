"""Where speech pauses, by its loudness."""

import numpy as np

from davs_jax.constants import SAMPLE_RATE

LEVEL_SAMPLES = 320  # samples of one level: 20 ms
PAUSE = 25.0  # dB


def loudness(samples: np.ndarray) -> np.ndarray:
    """dBFS of every 20 ms, the last filled up with silence; −120 is silence."""
    samples = np.pad(samples, (0, -len(samples) % LEVEL_SAMPLES))
    power = np.square(samples.reshape(-1, LEVEL_SAMPLES), dtype=np.float64).mean(1)
    return (10 * np.log10(np.maximum(power, 1e-12))).astype(np.float32)


def pauses(levels: np.ndarray, frames: int, fps: int) -> np.ndarray:
    """Frames whose level is PAUSE dB below that of loud speech, bool `[frames]`."""
    at = ((np.arange(frames) + 0.5) * SAMPLE_RATE / (fps * LEVEL_SAMPLES)).astype(int).clip(0, len(levels) - 1)
    return levels[at] < np.percentile(levels, 95) - PAUSE if frames else np.zeros(0, bool)

"""MFCC as the published system computes them: HTK's definition, as in the MATLAB routine of K. Wojcicki.

Columns are 10 ms apart, so a video frame of 25 fps is four of them, and the window of one frame is twenty.
"""

import functools
from collections.abc import Iterable, Iterator

import librosa
import numpy as np

from davs_jax.constants import FPS, MFCC_LENGTH, MFCC_PER_FRAME, MFCC_WIDTH, SAMPLE_RATE, SAMPLES_PER_FRAME

PRE_EMPHASIS = 0.97
WINDOW = 400  # samples of one column: 25 ms
HOP = 160  # samples between columns: 10 ms
FFT_SIZE = 512
FILTERS = 13
LOWEST, HIGHEST = 300, 3700  # Hz
LIFTER = 22
INT16_SCALE = 32_768

# The window of frame l is columns 4l − 8 … 4l + 11, so the sound starts 8 columns late in a padded clip.
COLUMNS_BEFORE = 8
COLUMNS_BESIDE = MFCC_LENGTH - MFCC_PER_FRAME  # columns of a padded clip beyond its frames' own

# The smallest normal number: only an exact zero, digital silence, is raised to it. All filters of a silent
# column then agree, and coefficients 1…12 of equal energies are 0. No column that was finite before changes.
ENERGY_FLOOR = np.finfo(np.float64).tiny

_BLOCK = 16_384  # columns computed at once, so that memory does not grow with an hour of sound


def mfcc(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mel-frequency cepstral coefficients 1…12 of a sound, a column every 10 ms.

    Pre-emphasis 0.97; 25 ms columns without padding; symmetric Hamming window; 512-point magnitude spectrum;
    13 triangular filters of unit height between 300 and 3700 Hz on HTK's mel scale; natural logarithm; DCT
    √(2/13)·cos(πn(m − ½)/13); lifter 1 + 11·sin(πn/22). In float64. Equals the official preprocessing.

    Args:
      samples: `[N]` mono sound, int16 or a float type in −1…1 (scaled by 2^15 here).
      sample_rate: of the samples, in Hz; anything but 16,000 is resampled.

    Returns:
      float32 `[T, 12]` with T = ⌊(N − 400) / 160⌋ + 1 for N samples of 16 kHz; `[0, 12]` below 25 ms.

    Raises:
      ValueError: the sound is not mono, of another type, or holds numbers that are not finite.
    """
    sound = _scaled(samples)
    if sample_rate != SAMPLE_RATE:
        sound = librosa.resample(sound, orig_sr=sample_rate, target_sr=SAMPLE_RATE)
    if len(sound) < WINDOW:
        return np.zeros((0, MFCC_WIDTH), np.float32)
    return mfcc_columns(np.append(sound[:1], sound[1:] - PRE_EMPHASIS * sound[:-1]))


def clip_mfcc(samples: np.ndarray, num_frames: int) -> np.ndarray:
    """MFCC of a clip whose sound is padded with silence, so that every video frame has its whole window.

    1,280 zeros go in front (8 columns) and 1,520 behind. Sound beyond the last frame counts as silence too,
    so the result depends on the clip's own sound only. The official code skips frames whose window leaves the
    sound.

    Args:
      samples: `[N]` mono 16 kHz sound from the first frame's time, int16 or float in −1…1; N may differ from
        640 · num_frames.
      num_frames: T, video frames at 25 fps.

    Returns:
      float32 `[4T + 16, 12]`; the window of frame l is rows 4l … 4l + 19.
    """
    columns = MFCC_PER_FRAME * num_frames + COLUMNS_BESIDE
    sound = np.asarray(samples)[: SAMPLES_PER_FRAME * num_frames]
    padded = np.zeros((columns - 1) * HOP + WINDOW, sound.dtype)
    padded[COLUMNS_BEFORE * HOP :][: len(sound)] = sound
    return mfcc(padded, SAMPLE_RATE)


def windows(mfcc: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Cuts the windows of some video frames out of a clip's MFCC.

    Args:
      mfcc: `[4T + 16, 12]` as from `clip_mfcc`.
      frames: `[L]` frame numbers, each in 0…T − 1.

    Returns:
      `[L, 20, 12]`.

    Raises:
      IndexError: a frame lies outside the clip.
    """
    frames = np.asarray(frames, np.int64)
    count = (len(mfcc) - COLUMNS_BESIDE) // MFCC_PER_FRAME
    if frames.size and not (frames.min() >= 0 and frames.max() < count):
        raise IndexError(f"frames {frames.min()}…{frames.max()} asked of a clip of {count} frames")
    return mfcc[MFCC_PER_FRAME * frames[:, None] + np.arange(MFCC_LENGTH)]


def frames_of(samples: int, fps: int = FPS) -> int:
    """Video frames that so many samples of 16 kHz last; the last may outlast them a little."""
    return -(-samples * fps // SAMPLE_RATE)


def stream_windows(blocks: Iterable[np.ndarray], fps: int = FPS) -> Iterator[np.ndarray]:
    """The windows of a sound that arrives bit by bit: of all frames that it lasts, each as soon as its sound is there.

    Frame l needs the sound until 2,160 samples (135 ms) after its start at 25 fps: the look-ahead. Blocks may have any
    length; what comes out is, to the bit, `windows(clip_mfcc(sound, T), [0 … T − 1])` of the whole sound at 25 fps. At
    other rates a frame's window is the one whose columns are nearest in time, at most 5 ms away.

    Args:
      blocks: consecutive sound `[N]`, mono, 16 kHz, int16 or float in −1…1.

    Yields:
      float32 `[n, 20, 12]`, n ≥ 1.

    Raises:
      ValueError: as `mfcc`.
    """
    sound = np.zeros(COLUMNS_BEFORE * HOP)  # pre-emphasised, from the next column's first sample on
    columns, first = np.zeros((0, MFCC_WIDTH), np.float32), 0  # of the padded sound, and the number of the first kept
    last, heard, frame = 0.0, 0, 0

    def hear(samples: np.ndarray) -> np.ndarray:
        nonlocal sound, columns, first, last, frame
        sound = np.concatenate([sound, samples - PRE_EMPHASIS * np.concatenate([[last], samples[:-1]])])
        last = samples[-1]
        if len(sound) >= WINDOW:
            new = mfcc_columns(sound)
            sound, columns = sound[HOP * len(new) :], np.concatenate([columns, new])
        ready = frame
        while _first_column(ready, fps) + MFCC_LENGTH <= first + len(columns):
            ready += 1
        starts = np.array([_first_column(i, fps) - first for i in range(frame, ready)], np.int64)
        found = columns[starts[:, None] + np.arange(MFCC_LENGTH)]
        gone = min(_first_column(ready, fps) - first, len(columns))
        columns, first, frame = columns[gone:], first + gone, ready
        return found

    for block in blocks:
        samples = _scaled(block)
        heard += len(samples)
        if len(samples) and len(found := hear(samples)):
            yield found
    if missing := frames_of(heard, fps) - frame:
        end = (_first_column(frame + missing - 1, fps) + MFCC_LENGTH - 1) * HOP + WINDOW
        found = hear(np.zeros(end - COLUMNS_BEFORE * HOP - heard))
        yield found[:missing]


def _first_column(frame: int, fps: int) -> int:
    """Of a frame's window in the padded sound, the column nearest to the frame's time."""
    columns_per_second = FPS * MFCC_PER_FRAME
    return (2 * columns_per_second * frame + fps) // (2 * fps)


def _scaled(samples: np.ndarray) -> np.ndarray:
    """The samples as float64 on int16's scale."""
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise ValueError(f"the sound must be mono, shape [N], not {samples.shape}; average its channels first")
    if samples.dtype == np.int16:
        return samples.astype(np.float64)
    if not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"the sound must be int16 or float in -1…1, not {samples.dtype}")
    if not np.isfinite(samples).all():
        raise ValueError("the sound holds numbers that are not finite; check how it was decoded")
    return samples.astype(np.float64) * INT16_SCALE


def mfcc_columns(sound: np.ndarray) -> np.ndarray:
    """Pre-emphasised sound on int16's scale, float64 `[N]`, N ≥ 400 → all its whole columns, float32 `[T, 12]`."""
    columns = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    blocks = [_cepstrum(columns[start : start + _BLOCK]) for start in range(0, len(columns), _BLOCK)]
    return np.concatenate(blocks).astype(np.float32)


def _cepstrum(columns: np.ndarray) -> np.ndarray:
    """Pre-emphasised columns `[T, 400]` → `[T, 12]`; a column's numbers do not depend on its neighbours.

    By matrix products they would: BLAS sums in an order that depends on how many columns there are; einsum does not.
    """
    magnitude = np.abs(np.fft.rfft(columns * np.hamming(WINDOW), FFT_SIZE))
    energies = np.maximum(np.einsum("tf,mf->tm", magnitude, _filter_bank()), ENERGY_FLOOR)
    return np.einsum("tm,nm->tn", np.log(energies), _liftered_dct())


@functools.cache
def _filter_bank() -> np.ndarray:
    """`[13, 257]`."""
    return librosa.filters.mel(
        sr=SAMPLE_RATE,
        n_fft=FFT_SIZE,
        n_mels=FILTERS,
        fmin=LOWEST,
        fmax=HIGHEST,
        htk=True,
        norm=None,
        dtype=np.float64,
    )


@functools.cache
def _liftered_dct() -> np.ndarray:
    """Rows 1…12 of the DCT, each times its lifter weight, `[12, 13]`."""
    n = np.arange(1, MFCC_WIDTH + 1)[:, None]
    m = np.arange(1, FILTERS + 1)
    dct = np.sqrt(2 / FILTERS) * np.cos(np.pi * n * (m - 0.5) / FILTERS)
    return (1 + LIFTER / 2 * np.sin(np.pi * n / LIFTER)) * dct

"""MFCC of the paper's system: HTK's definition, as in the MATLAB routine of K. Wojcicki; windows of them, by frame.

Columns are 10 ms apart, so a video frame at 25 fps has four of them, and the window of one frame has twenty. DAVS can
also read log mel magnitudes (ours, `WINDOWS`); other systems read other windows of other spectra (`Window`).
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import librosa
import numpy as np

from davs_jax.constants import (
    FPS,
    MFCC_LENGTH,
    MFCC_PER_FRAME,
    MFCC_WIDTH,
    SAMPLE_RATE,
    SAMPLES_PER_FRAME,
    SPECTRA,
)

PRE_EMPHASIS = 0.97
WINDOW = 400  # samples of one column: 25 ms
HOP = 160  # samples between columns: 10 ms
FFT_SIZE = 512
FILTERS = 13
LOWEST, HIGHEST = 300, 3700  # Hz
LIFTER = 22
LOG_MEL_BAND = (60, 7600)  # Hz
LOG_MEL_FLOOR = 50.0  # magnitude on int16's scale below which all is silence
LOG_MEL_MEAN, LOG_MEL_DEVIATION = 9.0, 2.0  # of speech, about
INT16_SCALE = 32_768

# The window of frame l is columns 4l − 8 … 4l + 11 of the audio, so a padded clip has 8 columns in front.
COLUMNS_BEFORE = 8
COLUMNS_BESIDE = MFCC_LENGTH - MFCC_PER_FRAME  # columns of a padded clip beyond its frames' own

# The smallest normal number: only an exact zero (digital silence) is raised to it. All filters of a silent column
# are then equal, and coefficients 1…12 of equal energies are 0. Columns that are finite without it do not change.
ENERGY_FLOOR = np.finfo(np.float64).tiny

_BLOCK = 16_384  # columns computed at once, which bounds the memory for long audio


def mfcc(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mel-frequency cepstral coefficients 1…12, a column every 10 ms.

    Pre-emphasis 0.97; 25 ms columns without padding; symmetric Hamming window; 512-point magnitude spectrum;
    13 triangular filters of unit height between 300 and 3700 Hz on HTK's mel scale; natural logarithm; DCT
    √(2/13)·cos(πn(m − ½)/13); lifter 1 + 11·sin(πn/22). Computed in float64. Equal to the official preprocessing.

    Args:
      samples: `[N]`, mono, int16 or a float type in −1…1 (scaled by 2^15 here).
      sample_rate: of the samples, in Hz; resampled where it is not 16,000.

    Returns:
      float32 `[T, 12]` with T = ⌊(N − 400) / 160⌋ + 1 for N samples at 16 kHz; `[0, 12]` below 25 ms.

    Raises:
      ValueError: the samples are not mono, have another type, or are not finite.
    """
    samples = _scaled(samples)
    if sample_rate != SAMPLE_RATE:
        samples = librosa.resample(samples, orig_sr=sample_rate, target_sr=SAMPLE_RATE)
    if len(samples) < WINDOW:
        return np.zeros((0, MFCC_WIDTH), np.float32)
    return _columns(np.append(samples[:1], samples[1:] - PRE_EMPHASIS * samples[:-1]), cepstrum)


def clip_mfcc(samples: np.ndarray, num_frames: int) -> np.ndarray:
    """MFCC of a clip, padded with silence so that every video frame has a whole window.

    1,280 zeros (8 columns) are added in front and 1,520 behind. Audio beyond the last frame is replaced by silence too,
    so the result depends on the clip's own audio only. The official code skips frames whose window leaves the audio.

    Args:
      samples: `[N]`, mono, 16 kHz, from the first frame's time, int16 or float in −1…1; N may differ from
        640 · num_frames.
      num_frames: T, video frames at 25 fps.

    Returns:
      float32 `[4T + 16, 12]`; the window of frame l is rows 4l … 4l + 19.
    """
    columns = MFCC_PER_FRAME * num_frames + COLUMNS_BESIDE
    samples = np.asarray(samples)[: SAMPLES_PER_FRAME * num_frames]
    padded = np.zeros((columns - 1) * HOP + WINDOW, samples.dtype)
    padded[COLUMNS_BEFORE * HOP :][: len(samples)] = samples
    return mfcc(padded, SAMPLE_RATE)


def windows(mfcc: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """The windows of some video frames, from a clip's MFCC.

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
        raise IndexError(f"frames {frames.min()}…{frames.max()} are outside a clip of {count} frames")
    return mfcc[MFCC_PER_FRAME * frames[:, None] + np.arange(MFCC_LENGTH)]


def frames_of(samples: int, fps: int = FPS) -> int:
    """Number of video frames that cover `samples` at 16 kHz, rounded up."""
    return -(-samples * fps // SAMPLE_RATE)


class Window(NamedTuple):
    """What a system reads for one video frame of the audio: some columns, 10 ms apart.

    Attributes:
      length: columns.
      before: how many of them precede the frame's start.
      spectrum: pre-emphasised samples of whole columns, on int16's scale, float64 `[T, 400]` → features `[T, C]`; each
        row depends on its column alone.
    """

    length: int
    before: int
    spectrum: Callable[[np.ndarray], np.ndarray]


def stream_windows(blocks: Iterable[np.ndarray], fps: int = FPS, window: Window | None = None) -> Iterator[np.ndarray]:
    """The windows of all frames of streamed audio, each as soon as its samples have arrived.

    At 25 fps frame l needs the samples until 2,160 (135 ms) after its start: the look-ahead. Blocks may have any
    length; the windows are bit-identical to `windows(clip_mfcc(samples, T), [0 … T − 1])` of the whole audio at 25 fps.
    At other frame rates a frame's window is the one whose columns are nearest in time, at most 5 ms away.

    Args:
      blocks: consecutive samples `[N]`, mono, 16 kHz, int16 or float in −1…1.
      fps: video frames per second.
      window: what a frame's window is; default that of the paper's system.

    Yields:
      float32 `[n, 20, 12]`, or of another window `[n, length, C]`; n ≥ 1.

    Raises:
      ValueError: as `mfcc`.
    """
    stream = _WindowStream(fps, window or WINDOWS["mfcc"])
    for block in blocks:
        samples = _scaled(block)
        if len(samples) and len(found := stream.add(samples)):
            yield found
    if len(found := stream.finish()):
        yield found


class _WindowStream:
    """The state of `stream_windows`: samples and columns that later windows need."""

    def __init__(self, fps: int, window: Window):
        self._fps, self._window = fps, window
        self._emphasised = np.zeros(window.before * HOP)  # samples from the next column's first one on
        self._last = 0.0  # sample, for the pre-emphasis of the next
        self._columns = _columns(np.zeros(WINDOW), window.spectrum)[:0]  # of the padded audio, from number `first` on
        self._first = self._frame = self._received = 0

    def add(self, samples: np.ndarray) -> np.ndarray:
        """float64 `[N]` on int16's scale, N ≥ 1 → the windows that are now complete, `[n, length, C]`."""
        new = samples - PRE_EMPHASIS * np.concatenate([[self._last], samples[:-1]])
        self._emphasised, self._last = np.concatenate([self._emphasised, new]), samples[-1]
        self._received += len(samples)
        if len(self._emphasised) >= WINDOW:
            columns = _columns(self._emphasised, self._window.spectrum)
            self._emphasised = self._emphasised[HOP * len(columns) :]
            self._columns = np.concatenate([self._columns, columns])
        ready = self._frame
        while self._start(ready) + self._window.length <= len(self._columns):
            ready += 1
        starts = np.array([self._start(frame) for frame in range(self._frame, ready)], np.int64)
        found = self._columns[starts[:, None] + np.arange(self._window.length)]
        gone = min(self._start(ready), len(self._columns))
        self._columns, self._first, self._frame = self._columns[gone:], self._first + gone, ready
        return found

    def finish(self) -> np.ndarray:
        """The windows of the last frames, which silence after the end completes."""
        missing = frames_of(self._received, self._fps) - self._frame
        if not missing:
            return self._columns[:0, None]
        length, before = self._window.length, self._window.before
        end = (_first_column(self._frame + missing - 1, self._fps) + length - 1) * HOP + WINDOW
        return self.add(np.zeros(end - before * HOP - self._received))[:missing]

    def _start(self, frame: int) -> int:
        """The first column of a frame's window, counted in the columns kept."""
        return _first_column(frame, self._fps) - self._first


def _first_column(frame: int, fps: int) -> int:
    """The first column of a frame's window in the padded audio: the nearest in time."""
    columns_per_second = FPS * MFCC_PER_FRAME
    return (2 * columns_per_second * frame + fps) // (2 * fps)


def as_int16(samples: np.ndarray) -> np.ndarray:
    """Float samples `[N]` in −1…1 → int16, rounded; samples beyond are clipped."""
    return np.round(samples * INT16_SCALE).clip(-INT16_SCALE, INT16_SCALE - 1).astype(np.int16)


def _scaled(samples: np.ndarray) -> np.ndarray:
    """The samples as float64 on int16's scale."""
    samples = np.asarray(samples)
    if samples.ndim != 1:
        raise ValueError(f"the audio must be mono, shape [N], not {samples.shape}; average its channels first")
    if samples.dtype == np.int16:
        return samples.astype(np.float64)
    if not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(f"the audio must be int16 or float in -1…1, not {samples.dtype}")
    if not np.isfinite(samples).all():
        raise ValueError("the audio holds numbers that are not finite; check how it was decoded")
    return samples.astype(np.float64) * INT16_SCALE


def _columns(emphasised: np.ndarray, spectrum: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Pre-emphasised samples on int16's scale, float64 `[N]`, N ≥ 400 → features of whole columns, float32 `[T, C]`."""
    columns = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW)[::HOP]
    blocks = [spectrum(columns[start : start + _BLOCK]) for start in range(0, len(columns), _BLOCK)]
    return np.concatenate(blocks).astype(np.float32)


def cepstrum(columns: np.ndarray, filters: int = FILTERS) -> np.ndarray:
    """Pre-emphasised columns `[T, 400]` → MFCC 1…12 of this many filters, `[T, 12]`.

    By einsum, not matrix products, so that a column's bits do not depend on how many are computed together: the order
    in which BLAS sums does.
    """
    return np.einsum("tm,nm->tn", log_mel(columns, filters, LOWEST, HIGHEST), _liftered_dct(filters))


def log_mel(
    columns: np.ndarray, filters: int, lowest: float, highest: float, floor: float = ENERGY_FLOOR
) -> np.ndarray:
    """Pre-emphasised columns `[T, 400]` → log mel magnitudes from `lowest` to `highest` Hz, `[T, filters]`.

    Args:
      floor: magnitudes below are raised to it, also those of filters so narrow that no frequency lies in them.
    """
    magnitude = np.abs(np.fft.rfft(columns * np.hamming(WINDOW), FFT_SIZE))
    energies = np.einsum("tf,mf->tm", magnitude, _filter_bank(filters, lowest, highest))
    return np.log(np.maximum(energies, floor))


@functools.cache
def _filter_bank(filters: int, lowest: float, highest: float) -> np.ndarray:
    """`[filters, 257]`."""
    return librosa.filters.mel(
        sr=SAMPLE_RATE,
        n_fft=FFT_SIZE,
        n_mels=filters,
        fmin=lowest,
        fmax=highest,
        htk=True,
        norm=None,
        dtype=np.float64,
    )


@functools.cache
def _liftered_dct(filters: int) -> np.ndarray:
    """Rows 1…12 of the DCT, each times its lifter weight, `[12, filters]`."""
    n = np.arange(1, MFCC_WIDTH + 1)[:, None]
    m = np.arange(1, filters + 1)
    dct = np.sqrt(2 / filters) * np.cos(np.pi * n * (m - 0.5) / filters)
    return (1 + LIFTER / 2 * np.sin(np.pi * n / LIFTER)) * dct


def standard_log_mel(columns: np.ndarray) -> np.ndarray:
    """Pre-emphasised columns `[T, 400]` → log mel magnitudes, of speech about 0 with deviation 1, `[T, 40]`."""
    magnitudes = log_mel(columns, SPECTRA["log_mel"], *LOG_MEL_BAND, LOG_MEL_FLOOR)
    return (magnitudes - LOG_MEL_MEAN) / LOG_MEL_DEVIATION


# What DAVS reads for a frame, by `config.model.spectrum`.
WINDOWS = {
    "mfcc": Window(MFCC_LENGTH, COLUMNS_BEFORE, cepstrum),
    "log_mel": Window(MFCC_LENGTH, COLUMNS_BEFORE, standard_log_mel),
}

"""Which audio of a file is used: the first track that is not silent, and of its channels the mix, unless they cancel.

Both are decided once per file, from the beginning of what is audible.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from davs_jax.errors import MediaError
from davs_jax.media.video import channels
from davs_jax.media.video.streams import audio_streams, decode, opened

SILENT = -55.0  # dBFS; nobody speaks where even the loudest parts are below
COMPARED = 30.0  # s, from the first audible part on, in which the channels are compared with their mix
CANCELLED = 0.1  # channels cancel where their mix has less than this of the energy that unrelated channels would give


@dataclass(frozen=True)
class Track:
    """The audio of a file that is used.

    Attributes:
      index: of the track among the container's audio tracks, from 0.
      rate: its sample rate in Hz.
      channel: the only channel that is used, from 0; None is the mix of all.
      note: why it is not the mix of the first track, in a sentence; "" where it is.
    """

    index: int
    rate: int
    channel: int | None = None
    note: str = ""


def choose(path: str | Path, number: int | None = None, longest: float = math.inf) -> Track:
    """Chooses the audio of a file.

    Args:
      number: the track to use, from 1, silent or not; None is the first that is not silent.
      longest: seconds of a track after which it counts as silent.

    Raises:
      MediaError: the file cannot be read, has no audio, or has no such track.
    """
    with opened(path):
        state = Path(path).stat()
    return _choose(str(path), number, longest, (state.st_ino, state.st_size, state.st_mtime_ns))


@functools.lru_cache(maxsize=64)
def _choose(path: str, number: int | None, longest: float, _state: tuple[int, ...]) -> Track:
    with opened(path) as container:
        count = len(container.streams.audio)
        tracks = {index: (s.rate, s.codec_context.layout.nb_channels) for index, s in audio_streams(container)}
    if not tracks:
        raise MediaError(f"{path}: has no audio track", "give a file that has one")
    if number is not None and number - 1 not in tracks:
        raise MediaError(
            f"{path}: its audio track {number} cannot be decoded"
            if number <= count
            else f"{path}: has no audio track {number}, only {count}",
            "choose another track",
            command_line="choose another --audio-track",
            python="choose another audio_track=",
        )
    candidates = list(tracks) if number is None else [number - 1]
    first, several = candidates[0], len(candidates) > 1
    for index in candidates:
        rate, width = tracks[index]
        if several or width > 1:  # otherwise there is nothing to choose
            heard = _listen(path, index, longest)
            if heard.audible:
                return _described(path, index, rate, heard, after_silence=index != first)
    return Track(first, tracks[first][0])


@dataclass
class _Heard:
    """Energies of a track's channels `[C]`, of their mix, and of a mix of unrelated channels that are as loud."""

    audible: bool = False
    layout: av.AudioLayout | None = None
    channels: np.ndarray | float = 0.0
    mix: float = 0.0
    unrelated: float = 0.0


def _described(path: str, index: int, rate: int, heard: _Heard, after_silence: bool) -> Track:
    notes, channel = [], None
    if after_silence:
        notes.append(f"audio track {index + 1} is used, because what comes before it is silent")
    if heard.mix < CANCELLED * heard.unrelated:
        channel = int(np.argmax(heard.channels))
        notes.append(f"its channels cancel each other, so channel {channel + 1} alone is used, the loudest")
    return Track(index, rate, channel, f"{path}: {'; '.join(notes)}" if notes else "")


def _listen(path: str, index: int, longest: float) -> _Heard:
    """Measures a track from its first audible frame on."""
    heard, passed, compared = _Heard(), 0.0, 0.0
    for frame in _frames(path, index):
        samples, seconds = channels.separate(frame), frame.samples / frame.sample_rate
        energies = np.square(samples, dtype=np.float64).sum(1)
        passed += seconds
        heard.audible = heard.audible or energies.max() > 10 ** (SILENT / 10) * frame.samples
        if heard.audible:
            if heard.layout not in (None, frame.layout):
                break
            heard.layout, weights = frame.layout, channels.weights(frame.layout)
            heard.channels += energies
            heard.mix += float(np.square(weights @ samples, dtype=np.float64).sum())
            heard.unrelated += float(np.square(weights) @ energies)
            compared += seconds
        if compared > COMPARED or passed > longest:
            break
    return heard


def _frames(path: str, index: int) -> Iterator[av.AudioFrame]:
    """Yields a track's decoded frames as packed float."""
    with opened(path) as container:
        resampler = kind = None
        for frame in decode(path, container, container.streams.audio[index], quiet=True):
            if kind != (kind := (frame.format.name, frame.layout.name, frame.sample_rate)):
                resampler = av.AudioResampler(format="flt", layout=frame.layout, rate=frame.sample_rate)
            yield from resampler.resample(frame)

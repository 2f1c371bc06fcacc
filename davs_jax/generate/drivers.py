"""Drivers, which move the mouth: speech from a file, an array or a live source, or a video of another face."""

import abc
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from davs_jax.constants import FPS, SAMPLE_RATE
from davs_jax.display.progress import progress
from davs_jax.errors import MediaError
from davs_jax.generate.errors import GenerationError, check_length
from davs_jax.generate.face_track import follow
from davs_jax.media import video
from davs_jax.media.audio import frames_of
from davs_jax.media.faces import tracking
from davs_jax.media.faces.alignment import aligned_crop
from davs_jax.media.images import is_still
from davs_jax.media.video.write import AAC_RATES
from davs_jax.models.word_vectors import Running
from davs_jax.talker import Talker

LEVEL_SAMPLES = 320  # samples of one level: 20 ms
PAUSE = 25.0  # dB
LOWEST_RATE = 32_000  # Hz, of a result's audio
BLOCK = 32  # images of a driving video in memory at once
SLOWEST, FASTEST = 10, 60  # frames per second
WINDOW = 10  # seconds over which the word vectors of live speech are normalised


class Driver(abc.ABC):
    """Moves the mouth, frame by frame.

    Attributes:
      network: the word encoder that it needs.
      fps: frames per second.
      frames: the number of frames that it drives; None where that is unknown before it ends.
      rate: of its audio, Hz.
      live: it arrives while it is used, so nothing may be held back to fill a batch.
    """

    network: ClassVar[str]
    live: ClassVar[bool] = False
    frames: int | None
    fps: int
    rate: int = SAMPLE_RATE

    @abc.abstractmethod
    def inputs(self, model: Talker) -> Iterator[np.ndarray]:
        """Yields the inputs of the model's encoder, `[n, …]`, `frames` in all."""

    def encode(self, model: Talker, inputs: np.ndarray) -> np.ndarray:
        """inputs `[n, …]` → wid `[n, E]`, neither normalised nor with the gain."""
        return model.raw_wid_from_audio(inputs)

    def words(self, model: Talker) -> tuple[Iterator[np.ndarray], Callable[[np.ndarray], np.ndarray]]:
        """What is read, `[n, …]`, `frames` in all, and the function that makes wid `[n, E]` of it, without the gain.

        Where a frame's wid depends on the others (`Talker.over_time`), all frames are encoded before the first is
        yielded; over those so far where the driver is live (`word_vectors.Running`, a window of 10 s).

        Raises:
          GenerationError: the driver is live and the model reads whole recordings.
        """
        inputs, encode = self.inputs(model), functools.partial(self.encode, model)
        if not model.over_time:
            return inputs, encode
        if self.live and model.wid_norm == "none":
            raise GenerationError("these weights read a whole recording first", "save the speech to a file")
        if self.live:
            running = Running(model.wid_norm, WINDOW * self.fps)
            return inputs, lambda part: running(encode(part))
        return self._normalised(model, map(encode, inputs)), lambda wid: wid

    def wid(self, model: Talker) -> Iterator[np.ndarray]:
        """Yields wid `[n, E]`, `frames` in all, without the gain; see `words`."""
        inputs, encode = self.words(model)
        return map(encode, inputs)

    def _normalised(self, model: Talker, encoded: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        raw = []
        with progress(total=self.frames, desc="encoding", unit="frame", leave=False) as bar:
            for block in encoded:
                raw.append(block)
                bar.update(len(block))
        if raw:
            yield model.normalised(np.concatenate(raw))

    def audio(self) -> Iterator[np.ndarray] | None:
        """Its audio from the first frame's time, in blocks float32 `[N]`, mono, at `rate`; None where it has none."""
        return None

    def images(self) -> Iterator[np.ndarray] | None:
        """Its own images uint8 `[H, W, 3]`; None where it has none."""
        return None

    def paused(self) -> np.ndarray | None:
        """Where its speech pauses, bool `[frames]`; None where that is not known before it is generated."""
        return None


@dataclass(frozen=True)
class Speech(Driver):
    """Speech in memory: samples float32 `[N]`, mono, 16 kHz, in −1…1."""

    samples: np.ndarray
    fps: int = FPS
    network = "audio_encoder"

    @property
    def frames(self) -> int:
        return frames_of(len(self.samples), self.fps)

    def inputs(self, model: Talker) -> Iterator[np.ndarray]:
        return model.stream_audio([self.samples], self.fps)

    def paused(self) -> np.ndarray:
        samples = np.pad(self.samples, (0, -len(self.samples) % LEVEL_SAMPLES))
        return _pauses(_levels(samples), self.frames, self.fps)

    def audio(self) -> Iterator[np.ndarray]:
        return iter([self.samples])


@dataclass(frozen=True)
class Recording(Driver):
    """Speech in a file of any length, read while it is used.

    Attributes:
      length: samples at 16 kHz.
      levels: dBFS of every 20 ms, float32 `[⌈length / 320⌉]`.
      track: number of the audio track, from 1.
    """

    path: Path
    length: int
    levels: np.ndarray
    rate: int
    fps: int = FPS
    track: int | None = None
    network = "audio_encoder"

    @property
    def frames(self) -> int:
        return frames_of(self.length, self.fps)

    def inputs(self, model: Talker) -> Iterator[np.ndarray]:
        return model.stream_audio(video.read_audio_blocks(self.path, track=self.track), self.fps)

    def paused(self) -> np.ndarray:
        return _pauses(self.levels, self.frames, self.fps)

    def audio(self) -> Iterator[np.ndarray]:
        return video.read_audio_blocks(self.path, self.rate, track=self.track)


@dataclass(frozen=True)
class Live(Driver):
    """Live speech: consecutive blocks float32 or int16 `[N]`, mono, 16 kHz. It can be used once.

    A frame is ready as soon as the audio until 135 ms after its start, the end of its window, has arrived. Blocks of
    640 samples or less give frames one by one.
    """

    blocks: Iterable[np.ndarray]
    fps: int = FPS
    network = "audio_encoder"
    live = True
    frames = None

    def inputs(self, model: Talker) -> Iterator[np.ndarray]:
        return model.stream_audio(self.blocks, self.fps)


@dataclass(frozen=True)
class DrivingVideo(Driver):
    """A video of another face: the file, its face's points `[T, 5, 2]`, and whether it has audio.

    Attributes:
      lost: bool `[T]`, where the face is out of sight. There its last image is held; at the beginning, the first one.
      track: number of the audio track, from 1; None is the first that is not silent.
    """

    path: Path
    points: np.ndarray
    has_audio: bool
    lost: np.ndarray | None = None
    rate: int = SAMPLE_RATE
    fps: int = FPS
    track: int | None = None
    network = "visual_encoder"

    @property
    def frames(self) -> int:
        return len(self.points)

    def inputs(self, model: Talker) -> Iterator[np.ndarray]:
        crops = self._crops(model.image_size)
        while block := list(itertools.islice(crops, BLOCK)):
            yield np.stack(block)

    def _crops(self, image_size: int) -> Iterator[np.ndarray]:
        lost = np.zeros(self.frames, bool) if self.lost is None else self.lost
        shown, waiting = None, 0
        for frame, points, unseen in zip(self.images(), self.points, lost, strict=True):
            if not unseen:
                shown = aligned_crop(frame, points, image_size)
            waiting += 1
            if shown is not None:
                yield from itertools.repeat(shown, waiting)
                waiting = 0

    def encode(self, model: Talker, inputs: np.ndarray) -> np.ndarray:
        return model.raw_wid_from_video(inputs)

    def audio(self) -> Iterator[np.ndarray] | None:
        return video.read_audio_blocks(self.path, self.rate, track=self.track) if self.has_audio else None

    def images(self) -> Iterator[np.ndarray]:
        return video.read_frames(self.path, self.fps)


def read_speech(path: Path, fps: int = FPS, track: int | None = None, longest: float = math.inf) -> Recording:
    """Reads speech from any file with audio. The file is read once to its end, so that errors in it are known before
    anything is generated.

    Args:
      track: number of the audio track, from 1; None is the first that is not silent.
      longest: seconds that are allowed. Reading stops there, whatever length the file states.

    Raises:
      MediaError: it cannot be read, has no audio or no such track, or audio that is not finite.
      GenerationError: it is longer than allowed.
    """
    if is_still(path):
        raise MediaError(f"{path}: is an image, without audio", "give an audio or video file")
    media, chosen = video.probe(path), video.choose(path, track, longest)
    check_length(path, media.duration, longest)
    track = chosen.index + 1
    length, levels, rest = 0, [], np.zeros(0, np.float32)
    with progress(total=round(media.duration) or None, desc="listening", unit="s", leave=False) as bar:
        for block in video.read_audio_blocks(path, track=track):
            length += len(block)
            check_length(path, length / SAMPLE_RATE, longest, ended=False)
            block = np.concatenate([rest, block])
            whole = len(block) // LEVEL_SAMPLES * LEVEL_SAMPLES
            levels.append(_levels(block[:whole]))
            rest = block[whole:]
            bar.update(length // SAMPLE_RATE - bar.n)
    if not length:
        raise MediaError(f"{path}: its audio is empty", "give a file with speech")
    levels.append(_levels(np.pad(rest, (0, -len(rest) % LEVEL_SAMPLES))))
    return Recording(path, length, np.concatenate(levels), _coded_rate(chosen.rate), fps, track)


def read_driving_video(
    path: Path, fps: int = FPS, or_speech: bool = True, track: int | None = None, longest: float = math.inf
) -> tuple[DrivingVideo, tracking.Track]:
    """Reads a driving video, and tracks the face in it.

    Args:
      or_speech: speech is an alternative, which errors then propose.
      track, longest: as of `read_speech`.

    Raises:
      MediaError: it cannot be read, has no images or no such track.
      GenerationError: it shows no face, or is longer than allowed.
    """
    if is_still(path):
        raise MediaError(f"{path}: is an image that does not move", **_remedies("give a video", or_speech))
    media = video.probe(path)
    check_length(path, media.duration, longest)
    rate = media.sample_rate
    if media.has_audio or track is not None:
        chosen = video.choose(path, track, longest)
        track, rate = chosen.index + 1, chosen.rate
    face = follow(path, fps, longest=longest, **_remedies("give a video that shows a face", or_speech))
    return DrivingVideo(path, face.points, media.has_audio, face.lost, _coded_rate(rate), fps, track), face


def check_fps(fps: int) -> None:
    """Raises GenerationError where the frame rate is not supported."""
    if not SLOWEST <= fps <= FASTEST:
        raise GenerationError(
            f"{fps} frames per second: must be from {SLOWEST} to {FASTEST}",
            "25 is the rate of training",
            command_line="change --fps; 25 is the rate of training",
            python="change fps=; 25 is the rate of training",
        )


def _remedies(remedy: str, or_speech: bool) -> dict[str, str]:
    if not or_speech:
        return {"remedy": remedy}
    return {
        "remedy": f"{remedy}, or speech instead",
        "command_line": f"{remedy}, or speech with --audio",
        "page": f"{remedy}, or a voice instead",
        "python": f"{remedy}, or speech as audio=",
    }


def _levels(samples: np.ndarray) -> np.ndarray:
    """dBFS of every 20 ms; −120 is silence."""
    power = np.square(samples.reshape(-1, LEVEL_SAMPLES), dtype=np.float64).mean(1)
    return (10 * np.log10(np.maximum(power, 1e-12))).astype(np.float32)


def _pauses(levels: np.ndarray, frames: int, fps: int) -> np.ndarray:
    """Frames whose level is PAUSE dB below that of loud speech, bool `[frames]`."""
    at = ((np.arange(frames) + 0.5) * SAMPLE_RATE / (fps * LEVEL_SAMPLES)).astype(int).clip(0, len(levels) - 1)
    return levels[at] < np.percentile(levels, 95) - PAUSE if frames else np.zeros(0, bool)


def _coded_rate(rate: int) -> int:
    """The file's own sample rate; 48 kHz where AAC does not have that rate, or where it is so low that AAC's padding at
    the end, up to 1,024 samples, would outlast a frame."""
    return rate if rate in AAC_RATES and rate >= LOWEST_RATE else 48_000

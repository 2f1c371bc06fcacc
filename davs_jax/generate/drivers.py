"""Drivers, which move the mouth: speech from a file, an array or a live source, or a video of another face."""

import abc
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from davs_jax.constants import FPS, SAMPLE_RATE
from davs_jax.display.progress import progress
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.pauses import loudness, pauses
from davs_jax.media import video
from davs_jax.media.audio import frames_of
from davs_jax.media.faces.alignment import aligned_crop
from davs_jax.models.word_vectors import Running
from davs_jax.talker import Talker

BLOCK = 32  # images of a driving video in memory at once
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
        return pauses(loudness(self.samples), self.frames, self.fps)

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
        return pauses(self.levels, self.frames, self.fps)

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

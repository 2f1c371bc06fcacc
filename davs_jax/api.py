"""The model as a Python object; `davs_jax.load` makes it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from davs_jax import checkpoint
from davs_jax.checkpoint.export import DEMO
from davs_jax.constants import CLIP_FRAMES, FPS, SAMPLE_RATE
from davs_jax.generate import adapt
from davs_jax.generate.drivers import Driver, Live, Speech, read_performance, read_speech
from davs_jax.generate.film import LONGEST
from davs_jax.generate.follow import GenerationError, follow
from davs_jax.generate.footage import read_source
from davs_jax.generate.talk import Source, generate, pictures
from davs_jax.inference import Davs
from davs_jax.media import video as files
from davs_jax.media.audio import clip_mfcc, windows
from davs_jax.media.faces.steady import Steady
from davs_jax.media.photo import aligned_crop, photo_of
from davs_jax.media.video.streams import resampled

File = str | Path
REACH = 15  # frames of offset that `match` looks for where the video is long enough


class Word(NamedTuple):
    """A word that lips may have said."""

    word: str | int  # its label where no names are given
    probability: float


class Match(NamedTuple):
    """How well sound and picture go together."""

    offset: int  # frames that the sound is late; negative: early
    distance: float  # between the vectors of both there; 0 is the same, √2 unrelated
    confidence: float  # by how much it is better there than at the median offset


class Model:
    """Weights, ready to be used. Files may be anything that PyAV or Pillow reads.

    Attributes:
      davs: the networks' forwards, batched.
    """

    def __init__(self, davs: Davs):
        self.davs = davs

    def talk(
        self,
        photo: File | np.ndarray,
        audio: File | np.ndarray | Iterable[np.ndarray] | None = None,
        video: File | None = None,
        *,
        sample_rate: int = SAMPLE_RATE,
        points: Sequence | None = None,
        aligned: bool = False,
        face: int = 1,
        crop: bool = False,
        steady: bool = True,
        fps: int = FPS,
        adapt_steps: int | None = None,
    ) -> Iterator[np.ndarray]:
        """The photo's face, talking.

        **Live.** With an iterator for `audio` nothing is held back. Frame l shows the sound from 80 ms before its
        start to 135 ms after it (95 ms after its end, at 25 fps): that is the look-ahead, and no frame comes earlier.
        On top come the length of your blocks, the networks' time for one call (of `davs_jax.load`'s `batch` frames,
        however few are ready: load with `batch=1` for the least latency), and where `sample_rate` is not 16,000 the
        resampler's few milliseconds. The frames are those of the same sound in one piece, and the word vectors are that
        to the bit. When the iterator ends, the last frames come, with silence after them.

        Args:
          photo: a picture, or a video whose face keeps moving while its speech changes; or uint8 `[H, W, 3]` RGB.
          audio: a file with speech; or samples `[N]`, mono, int16 or float in −1…1; or an iterator of such blocks.
          video: instead of `audio`, another face's video.
          sample_rate: of samples and blocks, Hz.
          points: `[5, 2]`, the face's points (left eye, right eye, nose, mouth corners), where none is found.
          aligned: the photo is an aligned square crop.
          face: which face of several, from 1, the largest.
          crop: yield the face's square alone, `[S, S, 3]`.
          steady: calm what is not the mouth.
          fps: frames per second.
          adapt_steps: steps of fitting to the photo; None is what the weights' origin asks for.

        Yields:
          uint8 RGB `[H, W, 3]`, the whole picture with the face in its place, at most 1,920 pixels long.

        Raises:
          GenerationError, MediaError, PhotoError: at once, with one sentence that names the input and the remedy.
        """
        if (audio is None) == (video is None):
            raise GenerationError("give one of audio and video")
        points = None if points is None else np.asarray(points, np.float64)
        source: Source
        if isinstance(photo, np.ndarray):
            source = photo_of(photo, self.davs.image_size, points, aligned, face)
        else:
            source = read_source(Path(photo), self.davs.image_size, LONGEST, points, aligned, face, fps)
        driver = read_performance(Path(video), fps)[0] if audio is None else _speech(audio, sample_rate, fps)
        steps = adapt.default_steps(self.davs) if adapt_steps is None else adapt_steps
        davs = adapt.adapt(self.davs, source, driver, steps)[0] if steps else self.davs
        if crop:
            return generate(davs, source, driver)
        return pictures(davs, source, driver, Steady(davs.image_size) if steady else None)

    def read_lips(self, video: File, words: Sequence[str] | None = None) -> list[Word]:
        """Which word is said in the middle of a video, from its picture alone: the 29 frames there, as in LRW.

        Args:
          words: names of the labels, sorted as in training.

        Returns:
          all words, the most probable first.

        Raises:
          GenerationError: the video shows no face or is too short, or the weights cannot read.
          MediaError: it cannot be read.
        """
        if not self.davs.has("visual_encoder", "word_classifier"):
            raise GenerationError("the weights have no word classifier; use those of the word or the joint stage")
        track = follow(Path(video), "give a video that shows a face")
        frames = 2 + 2 * np.arange(self.davs.config.model.word_frames)  # of 29; the official evaluation's start 0
        first = (len(track.points) - CLIP_FRAMES) // 2
        if first < 0:
            raise GenerationError(f"{video}: has {len(track.points)} frames at 25 fps; reading takes {CLIP_FRAMES}")
        pictures_now = enumerate(files.read_frames(video))
        crops = [aligned_crop(f, track.points[i], self.davs.image_size) for i, f in pictures_now if i - first in frames]
        logits = self.davs.word_logits(self.davs.wid_from_video(np.stack(crops))[None])[0].astype(np.float64)
        odds = np.exp(logits - logits.max())
        order = np.argsort(-odds, kind="stable")
        return [Word(words[i] if words else int(i), float(odds[i] / odds.sum())) for i in order]

    def match(self, video: File, audio: File | np.ndarray | None = None) -> Match:
        """Whether a sound belongs to a talking video, and by how much it is late.

        Args:
          audio: a file, or samples `[N]` of 16 kHz from the first frame's time; None is the video's own sound.

        Raises:
          GenerationError: no face, no sound, too short, or the weights lack an encoder.
          MediaError: a file cannot be read.
        """
        from davs_jax.sync import audio_offset

        if not self.davs.has("visual_encoder", "audio_encoder"):
            raise GenerationError("the weights have no word encoders; use those of the word or the joint stage")
        seen, _ = read_performance(Path(video))
        if not isinstance(audio, np.ndarray):
            audio = files.read_audio(video if audio is None else audio)
        heard = self.davs.wid_from_audio(windows(clip_mfcc(audio, seen.frames), np.arange(seen.frames)))
        reach = min(REACH, (seen.frames - 1) // 2)
        if not reach:
            raise GenerationError(f"{video}: has {seen.frames} frames; comparing takes at least 3")
        return Match(*audio_offset.measure(np.concatenate(list(seen.wid(self.davs))), heard, reach))


def load(path: File | None = None, batch: int | None = None) -> Model:
    """See `davs_jax.load`."""
    weights = checkpoint.load_weights(str(path or DEMO))
    return Model(Davs(*weights, batch=batch) if batch else Davs.on_this_host(*weights))


def _speech(audio: File | np.ndarray | Iterable[np.ndarray], sample_rate: int, fps: int) -> Driver:
    if isinstance(audio, str | Path):
        return read_speech(Path(audio), fps)
    if isinstance(audio, np.ndarray):
        return Speech(np.concatenate([audio[:0], *_at_16_khz([audio], sample_rate)]), fps)
    return Live(_at_16_khz(audio, sample_rate), fps)


def _at_16_khz(blocks: Iterable[np.ndarray], sample_rate: int) -> Iterable[np.ndarray]:
    return blocks if sample_rate == SAMPLE_RATE else resampled(blocks, sample_rate, SAMPLE_RATE)

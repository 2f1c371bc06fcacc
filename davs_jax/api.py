"""The Python API: a trained model that talks, reads lips and matches audio to video. `davs_jax.load` returns it."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from davs_jax import inference
from davs_jax.constants import CLIP_FRAMES, FPS, SAMPLE_RATE
from davs_jax.errors import DavsError
from davs_jax.generate import adapt
from davs_jax.generate.drivers import Driver, Live, Recording, Speech
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.face_track import follow
from davs_jax.generate.footage import read_source
from davs_jax.generate.read import check_fps, read_driving_video, read_speech
from davs_jax.generate.result import LONGEST
from davs_jax.generate.talk import Source, generate, whole_images
from davs_jax.media import video as files
from davs_jax.media.faces.alignment import aligned_crop
from davs_jax.media.faces.smoothing import Steady
from davs_jax.media.photo import Photo, photo_of
from davs_jax.media.video.streams import resampled
from davs_jax.sync import audio_offset
from davs_jax.talker import Talker

log = logging.getLogger(__name__)

File = str | Path
REACH = audio_offset.REACH  # frames of offset that `match` searches, where the video is long enough


class Word(NamedTuple):
    """A word that the lips may have said."""

    word: str | int  # its label where no names are given or known
    probability: float


class Match(NamedTuple):
    """How well audio and video go together."""

    offset: int  # frames that the audio is late; negative: early
    distance: float  # between the vectors of both at that offset; 0 is identical, √2 unrelated
    confidence: float  # the median distance over all offsets minus this one


@contextmanager
def _in_python() -> Iterator[None]:
    """Makes errors name arguments in their remedies, not flags of the command line."""
    try:
        yield
    except DavsError as error:
        error.front_end = "python"
        raise


class Model:
    """A trained model. Files may have any format that PyAV or Pillow reads.

    Attributes:
      davs: the networks' batched forwards.
    """

    def __init__(self, davs: Talker):
        self.davs = davs

    @_in_python()
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
        audio_track: int | None = None,
    ) -> Iterator[np.ndarray]:
        """Generates the frames of the photo's face talking.

        **Live.** With an iterator for `audio` nothing is held back. At 25 fps, frame l shows the audio from 80 ms
        before its start to 135 ms after it (95 ms after its end). That is the look-ahead; no frame can come earlier.
        The length of your blocks adds to the latency, and so does one call of the networks (of `davs_jax.load`'s
        `batch` frames, however few are ready: load with `batch=1` for the least latency), and where `sample_rate` is
        not 16,000 the resampler's few milliseconds. The MFCC windows are bit-identical to those of the same audio in
        one piece. With `batch=1` so are the frames; with larger batches a value of the crop may differ by one gray
        level, because compilers round the last bit of a frame by its place in the batch. After the iterator's end come
        the last frames, with silence after the audio.

        Args:
          photo: an image, or a video whose face keeps moving while its speech is replaced; or uint8 `[H, W, 3]` RGB.
          audio: a file with speech; or samples `[N]`, mono, int16 or float in −1…1; or an iterator of such blocks.
          video: a video of another face, instead of `audio`.
          sample_rate: of samples and blocks, Hz.
          points: `[5, 2]`, the face's points (left eye, right eye, nose, mouth corners), where no face is found.
          aligned: the photo is an aligned square crop.
          face: which of several faces, from 1, the largest.
          crop: yield the face's crop alone, `[S, S, 3]`.
          steady: smooth everything but the mouth over time.
          fps: frames per second, 10 to 60.
          adapt_steps: steps of fitting to the photo; None is the default for the weights' origin.
          audio_track: which audio track of a file, from 1; None is the first that is not silent.

        Yields:
          uint8 RGB `[H, W, 3]`, the whole image with the generated face, at most 1,920 pixels on its longer side.

        Raises:
          GenerationError, MediaError, PhotoError: at the call; one sentence names the input and the remedy.
        """
        if (audio is None) == (video is None):
            raise GenerationError("give one of audio and video")
        check_fps(fps)
        points = None if points is None else np.asarray(points, np.float64)
        source: Source
        if isinstance(photo, np.ndarray):
            source = photo_of(photo, self.davs.image_size, points, aligned, face)
        else:
            source = read_source(Path(photo), self.davs.image_size, LONGEST, points, aligned, face, fps)
        if isinstance(source, Photo) and source.warning:
            log.warning(source.warning)
        if audio is None:
            driver, _ = read_driving_video(Path(video), fps, track=audio_track)
            if driver.has_audio:
                _log_choice(video, audio_track)
        else:
            driver = _speech(audio, sample_rate, fps, audio_track)
            if isinstance(driver, Recording):
                _log_choice(audio, audio_track)
        steps = adapt.default_steps(self.davs) if adapt_steps is None else adapt_steps
        davs = adapt.adapt(self.davs, source, driver, steps)[0] if steps else self.davs
        if crop:
            return _each(generate(davs, source, driver))
        return _each(whole_images(davs, source, driver, Steady(davs.image_size) if steady else None))

    @_in_python()
    def read_lips(self, video: File, words: Sequence[str] | None = None) -> list[Word]:
        """Recognises the word in the middle of a video from its images alone: 29 frames, as in LRW.

        Args:
          words: names of the labels, sorted as in training; None takes those that the weights were saved with.

        Returns:
          all words, the most probable first.

        Raises:
          GenerationError: the video shows no face or is too short, the weights have no word classifier, or `words` are
            not as many as its labels.
          MediaError: it cannot be read.
        """
        if not self.davs.has("visual_encoder", "word_classifier"):
            raise GenerationError("the weights have no word classifier", "use those of the word or the joint stage")
        track, frames = follow(Path(video)), self.davs.word_frames
        first = (len(track.points) - CLIP_FRAMES) // 2
        if first < 0:
            raise GenerationError(
                f"{video}: has {len(track.points)} frames at 25 fps, fewer than {CLIP_FRAMES}", "give a longer video"
            )
        images = enumerate(files.read_frames(video))
        crops = [aligned_crop(f, track.points[i], self.davs.image_size) for i, f in images if i - first in frames]
        logits = self.davs.word_logits(self.davs.wid_from_video(np.stack(crops)[None]))[0].astype(np.float64)
        odds = np.exp(logits - logits.max())
        order, words = np.argsort(-odds, kind="stable"), words or self.davs.config.get("words")
        if words and len(words) != len(odds):
            raise GenerationError(f"{len(words)} words, but the weights tell {len(odds)} apart", "give a name for each")
        return [Word(words[i] if words else int(i), float(odds[i] / odds.sum())) for i in order]

    @_in_python()
    def match(self, video: File, audio: File | np.ndarray | None = None, *, audio_track: int | None = None) -> Match:
        """Measures whether audio belongs to a talking video, and by how much it is late.

        Args:
          audio: a file, or samples `[N]` at 16 kHz from the first frame's time; None is the video's own audio.
          audio_track: which audio track of the file, from 1; None is the first that is not silent.

        Raises:
          GenerationError: no face, fewer than three frames, or the weights lack an encoder.
          MediaError: a file cannot be read, or has no audio.
        """
        if not self.davs.has("visual_encoder", "audio_encoder"):
            raise GenerationError("the weights have no word encoders", "use those of the word or the joint stage")
        driver, _ = read_driving_video(Path(video), or_speech=False)
        samples = audio
        if not isinstance(audio, np.ndarray):
            heard = video if audio is None else audio
            samples = files.read_audio(heard, track=audio_track)
            _log_choice(heard, audio_track)
        reach = min(REACH, max(driver.frames // 4, 1))  # so that half of a short video's frames are compared
        if driver.frames < 3:
            raise GenerationError(f"{video}: has {driver.frames} frames, fewer than 3", "give a longer video")
        spoken = self.davs.file_audio(samples, driver.frames)
        vectors = np.concatenate(list(driver.wid(self.davs))), self.davs.wid_from_audio(spoken)
        return Match(*audio_offset.measure(*vectors, reach)[:3])


@_in_python()
def load(path: File | None = None, batch: int | None = None) -> Model:
    """See `davs_jax.load`."""
    return Model(inference.load(path, "one" if batch else "host", batch))


def _each(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    with _in_python():
        yield from frames


def _log_choice(path: File, track: int | None) -> None:
    """Logs which audio of a file is used, where that is not the mix of its first track."""
    if note := files.choose(path, track).note:
        log.warning(note)


def _speech(audio: File | np.ndarray | Iterable[np.ndarray], sample_rate: int, fps: int, track: int | None) -> Driver:
    if isinstance(audio, str | Path):
        return read_speech(Path(audio), fps, track)
    if isinstance(audio, np.ndarray):
        return Speech(np.concatenate([audio[:0], *_at_16_khz([audio], sample_rate)]), fps)
    return Live(_at_16_khz(audio, sample_rate), fps)


def _at_16_khz(blocks: Iterable[np.ndarray], sample_rate: int) -> Iterable[np.ndarray]:
    return blocks if sample_rate == SAMPLE_RATE else resampled(blocks, sample_rate, SAMPLE_RATE)

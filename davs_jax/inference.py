"""Trained models: how one is loaded; DAVS's jitted forwards, in batches of one size so that each compiles once."""

import functools
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict, FrozenConfigDict

from davs_jax import checkpoint, models, systems
from davs_jax.checkpoint.export import DEMO
from davs_jax.constants import FPS, SAMPLES_PER_FRAME, SPECTRA
from davs_jax.errors import ConfigError
from davs_jax.models import word_vectors
from davs_jax.models.layers import average_pool, scaled
from davs_jax.parallel import sharding
from davs_jax.talker import BATCH, Devices, Talker, to_bytes, to_float

NETWORKS = ("person_encoder", "visual_encoder", "audio_encoder", "decoder", "word_classifier")
GAINS = {"audio_encoder": "audio_gain", "visual_encoder": "video_gain"}  # by word encoder, the key in the configuration
CACHED = 1 << 22  # numbers: 16 MiB, at 256 px and width 1 one image. Alone it took 206 ms, as one of eight 240 ms
FARTHEST = 3.0  # deviations of a normalised word vector's feature from its mean, in generation
POOLED = 4  # side of the person map after pooling, in `pid_from_frames`

log = logging.getLogger(__name__)


class Person(NamedTuple):
    """What the decoder takes from one photo."""

    photo: jax.Array  # [1, S, S, 3], 0…1
    pid: jax.Array  # [1, E]
    maps: dict[int, jax.Array]  # {stride: [1, S/stride, S/stride, C]}


class Davs(Talker):
    """The forwards of DAVS that generation, evaluation and validation share; see `Talker`.

    E is the length of pid and wid (256).

    Args:
      batch: as of `Talker`; the default is as many images as a CPU's cache holds, on accelerators BATCH.

    Attributes:
      gains: by word encoder, the factor of its wid in generation; the official system exaggerates the mouth this way.
        The encoders here return wid without it.
    """

    NETWORKS = NETWORKS

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.wid_norm = self.config.model.wid_norm
        self.over_time = self.wid_norm != "none"
        self.spectrum = self.config.model.spectrum
        self.gains = {name: self.config.get(key, 1.0) for name, key in GAINS.items()}
        self._forwards = _forwards(FrozenConfigDict(self.config.model), self.mesh)

    @staticmethod
    def default_batch(model: ConfigDict) -> int:
        return images_in_cache(model) if jax.default_backend() == "cpu" else BATCH

    @staticmethod
    def needs(encoder: str) -> tuple[str, ...]:
        return "person_encoder", encoder, "decoder"

    def encode_person(self, photo: np.ndarray) -> Person:
        """photo uint8 `[S, S, 3]`, an aligned crop → what `decode` takes; called once per photo.

        Raises:
          ValueError: the photo is not of the model's size.
        """
        self._check_size(photo)
        return Person(*self._forwards["encode_person"](self._weights("person_encoder"), np.asarray(photo)))

    def wid_from_video(self, frames: np.ndarray) -> np.ndarray:
        """Frames of whole clips uint8 `[…, T, S, S, 3]` → wid `[…, T, E]`, `normalised`."""
        return self.normalised(self.raw_wid_from_video(frames))

    def raw_wid_from_video(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 `[…, S, S, 3]` → wid `[…, E]` as the encoder returns it, for `normalised`."""
        self._check_size(frames)
        wid = self._in_batches("wid_from_video", "visual_encoder", frames.reshape(-1, *frames.shape[-3:]))
        return wid.reshape(*frames.shape[:-3], -1)

    def clip_audio(self, record: Mapping) -> np.ndarray:
        return self._examples.clip_audio(record, self.spectrum)

    def stream_audio(self, blocks: Iterable[np.ndarray], fps: int) -> Iterator[np.ndarray]:
        return self._examples.stream_audio(blocks, fps, self.spectrum)

    def file_audio(self, samples: np.ndarray, frames: int) -> np.ndarray:
        """Samples `[N]`, mono, 16 kHz → the windows of a video's `frames`, cut or padded with silence to them."""
        samples = samples[: SAMPLES_PER_FRAME * frames]
        samples = np.pad(samples, (0, SAMPLES_PER_FRAME * frames - len(samples)))
        return np.concatenate(list(self.stream_audio([samples], FPS)))

    def raw_wid_from_audio(self, audio: np.ndarray) -> np.ndarray:
        """Windows of the spectrum float32 `[…, 20, C]` → wid `[…, E]` as the encoder returns it, for `normalised`.

        Raises:
          ValueError: windows of another spectrum.
        """
        if audio.shape[-1] != SPECTRA[self.spectrum]:
            raise ValueError(
                f"windows of {audio.shape[-1]} numbers a column, but the weights hear the {SPECTRA[self.spectrum]} of "
                f"{self.spectrum!r}; clip_audio and file_audio of the model make them"
            )
        wid = self._in_batches("wid_from_audio", "audio_encoder", audio.reshape(-1, *audio.shape[-2:]))
        return wid.reshape(*audio.shape[:-2], -1)

    def normalised(self, wid: np.ndarray) -> np.ndarray:
        """wid `[…, T, E]` of all frames of a clip or a file, normalised over T as `config.model.wid_norm` says."""
        return word_vectors.normalised(wid, self.wid_norm)

    def driving(self, encoder: str, wid: np.ndarray) -> np.ndarray:
        """wid `[…, E]` of a word encoder as generation uses it: times the gain, and where scaled to one, bounded.

        A feature that is more than FARTHEST deviations from its mean is outside of what training clips, of 12 frames,
        show the decoder. In a long file a rare sound, exaggerated, goes further, and the mouth is torn.
        """
        wid = self.gains[encoder] * wid
        return wid.clip(-FARTHEST, FARTHEST) if self.wid_norm == "mean_variance" else wid

    def decode_and_field(self, person: Person, wid: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """As `decode`, and by how many pixels the photo was moved: float32 `[N, S, S, 2]`, None without a flow head."""
        forward = self._forwards["decode"]
        weights = self._weights("decoder")
        return self._each_batch(lambda part: forward(weights, person, part), wid)

    def redecode(self, photos: np.ndarray, wid: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """As `decode_and_field`, of aligned crops uint8 `[N, S, S, 3]`, each with its own wid `[N, E]`.

        Every crop is encoded on its own: each frame of a video is a photo.
        """
        self._check_size(photos)
        forward = self._forwards["redecode"]
        encoder, decoder = self._weights("person_encoder"), self._weights("decoder")
        return self._each_batch(lambda *part: forward(encoder, decoder, *part), photos, wid)

    def word_logits(self, wid: np.ndarray) -> np.ndarray:
        """wid `[B, 12, E]` of the word frames → logits `[B, words]`."""
        return self._in_batches("word_logits", "word_classifier", wid)

    def pid_from_frames(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """frames uint8 `[N, S, S, 3]` → pid `[N, E]` and the word adversary's map, average-pooled, `[N, 16·C]`.

        Both parts of the person space that probes read: the vector, and the map that the word adversary attacks.
        """
        self._check_size(frames)
        return self._in_batches("pid_from_frames", "person_encoder", frames)

    def _in_batches(self, name: str, network: str, values: np.ndarray) -> Any:
        forward, weights = self._forwards[name], self._weights(network)
        return self._each_batch(lambda part: forward(weights, part), values)


def load(
    path: str | Path | None = None,
    devices: Devices = "host",
    batch: int | None = None,
    audio_gain: float | None = None,
    video_gain: float | None = None,
) -> Talker:
    """Loads a trained model of any system. Every command and the Python API load through here.

    Args:
      path: a workdir, one checkpoint in it, or an exported folder; None is the demo model of the package.
      devices: which devices share every batch. "host", those of this host, is for generation, which any process of a
        job may do alone. "job", those of all processes, is for evaluation; all processes must then make the same
        calls. "one" is the first of this host.
      batch: as in `Talker`.
      audio_gain, video_gain: the factor of the word vectors of speech and of a driving video in generation; None keeps
        the one that is stored with the weights, or else 1.

    Raises:
      CheckpointError: there are no weights, or they are damaged.
      ConfigError: a gain is not a number above 0 or the system has none, or this version lacks the system.
    """
    gains = {"audio_gain": audio_gain, "video_gain": video_gain}
    for name, gain in gains.items():
        if gain is not None and not 0 < gain < math.inf:
            raise ConfigError(
                f"{name} {gain} is not above 0",
                "1 leaves the word vectors as they are",
                command_line=f"give --{name.replace('_', '-')} a number above 0; 1 leaves the word vectors as they are",
            )
    if path is None:
        log.warning("the demo model is used: small, 61 English words, few real voices (%s)", DEMO)
    config, params, batch_stats = checkpoint.load_weights(str(path or DEMO))
    given = {name: gain for name, gain in gains.items() if gain is not None}
    config.update(given)
    model = systems.part(config.model.system, "talker").TALKER.on(devices, config, params, batch_stats, batch)
    if given and not model.gains:
        raise ConfigError(f"{path}: weights of the system {config.model.system} have no gains", "leave them out")
    return model


@functools.lru_cache(maxsize=8)
def _forwards(model: FrozenConfigDict, mesh: Mesh | None) -> dict[str, Callable]:
    """The jitted forwards of a model configuration; cached, so that every validation reuses the compilation."""
    networks = models.build(model)

    def encode_person(weights, photo):
        photo = to_float(photo)[None]
        return photo, *networks["person_encoder"].apply(weights, photo, train=False)

    def wid_from_video(weights, frames):
        return networks["visual_encoder"].apply(weights, to_float(frames), train=False)

    def wid_from_audio(weights, audio):
        return networks["audio_encoder"].apply(weights, audio, train=False)

    def word_logits(weights, wid):
        return networks["word_classifier"].apply(weights, wid, train=False)

    def decoded(weights, *inputs):
        frames, found = networks["decoder"].apply(weights, *inputs, train=False, mutable=["intermediates"])
        return to_bytes(frames), found["intermediates"]["field"][0] if model.flow else None

    def decode(weights, person, wid):
        photo, pid, maps = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(wid), *x.shape[1:])), tuple(person))
        return decoded(weights, pid, wid, maps, photo)

    def redecode(encoder_weights, decoder_weights, photos, wid):
        photos = to_float(photos)
        pid, maps = networks["person_encoder"].apply(encoder_weights, photos, train=False)
        return decoded(decoder_weights, pid, wid, maps, photos)

    def pid_from_frames(weights, frames):
        pid, maps = networks["person_encoder"].apply(weights, to_float(frames), train=False)
        return pid, average_pool(maps[4], maps[4].shape[1] // POOLED).reshape(len(frames), -1)

    # Results are replicated, so that every process can fetch them.
    whole = {"out_shardings": sharding.replicated(mesh)} if mesh is not None else {}
    functions = (encode_person, wid_from_video, wid_from_audio, word_logits, decode, redecode, pid_from_frames)
    return {f.__name__: jax.jit(f, **whole) for f in functions}


def images_in_cache(model: ConfigDict) -> int:
    """How many images' largest maps, the decoder's before its last layers, have CACHED numbers together; 1 to 8."""
    return min(8, max(1, CACHED // (model.image_size**2 * scaled(64, model.width))))


TALKER = Davs

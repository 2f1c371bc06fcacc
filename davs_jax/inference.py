"""Trained models: how one is loaded, and its jitted forwards, in batches of one size so that each compiles once."""

import copy
import functools
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict, FrozenConfigDict

from davs_jax import checkpoint, models
from davs_jax.checkpoint.export import DEMO
from davs_jax.constants import FIRST_FRAME
from davs_jax.errors import ConfigError
from davs_jax.models import word_vectors
from davs_jax.models.layers import scaled
from davs_jax.parallel import sharding

NETWORKS = ("person_encoder", "visual_encoder", "audio_encoder", "decoder", "word_classifier")
GAINS = {"audio_encoder": "audio_gain", "visual_encoder": "video_gain"}  # by word encoder, the key in the configuration
BATCH = 32  # images per call and accelerator
CACHED = 1 << 22  # numbers: 16 MiB, at 256 px and width 1 one image. Alone it took 206 ms, as one of eight 240 ms
FARTHEST = 3.0  # deviations of a normalised word vector's feature from its mean, in generation
POOLED = 4  # side of the person map after pooling, in `pid_from_frames`

Devices = Literal["one", "host", "job"]

log = logging.getLogger(__name__)


class Person(NamedTuple):
    """What the decoder takes from one photo."""

    photo: jax.Array  # [1, S, S, 3], 0…1
    pid: jax.Array  # [1, E]
    maps: dict[int, jax.Array]  # {stride: [1, S/stride, S/stride, C]}


class Davs:
    """The forwards that generation, evaluation and validation share. Batch norms use their running statistics.

    Args:
      config: the run's configuration, of which `config.model` is used, and `audio_gain` and `video_gain` where present.
      params, batch_stats: by network, as `checkpoint.load_weights` returns them or as the training state holds them.
      mesh: every batch is sharded over it; params and batch_stats must lie on it already. None is one device.
      batch: images or windows per call and device; the last call is padded. The default is as many images as a CPU's
        cache holds, on accelerators BATCH. It does not depend on the number of devices, because compilers round the
        last bit of a result by the shape of the input.

    Images in and out are uint8 `[…, S, S, 3]`; vectors are float32. E is the length of pid and wid (256).

    Compilers may also round the last bit by a row's place in the batch. Two calls are bit-identical where every row has
    the same place in both; elsewhere vectors agree to float32 rounding, and images to one gray level.

    Attributes:
      batch: images or windows per call, on all devices together.
      gains: by word encoder, the factor of its wid in generation; the official system exaggerates the mouth this way.
        The encoders here return wid without it.
    """

    def __init__(
        self,
        config: ConfigDict,
        params: Mapping,
        batch_stats: Mapping,
        mesh: Mesh | None = None,
        batch: int | None = None,
    ):
        self.config = config
        self.image_size: int = config.model.image_size
        self.wid_norm: str = config.model.wid_norm
        self.gains: dict[str, float] = {name: config.get(key, 1.0) for name, key in GAINS.items()}
        share = batch or (images_in_cache(config.model) if jax.default_backend() == "cpu" else BATCH)
        self.batch = share * (mesh.size if mesh is not None else 1)
        self.mesh = mesh
        self._forwards = _forwards(FrozenConfigDict(config.model), mesh)
        variables = {
            name: {"params": params[name], "batch_stats": batch_stats.get(name, {})}
            for name in NETWORKS
            if name in params
        }
        self._variables = variables if mesh is not None else jax.device_put(variables)

    @classmethod
    def on(
        cls, devices: Devices, config: ConfigDict, params: Mapping, batch_stats: Mapping, batch: int | None = None
    ) -> "Davs":
        """The model with its weights copied to `devices`, over which every batch is divided; see `load`."""
        found = {"one": jax.local_devices()[:1], "host": jax.local_devices(), "job": jax.devices()}[devices]
        if len(found) == 1:
            return cls(config, params, batch_stats, batch=batch)
        mesh = sharding.make_mesh(ConfigDict({"data": -1, "fsdp": 1}), found)
        params, batch_stats = jax.device_put((dict(params), dict(batch_stats)), sharding.replicated(mesh))
        return cls(config, params, batch_stats, mesh, batch)

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks that these weights hold. A stage saves only those that it uses."""
        return tuple(self._variables)

    @property
    def word_frames(self) -> np.ndarray:
        """The frames of a clip that the word classifier reads: 2, 4, … 24 (start 0 of the official evaluation)."""
        return FIRST_FRAME + 2 * np.arange(self.config.model.word_frames)

    def has(self, *networks: str) -> bool:
        """Whether these weights hold the networks."""
        return all(name in self._variables for name in networks)

    def weights(self, *networks: str) -> dict[str, dict[str, Any]]:
        """`{"params": …, "batch_stats": …}` by network."""
        return {name: self._weights(name) for name in networks}

    def with_weights(self, weights: Mapping[str, Mapping]) -> "Davs":
        """The same model with other weights for these networks; shares its compiled forwards."""
        other = copy.copy(self)
        other._variables = self._variables | dict(weights)
        return other

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

    def wid_from_audio(self, mfcc: np.ndarray) -> np.ndarray:
        """MFCC windows of whole clips float32 `[…, T, 20, 12]` → wid `[…, T, E]`, `normalised`."""
        return self.normalised(self.raw_wid_from_audio(mfcc))

    def raw_wid_from_video(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 `[…, S, S, 3]` → wid `[…, E]` as the encoder returns it, for `normalised`."""
        self._check_size(frames)
        wid = self._in_batches("wid_from_video", "visual_encoder", frames.reshape(-1, *frames.shape[-3:]))
        return wid.reshape(*frames.shape[:-3], -1)

    def raw_wid_from_audio(self, mfcc: np.ndarray) -> np.ndarray:
        """MFCC windows float32 `[…, 20, 12]` → wid `[…, E]` as the encoder returns it, for `normalised`."""
        wid = self._in_batches("wid_from_audio", "audio_encoder", mfcc.reshape(-1, *mfcc.shape[-2:]))
        return wid.reshape(*mfcc.shape[:-2], -1)

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

    def decode(self, person: Person, wid: np.ndarray) -> np.ndarray:
        """One person and wid `[N, E]` → frames uint8 `[N, S, S, 3]`."""
        return self.decode_and_field(person, wid)[0]

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

    def _check_size(self, images: np.ndarray) -> None:
        expected = (self.image_size, self.image_size, 3)
        if images.shape[-3:] != expected:
            raise ValueError(f"the model takes images {expected}, got {tuple(images.shape)}")

    def _weights(self, network: str) -> dict[str, Any]:
        if network not in self._variables:
            raise KeyError(f"these weights have no {network}; they have {', '.join(self._variables)}")
        return self._variables[network]

    def _in_batches(self, name: str, network: str, values: np.ndarray) -> Any:
        forward, weights = self._forwards[name], self._weights(network)
        return self._each_batch(lambda part: forward(weights, part), values)

    def _each_batch(self, call: Callable, *values: np.ndarray) -> Any:
        """`call` on padded slices of equal size. All slices are dispatched before the first result is fetched."""
        results, count = [], len(values[0])
        for start in range(0, count, self.batch):
            parts = [v[start : start + self.batch] for v in values]
            missing = self.batch - len(parts[0])
            padded = [np.pad(part, [(0, missing)] + [(0, 0)] * (part.ndim - 1)) for part in parts]
            results.append(call(*map(self._place, padded)))
        return jax.tree.map(lambda *parts: np.concatenate([np.asarray(p) for p in parts])[:count], *results)

    def _place(self, values: np.ndarray) -> np.ndarray | jax.Array:
        if self.mesh is None:
            return values
        # Works in a job of many processes too, where each addresses its own share only.
        return jax.make_array_from_callback(
            values.shape, sharding.batch_sharding(self.mesh), lambda index: values[index]
        )


def load(
    path: str | Path | None = None,
    devices: Devices = "host",
    batch: int | None = None,
    audio_gain: float | None = None,
    video_gain: float | None = None,
) -> Davs:
    """Loads a trained model. Every command and the Python API load through here.

    Args:
      path: a workdir, one checkpoint in it, or an exported folder; None is the demo model of the package.
      devices: which devices share every batch. "host", those of this host, is for generation, which any process of a
        job may do alone. "job", those of all processes, is for evaluation; all processes must then make the same
        calls. "one" is the first of this host.
      batch: as in `Davs`.
      audio_gain, video_gain: the factor of the word vectors of speech and of a driving video in generation; None keeps
        the one that is stored with the weights, or else 1.

    Raises:
      CheckpointError: there are no weights, or they are damaged.
      ConfigError: a gain is not a number above 0.
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
        log.warning("the demo model is used; it has seen only synthetic faces, which speak ten words (%s)", DEMO)
    config, params, batch_stats = checkpoint.load_weights(str(path or DEMO))
    config.update({name: gain for name, gain in gains.items() if gain is not None})
    return Davs.on(devices, config, params, batch_stats, batch)


@functools.lru_cache(maxsize=8)
def _forwards(model: FrozenConfigDict, mesh: Mesh | None) -> dict[str, Callable]:
    """The jitted forwards of a model configuration; cached, so that every validation reuses the compilation."""
    networks = models.build(model)

    def encode_person(weights, photo):
        photo = _to_float(photo)[None]
        return photo, *networks["person_encoder"].apply(weights, photo, train=False)

    def wid_from_video(weights, frames):
        return networks["visual_encoder"].apply(weights, _to_float(frames), train=False)

    def wid_from_audio(weights, mfcc):
        return networks["audio_encoder"].apply(weights, mfcc, train=False)

    def word_logits(weights, wid):
        return networks["word_classifier"].apply(weights, wid, train=False)

    def decoded(weights, *inputs):
        frames, found = networks["decoder"].apply(weights, *inputs, train=False, mutable=["intermediates"])
        return _to_bytes(frames), found["intermediates"]["field"][0] if model.flow else None

    def decode(weights, person, wid):
        photo, pid, maps = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(wid), *x.shape[1:])), tuple(person))
        return decoded(weights, pid, wid, maps, photo)

    def redecode(encoder_weights, decoder_weights, photos, wid):
        photos = _to_float(photos)
        pid, maps = networks["person_encoder"].apply(encoder_weights, photos, train=False)
        return decoded(decoder_weights, pid, wid, maps, photos)

    def pid_from_frames(weights, frames):
        pid, maps = networks["person_encoder"].apply(weights, _to_float(frames), train=False)
        n, size, _, channels = maps[4].shape
        pooled = maps[4].reshape(n, POOLED, size // POOLED, POOLED, size // POOLED, channels).mean((2, 4))
        return pid, pooled.reshape(n, -1)

    # Results are replicated, so that every process can fetch them.
    whole = {"out_shardings": sharding.replicated(mesh)} if mesh is not None else {}
    functions = (encode_person, wid_from_video, wid_from_audio, word_logits, decode, redecode, pid_from_frames)
    return {f.__name__: jax.jit(f, **whole) for f in functions}


def images_in_cache(model: ConfigDict) -> int:
    """How many images' largest maps, the decoder's before its last layers, have CACHED numbers together; 1 to 8."""
    return min(8, max(1, CACHED // (model.image_size**2 * scaled(64, model.width))))


def _to_float(images: jax.Array) -> jax.Array:
    return images.astype(jnp.float32) / 255


def _to_bytes(images: jax.Array) -> jax.Array:
    return jnp.round(jnp.clip(images, 0, 1) * 255).astype(jnp.uint8)

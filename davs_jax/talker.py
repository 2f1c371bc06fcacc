"""A trained talking-face system: what generation and evaluation need of it, whichever system it is."""

import abc
import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from davs_jax import systems
from davs_jax.constants import FIRST_FRAME
from davs_jax.parallel import sharding

BATCH = 32  # images per call and accelerator
CPU_BATCH = 8  # images per call of a CPU

Devices = Literal["one", "host", "job"]


class Talker(abc.ABC):
    """Makes frames of a photo and what drives the mouth. Batch norms use their running statistics.

    Args:
      config: the run's configuration, of which `config.model` is used, and `audio_gain` and `video_gain` where present.
      params, batch_stats: by network, as `checkpoint.load_weights` returns them or as the training state holds them.
      mesh: every batch is sharded over it; params and batch_stats must lie on it already. None is one device.
      batch: images or windows per call and device; the last call is padded. It does not depend on the number of
        devices, because compilers round the last bit of a result by the shape of the input.

    Images in and out are uint8 `[…, S, S, 3]`; vectors are float32. A frame's **wid** is what drives its mouth: of DAVS
    the word vector, of another system whatever its speech encoder makes of that frame's audio.

    Compilers may also round the last bit by a row's place in the batch. Two calls are bit-identical where every row has
    the same place in both; elsewhere vectors agree to float32 rounding, and images to one gray level.

    Attributes:
      NETWORKS: the networks that it uses of a run's.
      batch: images or windows per call, on all devices together.
      gains: by encoder, the factor of its wid in generation; see `driving`.
      over_time: a frame's wid depends on the other frames of its file, which are all encoded before the first frame is
        made; see `normalised`.
      wid_norm: how wid is normalised over the frames of a file, a kind of `models.word_vectors`.
    """

    NETWORKS: ClassVar[tuple[str, ...]]
    over_time: bool = False
    wid_norm: str = "none"

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
        self.gains: dict[str, float] = {}
        self.batch = (batch or self.default_batch(config.model)) * (mesh.size if mesh is not None else 1)
        self.mesh = mesh
        self._examples = systems.part(config.model.system, "examples")
        variables = {
            name: {"params": params[name], "batch_stats": batch_stats.get(name, {})}
            for name in self.NETWORKS
            if name in params
        }
        self._variables = variables if mesh is not None else jax.device_put(variables)

    @classmethod
    def on(
        cls, devices: Devices, config: ConfigDict, params: Mapping, batch_stats: Mapping, batch: int | None = None
    ) -> "Talker":
        """The model with its weights copied to `devices`, over which every batch is divided; see `inference.load`."""
        found = {"one": jax.local_devices()[:1], "host": jax.local_devices(), "job": jax.devices()}[devices]
        if len(found) == 1:
            return cls(config, params, batch_stats, batch=batch)
        mesh = sharding.make_mesh(ConfigDict({"data": -1, "fsdp": 1}), found)
        params, batch_stats = jax.device_put((dict(params), dict(batch_stats)), sharding.replicated(mesh))
        return cls(config, params, batch_stats, mesh, batch)

    @staticmethod
    def default_batch(model: ConfigDict) -> int:
        """Images per call and device."""
        return CPU_BATCH if jax.default_backend() == "cpu" else BATCH

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks that these weights hold. A stage saves only those that it uses."""
        return tuple(self._variables)

    @property
    def word_frames(self) -> np.ndarray:
        """The frames of a clip that DAVS's word classifier reads: 2, 4, … 24 (start 0 of the official evaluation)."""
        return FIRST_FRAME + 2 * np.arange(self.config.model.word_frames)

    def has(self, *networks: str) -> bool:
        """Whether these weights hold the networks."""
        return all(name in self._variables for name in networks)

    @staticmethod
    @abc.abstractmethod
    def needs(encoder: str) -> tuple[str, ...]:
        """The networks that generate frames from speech (`audio_encoder`) or from a video (`visual_encoder`); empty
        where the system does not."""

    def missing(self, encoder: str) -> str:
        """Why these weights cannot generate from this driver, in words; "" where they can."""
        needed = self.needs(encoder)
        if not needed:
            return f"{self.config.model.system} generates from speech only"
        lacking = [name for name in needed if not self.has(name)]
        return f"the weights have no {lacking[0]}" if lacking else ""

    def weights(self, *networks: str) -> dict[str, dict[str, Any]]:
        """`{"params": …, "batch_stats": …}` by network."""
        return {name: self._weights(name) for name in networks}

    def with_weights(self, weights: Mapping[str, Mapping]) -> "Talker":
        """The same model with other weights for these networks; shares its compiled forwards."""
        other = copy.copy(self)
        other._variables = self._variables | dict(weights)
        return other

    def clip_audio(self, record: Mapping) -> np.ndarray:
        """What the encoder of speech reads for each frame of a record, `[T, …]`.

        Raises:
          DataError: the record lacks what this system needs.
        """
        return self._examples.clip_audio(record)

    def stream_audio(self, blocks: Iterable[np.ndarray], fps: int) -> Iterator[np.ndarray]:
        """The same of consecutive blocks of audio `[N]`, mono, 16 kHz: yields `[n, …]` as soon as they are known."""
        return self._examples.stream_audio(blocks, fps)

    @abc.abstractmethod
    def encode_person(self, photo: np.ndarray) -> Any:
        """photo uint8 `[S, S, 3]`, an aligned crop → what `decode` takes; called once per photo.

        Raises:
          ValueError: the photo is not of the model's size.
        """

    @abc.abstractmethod
    def raw_wid_from_audio(self, audio: np.ndarray) -> np.ndarray:
        """`[…, T, …]`, as `clip_audio` and `stream_audio` give it → wid `[…, T, E]`, for `normalised`."""

    @abc.abstractmethod
    def decode_and_field(self, person: Any, wid: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """One person and wid `[N, E]` of consecutive frames → frames uint8 `[N, S, S, 3]`, and the field by which the
        photo was moved: float32 `[N, S, S, 2]`, how many pixels to the right and down of itself each pixel was taken
        from (a lip that sinks has a negative second number); None where the system does not say."""

    @abc.abstractmethod
    def redecode(self, photos: np.ndarray, wid: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """As `decode_and_field`, of aligned crops uint8 `[N, S, S, 3]`, each with its own wid `[N, E]`.

        Every crop is encoded on its own: each frame of a video is a photo.
        """

    def wid_from_audio(self, audio: np.ndarray) -> np.ndarray:
        """Inputs of whole clips `[…, T, …]` → wid `[…, T, E]`, `normalised`."""
        return self.normalised(self.raw_wid_from_audio(audio))

    def normalised(self, wid: np.ndarray) -> np.ndarray:
        """wid `[…, T, E]` of all frames of a clip or a file, from what `raw_wid_from_audio` gives for each."""
        return wid

    def pace(self, motion: Callable[[int], np.ndarray], paused: np.ndarray) -> np.ndarray | None:
        """Which frame of a video each moment of speech is put into.

        Args:
          motion: from a number M, how much the head moves at each of the video's first M frames, `[M]`; a shorter video
            runs back and forth.
          paused: bool `[N]`, where the speech pauses.

        Returns:
          int `[N]`, indices that never fall; None is one frame after the other.
        """
        return None

    def driving(self, encoder: str, wid: np.ndarray) -> np.ndarray:
        """wid `[…, E]` of an encoder as generation uses it."""
        return wid

    def decode(self, person: Any, wid: np.ndarray) -> np.ndarray:
        """One person and wid `[N, E]` → frames uint8 `[N, S, S, 3]`."""
        return self.decode_and_field(person, wid)[0]

    def _check_size(self, images: np.ndarray) -> None:
        expected = (self.image_size, self.image_size, 3)
        if images.shape[-3:] != expected:
            raise ValueError(f"the model takes images {expected}, got {tuple(images.shape)}")

    def _weights(self, network: str) -> dict[str, Any]:
        if network not in self._variables:
            raise KeyError(f"these weights have no {network}; they have {', '.join(self._variables)}")
        return self._variables[network]

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


def to_float(images: jax.Array) -> jax.Array:
    """uint8 → float32 in 0…1."""
    return images.astype(jnp.float32) / 255


def to_bytes(images: jax.Array) -> jax.Array:
    """0…1 → uint8."""
    return jnp.round(jnp.clip(images, 0, 1) * 255).astype(jnp.uint8)

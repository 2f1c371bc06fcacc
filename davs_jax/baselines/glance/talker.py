"""A trained "at a Glance": the photo with the generated lips in their place."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict, FrozenConfigDict

from davs_jax import models
from davs_jax.baselines.glance.networks import FILTERS, FRAMES, lips_size
from davs_jax.baselines.mouth_region import mouth_region, opacity
from davs_jax.parallel import sharding
from davs_jax.talker import Talker, to_bytes, to_float

FEATHER = 1 / 8  # of the lip region's side: where the generated lips fade into the photo


class Glance(Talker):
    """16 frames at once, of the lips in the photo (of a video, in the first of the 16). A frame's wid is its audio."""

    NETWORKS = ("lip_generator",)

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._generate = _forward(FrozenConfigDict(self.config.model), self.mesh)
        self._opacity = opacity(lips_size(self.image_size), FEATHER).astype(np.float32)

    @staticmethod
    def default_batch(model: ConfigDict) -> int:
        return FRAMES

    @staticmethod
    def needs(encoder: str) -> tuple[str, ...]:
        return Glance.NETWORKS if encoder == "audio_encoder" else ()

    def encode_person(self, photo: np.ndarray) -> np.ndarray:
        self._check_size(photo)
        return photo

    def raw_wid_from_audio(self, audio: np.ndarray) -> np.ndarray:
        return audio.reshape(*audio.shape[:-2], -1)

    def decode_and_field(self, person: np.ndarray, wid: np.ndarray) -> tuple[np.ndarray, None]:
        return self.redecode(np.broadcast_to(person, (len(wid), *person.shape)), wid)

    def redecode(self, photos: np.ndarray, wid: np.ndarray) -> tuple[np.ndarray, None]:
        self._check_size(photos)
        made = np.array(photos)
        for start in range(0, len(wid), FRAMES):
            start = max(0, min(start, len(wid) - FRAMES))  # the last group is the last 16 frames
            audio, group = wid[start : start + FRAMES], np.array(photos[start : start + FRAMES])
            whole = np.concatenate([audio, np.repeat(audio[-1:], FRAMES - len(audio), 0)]).reshape(1, -1, FILTERS)
            generated = self._generate(self._weights("lip_generator"), mouth_region(photos[start])[None], whole)
            place = mouth_region(group)
            mixed = place + self._opacity * (np.asarray(generated)[: len(audio)].astype(np.float32) - place)
            place[:] = np.rint(mixed).astype(np.uint8)
            made[start : start + FRAMES] = group
        return made, None


@functools.lru_cache(maxsize=8)
def _forward(model: FrozenConfigDict, mesh: Mesh | None) -> Callable:
    """(weights, lips uint8 `[1, h, h, 3]`, audio `[1, 64, 128]`) → frames uint8 `[16, h, h, 3]`, jitted."""
    generator = models.build(model)["lip_generator"]

    def generate(weights, photo, audio):
        frames, _ = generator.apply(weights, to_float(photo), audio, train=False)
        return to_bytes(frames[0])

    # Results are replicated, so that every process can fetch them.
    return jax.jit(generate, **({"out_shardings": sharding.replicated(mesh)} if mesh is not None else {}))


TALKER = Glance

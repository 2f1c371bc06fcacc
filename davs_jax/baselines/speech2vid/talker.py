"""A trained Speech2Vid: frames of a photo and speech."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import FrozenConfigDict

from davs_jax import models
from davs_jax.parallel import sharding
from davs_jax.talker import Talker, to_bytes, to_float

FACE = ("identity_encoder", "speech_encoder", "face_decoder")


class Speech2Vid(Talker):
    """Generates with the sharpening network where the weights have it. A single photo stands for all stills."""

    NETWORKS = (*FACE, "deblurring")

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._forwards = _forwards(FrozenConfigDict(self.config.model), self.mesh, self.has("deblurring"))

    @staticmethod
    def needs(encoder: str) -> tuple[str, ...]:
        return FACE if encoder == "audio_encoder" else ()

    def encode_person(self, photo: np.ndarray) -> tuple[jax.Array, dict[str, jax.Array]]:
        self._check_size(photo)
        return self._forwards["encode_person"](self._weights("identity_encoder"), photo[None])

    def raw_wid_from_audio(self, audio: np.ndarray) -> np.ndarray:
        forward, weights = self._forwards["wid_from_audio"], self._weights("speech_encoder")
        wid = self._each_batch(lambda part: forward(weights, part), audio.reshape(-1, *audio.shape[-2:]))
        return wid.reshape(*audio.shape[:-2], -1)

    def decode_and_field(self, person, wid: np.ndarray) -> tuple[np.ndarray, None]:
        forward, weights = self._forwards["decode"], self.weights(*self.networks)
        return self._each_batch(lambda part: forward(weights, person, part), wid), None

    def redecode(self, photos: np.ndarray, wid: np.ndarray) -> tuple[np.ndarray, None]:
        self._check_size(photos)
        forward, weights = self._forwards["redecode"], self.weights(*self.networks)
        return self._each_batch(lambda *part: forward(weights, *part), photos, wid), None


@functools.lru_cache(maxsize=8)
def _forwards(model: FrozenConfigDict, mesh: Mesh | None, sharpen: bool) -> dict[str, Callable]:
    """The jitted forwards of a model configuration."""
    networks = models.build(model)

    def encode_person(weights, photos):
        stills = jnp.tile(to_float(photos), (1, 1, 1, model.stills))
        return networks["identity_encoder"].apply(weights, stills, train=False)

    def wid_from_audio(weights, mfcc):
        return networks["speech_encoder"].apply(weights, mfcc, train=False)

    def decode(weights, person, wid):
        identity, maps = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(wid), *x.shape[1:])), person)
        image = jnp.zeros((len(wid), model.image_size, model.image_size, 3))
        frames = networks["face_decoder"].apply(weights["face_decoder"], identity, wid, maps, image, train=False)
        if sharpen:
            frames = frames + networks["deblurring"].apply(weights["deblurring"], frames, train=False)
        return to_bytes(frames)

    def redecode(weights, photos, wid):
        return decode(weights, encode_person(weights["identity_encoder"], photos), wid)

    # Results are replicated, so that every process can fetch them.
    whole = {"out_shardings": sharding.replicated(mesh)} if mesh is not None else {}
    return {f.__name__: jax.jit(f, **whole) for f in (encode_person, wid_from_audio, decode, redecode)}


TALKER = Speech2Vid

"""The fitted person: mouth textures of the footage in the place of the target's mouths."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from ml_collections import FrozenConfigDict

from davs_jax import models
from davs_jax.baselines.mouth_region import mouth_region
from davs_jax.baselines.one_subject import retiming, texture
from davs_jax.talker import Talker


class OneSubject(Talker):
    """A frame's wid is its mouth shape `[K]`; the recurrent network reads a whole recording before the first."""

    NETWORKS = ("mouth_rnn", "footage")
    over_time = True

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._rnn = _forward(FrozenConfigDict(self.config.model))
        if self.has("footage"):
            known = {name: np.asarray(leaf) for name, leaf in self._weights("footage")["params"].items()}
            self._mean, self._basis, self._shapes = (known[name] for name in ("mean", "basis", "shapes"))
            self._faces = np.rint(known["faces"]).astype(np.uint8)
            self._proxy = texture.detail(self._faces[int(known["proxy"])])

    @staticmethod
    def needs(encoder: str) -> tuple[str, ...]:
        return OneSubject.NETWORKS if encoder == "audio_encoder" else ()

    def encode_person(self, photo: np.ndarray) -> np.ndarray:
        self._check_size(photo)
        return photo

    def raw_wid_from_audio(self, audio: np.ndarray) -> np.ndarray:
        return audio.reshape(*audio.shape[:-2], -1)

    def normalised(self, wid: np.ndarray) -> np.ndarray:
        """The MFCC of all frames of recordings, `[…, T, 48]` → mouth shapes `[…, T, K]`."""
        mfcc = wid.reshape(-1, wid.shape[-2], 4, wid.shape[-1] // 4)
        shapes = np.concatenate([np.asarray(self._rnn(self._weights("mouth_rnn"), each[None])) for each in mfcc])
        return shapes.reshape(*wid.shape[:-1], -1)

    def decode_and_field(self, person: np.ndarray, wid: np.ndarray) -> tuple[np.ndarray, None]:
        return self.redecode(np.broadcast_to(person, (len(wid), *person.shape)), wid)

    def redecode(self, photos: np.ndarray, wid: np.ndarray) -> tuple[np.ndarray, None]:
        self._check_size(photos)
        made = np.array(photos)
        for frame, shape in zip(made, wid, strict=True):
            region = mouth_region(frame)
            region[:] = texture.blended(region, self.mouth(shape))
        return made, None

    def mouth(self, shape: np.ndarray) -> np.ndarray:
        """The texture of a mouth shape `[K]`, float32 `[S/2, S/2, 3]` in 0…255."""
        chosen, weights = texture.nearest(shape, self._shapes)
        median = texture.weighted_median(self._faces[chosen], weights).astype(np.float32)
        scale = np.square(self._basis).sum(0)  # the basis is orthogonal, not of length 1
        lips = (self._mean + (shape / np.maximum(scale, 1e-12)) @ self._basis.T).reshape(-1, 2)
        return median + texture.teeth(median, texture.in_region(lips, len(median))) * self._proxy

    def pace(self, motion: Callable[[int], np.ndarray], paused: np.ndarray) -> np.ndarray:
        """It rests in the pauses."""
        return retiming.pace(motion(len(paused) + retiming.REACH), paused)


@functools.lru_cache(maxsize=8)
def _forward(model: FrozenConfigDict) -> Callable:
    """(weights, MFCC `[B, T, 4, 12]`) → mouth shapes `[B, T, K]`, jitted."""
    network = models.build(model)["mouth_rnn"]
    return jax.jit(lambda weights, mfcc: network.apply(weights, mfcc, train=False))


TALKER = OneSubject

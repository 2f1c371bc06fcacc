"""Fits the networks to one photo before generation, as the official demo does; see docs/generation.md."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import FrozenConfigDict

from davs_jax import models
from davs_jax.display.progress import progress
from davs_jax.face_geometry import mouth_box
from davs_jax.generate.drivers import Driver
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.talk import Source
from davs_jax.media.photo import Photo
from davs_jax.talker import Talker

OFFICIAL_STEPS = 5
LEARNING_RATE = 2e-4
MOUTH_WEIGHT = 0.001  # of the mouth's pixels in the loss: the word vector determines the mouth, not the photo
FITTED = ("person_encoder", "decoder")


def default_steps(model: Talker) -> int:
    """The default number of steps: five for official weights, none for ours."""
    return OFFICIAL_STEPS if _official(model) else 0


def adapt(model: Talker, source: Source, driver: Driver, steps: int) -> tuple[Talker, float, float]:
    """Fits the person encoder and the decoder to a photo (of a video, its first frame).

    Each step generates the photo with one word vector, and takes a first step of Adam (±2·10⁻⁴ for nearly every weight)
    on 4·L1 between the two outside the mouth. The vectors are those of the audio's first windows, one per step; of a
    driving video or live speech, the photo's own. Official weights are fitted in training mode, as in the demo: batch
    norms use the photo's statistics, and running statistics move towards them. Our weights keep their running
    statistics, because at 64 px some norms of a single image have one number to normalise.

    Args:
      steps: above 0.

    Returns:
      a model with its own weights (those of `model` stay unchanged), and the mean absolute difference between the
      generated and the given photo outside the mouth, of 255, before and after.

    Raises:
      GenerationError: the system has other networks than those that are fitted.
    """
    if not model.has(*FITTED):
        raise GenerationError("these weights cannot be fitted to a photo", "leave out --adapt-steps")
    photo = source.crop if isinstance(source, Photo) else source.first.crop
    wid = _words(model, photo, driver, steps)
    step = _step(FrozenConfigDict(model.config.model), _official(model))
    weights = model.weights(*FITTED)
    for word in progress(wid, desc="fitting to the photo", unit="step", leave=False):
        weights = jax.block_until_ready(step(weights, photo, word))
    adapted = model.with_weights(weights)
    first = model.driving(driver.network, wid[:1])
    before, after = (_difference(photo, m.decode(m.encode_person(photo), first)[0]) for m in (model, adapted))
    return adapted, before, after


def _words(model: Talker, photo: np.ndarray, driver: Driver, steps: int) -> np.ndarray:
    """wid `[steps, E]`."""
    if driver.network == "audio_encoder" and not driver.live:
        found = np.concatenate(list(itertools.islice(driver.wid(model), 1)))[:steps]
    else:
        found = model.wid_from_video(photo[None])
    return found[np.arange(steps) % len(found)]


def _official(model: Talker) -> bool:
    return "origin" in model.config  # written by `import_official`; a run's configuration has none


def _mask(size: int) -> np.ndarray:
    mask = np.ones((size, size, 1), np.float32)
    mask[mouth_box(size)] = MOUTH_WEIGHT
    return mask


def _difference(photo: np.ndarray, generated: np.ndarray) -> float:
    outside = _mask(len(photo))[..., 0] == 1
    return float(np.abs(photo.astype(np.float32) - generated)[outside].mean())


@functools.lru_cache(maxsize=4)
def _step(config: FrozenConfigDict, train: bool):
    """One jitted step: weights by network, photo uint8 `[S, S, 3]`, wid `[E]` → weights."""
    networks, adam, mask = models.build(config), optax.adam(LEARNING_RATE), _mask(config.image_size)
    mutable = ["batch_stats"] if train else []

    def loss(params, stats, photo, wid):
        def apply(name, *inputs):
            variables = {"params": params[name], "batch_stats": stats[name]}
            outputs, updates = networks[name].apply(variables, *inputs, train=train, mutable=mutable)
            return outputs, updates.get("batch_stats", stats[name])

        (pid, maps), encoder_stats = apply("person_encoder", photo)
        generated, decoder_stats = apply("decoder", pid, wid, maps, photo)
        difference = 4 * jnp.mean(255 * jnp.abs(generated - photo) * mask)
        return difference, {"person_encoder": encoder_stats, "decoder": decoder_stats}

    @jax.jit
    def step(weights, photo, word):
        params, stats = ({name: weights[name][part] for name in FITTED} for part in ("params", "batch_stats"))
        photo = (photo.astype(jnp.float32) / 255)[None]
        gradient, stats = jax.grad(loss, has_aux=True)(params, stats, photo, word[None])
        updates, _ = adam.update(gradient, adam.init(params))  # a new Adam for every step, as in the demo
        params = optax.apply_updates(params, updates)
        return {name: {"params": params[name], "batch_stats": stats[name]} for name in FITTED}

    return step

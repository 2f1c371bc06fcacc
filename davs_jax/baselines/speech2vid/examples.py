"""Speech2Vid's examples: stills of a clip, some of its other frames, and the MFCC around them."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from davs_jax.baselines.speech2vid.networks import COLUMNS
from davs_jax.constants import CLIP_FRAMES
from davs_jax.data.examples import View, audio_windows
from davs_jax.data.sources import text
from davs_jax.media.audio import Window, cepstrum, stream_windows

FILTERS = 40
# Centred on the frame: its own four columns are the middle ones. The demo's audio has a second of silence in front, and
# does not show where in its window the frame lies.
WINDOW = Window(COLUMNS, 15, functools.partial(cepstrum, filters=FILTERS))


def clip_example(record: dict, rng: np.random.Generator, config, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Makes one clip's entries of a training batch.

    Returns:
      with T = `config.model.sequence_frames` and K = `config.model.stills`, those of `frames` uint8 `[T, S, S, 3]`, any
      frames of the clip, `speech` float32 `[T, 35, 12]`, their MFCC, and `stills` uint8 `[K, S, S, 3]`, any others of
      its frames, that are in `keys`.

    Raises:
      DataError: a frame is damaged, or the audio is shorter than the frames.
    """
    name, model = f"clip {text(record['clip_id'])}", config.model
    view = View.random(rng, model.image_size, config.data)
    chosen = rng.permutation(CLIP_FRAMES)[: model.sequence_frames + model.stills]
    wanted = {"frames": chosen[: model.sequence_frames], "stills": chosen[model.sequence_frames :]}
    example = {
        key: np.stack([view(record["frames"][t], f"{name}, frame {t},") for t in at])
        for key, at in wanted.items()
        if key in keys
    }
    if "speech" in keys:
        example["speech"] = clip_audio(record)[wanted["frames"]]
    return example


def clip_audio(record: Mapping) -> np.ndarray:
    """The MFCC windows of a clip's frames, float32 `[29, 35, 12]`."""
    return audio_windows(record, WINDOW)


def stream_audio(blocks: Iterable[np.ndarray], fps: int) -> Iterator[np.ndarray]:
    """The same of streamed audio."""
    return stream_windows(blocks, fps, WINDOW)

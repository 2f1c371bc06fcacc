"""Examples of "at a Glance": 16 frames of the lips, one of any other moment, and the log-mel audio of the 16."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from davs_jax.baselines.glance.networks import COLUMNS, FILTERS, FRAMES
from davs_jax.baselines.mouth_region import mouth_region
from davs_jax.constants import CLIP_FRAMES, SAMPLE_RATE
from davs_jax.data.examples import View, audio_windows
from davs_jax.data.sources import text
from davs_jax.media.audio import Window, log_mel, stream_windows

# The frame's own 40 ms; a floor of one unit of int16, since the lowest filters hold no frequency of the spectrum.
WINDOW = Window(COLUMNS, 0, functools.partial(log_mel, filters=FILTERS, lowest=0, highest=SAMPLE_RATE // 2, floor=1.0))


def clip_example(record: dict, rng: np.random.Generator, config, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Makes one clip's entries of a training batch.

    Returns:
      those of `frames` uint8 `[16, h, h, 3]`, consecutive lips, `photo` uint8 `[h, h, 3]`, those of any frame, and
      `speech` float32 `[64, 128]`, the audio of the 16 frames, that are in `keys`.

    Raises:
      DataError: a frame is damaged, or the audio is shorter than the frames.
    """
    name = f"clip {text(record['clip_id'])}"
    view = View.random(rng, config.model.image_size, config.data)
    start, other = int(rng.integers(CLIP_FRAMES - FRAMES + 1)), int(rng.integers(CLIP_FRAMES))

    def read(t: int) -> np.ndarray:
        return mouth_region(view(record["frames"][t], f"{name}, frame {t},"))

    example = {"frames": np.stack([read(t) for t in range(start, start + FRAMES)])}
    if "photo" in keys:
        example["photo"] = read(other)
    if "speech" in keys:
        example["speech"] = clip_audio(record)[start : start + FRAMES].reshape(-1, FILTERS)
    return example


def clip_audio(record: Mapping) -> np.ndarray:
    """The log-mel spectrum of each of a clip's frames, float32 `[29, 4, 128]`."""
    return audio_windows(record, WINDOW)


def stream_audio(blocks: Iterable[np.ndarray], fps: int) -> Iterator[np.ndarray]:
    """The same of streamed audio."""
    return stream_windows(blocks, fps, WINDOW)

"""Examples of the one-subject mode: a clip's MFCC, and the lip points of its frames."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from davs_jax.constants import CLIP_FRAMES, MFCC_PER_FRAME
from davs_jax.data.examples import View, audio_windows
from davs_jax.data.sources import text
from davs_jax.media.audio import Window, cepstrum, stream_windows
from davs_jax.media.faces.mesh import lips

WINDOW = Window(MFCC_PER_FRAME, 0, cepstrum)  # the frame's own 40 ms
_found: dict[tuple[str, int], np.ndarray] = {}  # by clip and image size: 4 kB each


def clip_example(record: dict, rng: np.random.Generator, config, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Makes one clip's entries of a training batch; no augmentation, since the bank's frames have none.

    Returns:
      `speech` float32 `[29, 4, 12]` and `lips` float32 `[29, 18, 2]`, in sides of the image.

    Raises:
      DataError: a frame is damaged, or the audio is shorter than the frames.
      DetectorError: the weights of FaceMesh are not installed.
    """
    frames = record["frames"][:CLIP_FRAMES]
    points = lip_points(text(record["clip_id"]), config.model.image_size, frames)
    return {"speech": clip_audio(record), "lips": points}


def lip_points(clip: str, image_size: int, frames: Sequence[bytes]) -> np.ndarray:
    """The lips of a clip's frames, float32 `[29, 18, 2]`, in sides of the image; found once for each clip's id."""
    if (clip, image_size) not in _found:
        view = View.central(image_size)
        images = [view(jpeg, f"clip {clip}, frame {t},") for t, jpeg in enumerate(frames)]
        _found[clip, image_size] = np.stack([lips(image) / image_size for image in images]).astype(np.float32)
    return _found[clip, image_size]


def clip_audio(record: Mapping) -> np.ndarray:
    """The MFCC of each of a clip's frames, float32 `[29, 4, 12]`."""
    return audio_windows(record, WINDOW)


def stream_audio(blocks: Iterable[np.ndarray], fps: int) -> Iterator[np.ndarray]:
    """The same of streamed audio."""
    return stream_windows(blocks, fps, WINDOW)

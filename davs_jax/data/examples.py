"""DAVS's examples of records: windows in time, and one augmentation for all images of a clip."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import cv2
import numpy as np

from davs_jax import constants
from davs_jax.data.sources import REMAKE, decode, text
from davs_jax.errors import DataError
from davs_jax.face_geometry import stored_size
from davs_jax.media.audio import WINDOWS, Window, stream_windows, syncnet_features, windows
from davs_jax.models import syncnet


@dataclasses.dataclass(frozen=True)
class View:
    """The augmentation that all frames of one clip, or one identity image, share.

    Attributes:
      flip: whether images are mirrored.
      top, left: offset of the crop in the stored image, pixels.
      size: S, side of the crop, pixels.
      colors: uint8 `[1, 256, 3]`, look-up table of pixel values; None changes nothing.
    """

    flip: bool
    top: int
    left: int
    size: int
    colors: np.ndarray | None

    @classmethod
    def central(cls, size: int) -> "View":
        """The central crop of `size` pixels, without augmentation, as evaluation uses it."""
        margin = stored_size(size) - size
        return cls(False, margin // 2, margin // 2, size, None)

    @classmethod
    def random(cls, rng: np.random.Generator, size: int, data) -> "View":
        """A random view of `size` pixels, as `config.data` allows.

        Disabled options consume their random numbers too, so that an option does not change the others' values.
        """
        margin = stored_size(size) - size
        flip, (top, left) = rng.random() < 0.5, rng.integers(margin + 1, size=2)
        brightness, contrast, *tint = 1 + data.color_jitter * rng.uniform(-1, 1, 5)
        colors = None
        if data.color_jitter:
            levels = ((np.arange(256)[:, None] - 128) * contrast + 128) * brightness * np.array(tint)
            colors = np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None]
        if not data.crop:
            top = left = margin // 2
        return cls(bool(flip and data.flip), int(top), int(left), size, colors)

    def __call__(self, jpeg: bytes, name: str) -> np.ndarray:
        """Decodes one JPEG and applies this view: uint8 RGB `[S, S, 3]`, not necessarily contiguous.

        Raises:
          DataError: the image, `name`, is damaged.
        """
        image = decode(jpeg, name)[self.top : self.top + self.size, self.left : self.left + self.size]
        image = cv2.flip(image, 1) if self.flip else image  # numpy mirrors pixel by pixel, forty times slower
        return image if self.colors is None else cv2.LUT(image, self.colors)


def clip_example(record: dict, rng: np.random.Generator, config, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Makes one clip's entries of a training batch.

    Windows in time are chosen as in the official code: every second frame, beginning at frame 2 or 3, for the word
    encoders; a run of these to be generated; any frame (or one nearby) as the identity; consecutive frames for the
    word adversary.

    Args:
      record: fields of `records.clip_features`.
      rng: of this example only.
      config: of the run.
      keys: of a training batch; only the frames that they need are decoded.

    Returns:
      with W = `config.model.word_frames` and A = `config.model.adversary_frames`, those of

      * `frames` uint8 `[W, S, S, 3]`, `speech` float32 `[W, 20, C]` (`clip_audio`), `word` int32, −1 where unknown
      * `generate_start` int32, index in `frames` at which the generated run begins
      * `identity_frame` uint8 `[S, S, 3]`, `adversary_frames` uint8 `[A, S, S, 3]`
      * `sync_frames` uint8 `[28, S, S, 3]`, `sync_mfcc` float32 `[24, 20, 13]`
      * `expert_start` int32, a window of SyncNet, `expert_speech` float32 `[5, 20, C]`, of its frames

      that are in `keys`.

    Raises:
      DataError: a frame is damaged.
    """
    name, model = f"clip {text(record['clip_id'])}", config.model
    start = constants.FIRST_FRAME + int(rng.integers(2))
    generate_start = rng.integers(model.word_frames - model.sequence_frames + 1)
    identity = int(rng.integers(constants.CLIP_FRAMES))
    if within := config.data.photo_within:
        first = start + 2 * int(generate_start)
        last = first + 2 * (model.sequence_frames - 1)
        near = range(max(first - within, 0), min(last + within + 1, constants.CLIP_FRAMES))
        identity = near[identity * len(near) // constants.CLIP_FRAMES]
    # The official code never chooses the last possible start.
    adversary = constants.FIRST_FRAME + int(rng.integers(max(constants.USED_FRAMES - model.adversary_frames, 1)))
    view = View.random(rng, model.image_size, config.data)
    expert = int(rng.integers(syncnet.CLIP_WINDOWS))

    spoken = list(range(start, start + 2 * model.word_frames, 2))
    wanted = {
        "frames": spoken,
        "identity_frame": [identity],
        "adversary_frames": list(range(adversary, adversary + model.adversary_frames)),
        "sync_frames": list(range(syncnet.CLIP_WINDOWS + syncnet.FRAMES - 1)),
    }
    wanted = {key: frames for key, frames in wanted.items() if key in keys}
    needed = sorted({t for frames in wanted.values() for t in frames})  # windows overlap: each frame is decoded once
    images = {t: view(record["frames"][t], f"{name}, frame {t},") for t in needed}

    example = {key: np.stack([images[t] for t in frames]) for key, frames in wanted.items()}
    if "identity_frame" in example:
        example["identity_frame"] = example["identity_frame"][0]
    if "sync_mfcc" in keys:
        columns = syncnet_features.mfcc(record["audio"]).astype(np.float32)
        starts = constants.MFCC_PER_FRAME * np.arange(syncnet.CLIP_WINDOWS)
        example["sync_mfcc"] = columns[starts[:, None] + np.arange(syncnet.COLUMNS)]
    example["expert_start"] = np.int32(expert)
    if {"speech", "expert_speech"} & set(keys):
        heard = clip_audio(record, model.spectrum)
        example["expert_speech"] = heard[expert : expert + syncnet.FRAMES]
        example["speech"] = heard[spoken]
    example["word"] = np.int32(record["word"])
    example["generate_start"] = np.int32(generate_start)
    return {key: value for key, value in example.items() if key in keys}


def clip_audio(record: Mapping, spectrum: str = "mfcc") -> np.ndarray:
    """The windows of a clip's 29 frames, float32 `[29, 20, 12]`, or 40 numbers a column of the spectrum `log_mel`.

    Raises:
      DataError: the record's audio is shorter than its frames, and this spectrum is made of it.
    """
    if spectrum == "mfcc":  # which records hold
        return windows(record["mfcc"], range(constants.CLIP_FRAMES))
    return audio_windows(record, WINDOWS[spectrum])


def audio_windows(record: Mapping, window: Window) -> np.ndarray:
    """Windows of a clip's 29 frames, made of the record's own audio, float32 `[29, length, C]`.

    Raises:
      DataError: the record's audio is shorter than its frames.
    """
    needed = constants.CLIP_FRAMES * constants.SAMPLES_PER_FRAME
    samples = record["audio"][:needed]
    if len(samples) < needed:
        raise DataError(
            f"clip {text(record['clip_id'])} has {len(samples):,} samples of audio, and this system reads {needed:,}",
            REMAKE,
        )
    return np.concatenate(list(stream_windows([samples], window=window)))


def stream_audio(blocks: Iterable[np.ndarray], fps: int, spectrum: str = "mfcc") -> Iterator[np.ndarray]:
    """The windows of streamed audio, `[n, 20, 12]` or `[n, 20, 40]`; see `stream_windows`."""
    return stream_windows(blocks, fps, WINDOWS[spectrum])


def face_example(record: dict, rng: np.random.Generator, config) -> dict[str, np.ndarray]:
    """Makes one identity image's entries of a training batch: `faces` uint8 `[S, S, 3]` and `face_id` int32.

    Raises:
      DataError: the image is damaged or has no identity label.
    """
    name = f"face {text(record['face_id'])}"
    if record["identity"] < 0:
        raise DataError(f"{name} has no identity label", "leave such images out of the split")
    view = View.random(rng, config.model.image_size, config.data)
    return {"faces": view(record["image"], name), "face_id": np.int32(record["identity"])}

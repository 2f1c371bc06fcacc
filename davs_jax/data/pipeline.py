"""Records → windows → batches on the mesh. The only home of Grain.

Order, windows and augmentation are pure functions of (seed, index of the example in the endless stream), so the
position in the data is one number, the step: resuming is exact, and the number of hosts may change between runs.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import cv2
import grain
import jax
import numpy as np

from davs_jax import constants
from davs_jax.data.sources import ClipSource, DataError, FaceSource, decode, open_clips, open_faces, text
from davs_jax.media.audio import syncnet_features, windows
from davs_jax.models import syncnet
from davs_jax.parallel import sharding

FIRST_FRAME = 2  # training reads frames 2…26 of a clip, as the official code
USED_FRAMES = 25
ORDER, EXAMPLE = 0, 1  # what random numbers are for
FACE_KEYS = {"faces", "face_id"}  # of a batch; the others are of the clips


@dataclasses.dataclass(frozen=True)
class View:
    """How one clip, or one identity image, is looked at: one flip, one crop offset, one colour change."""

    flip: bool
    top: int
    left: int
    size: int
    colors: np.ndarray | None  # uint8 [1, 256, 3], a look-up table

    @classmethod
    def central(cls, size: int) -> "View":
        margin = constants.stored_size(size) - size
        return cls(False, margin // 2, margin // 2, size, None)

    @classmethod
    def drawn(cls, rng: np.random.Generator, size: int, data) -> "View":
        """Draws a view as `config.data` allows; every number is drawn in any case, so options do not shift others."""
        margin = constants.stored_size(size) - size
        flip, (top, left) = rng.random() < 0.5, rng.integers(margin + 1, size=2)
        brightness, contrast, *tint = 1 + data.color_jitter * rng.uniform(-1, 1, 5)
        colors = None
        if data.color_jitter:
            levels = ((np.arange(256)[:, None] - 128) * contrast + 128) * brightness * np.array(tint)
            colors = np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None]
        if not data.crop:
            top = left = margin // 2
        return cls(bool(flip and data.flip), int(top), int(left), size, colors)

    def __call__(self, jpeg: bytes, what: str) -> np.ndarray:
        """Decodes and cuts one picture: uint8 [S, S, 3]."""
        image = decode(jpeg, what)[self.top : self.top + self.size, self.left : self.left + self.size]
        image = image[:, ::-1] if self.flip else image
        return np.ascontiguousarray(image) if self.colors is None else cv2.LUT(image, self.colors)


def clip_example(record: dict, rng: np.random.Generator, config, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """One clip's share of a batch: those of the clip keys in `keys`, decoding no frame that they do not need.

    Windows as in the official code: every second frame from a random one of two starts, a run of them to generate,
    any frame as the identity, and consecutive frames for the word adversary.
    """
    model = config.model
    start = FIRST_FRAME + int(rng.integers(2))
    generate_start = rng.integers(model.word_frames - model.sequence_frames + 1)
    identity = int(rng.integers(constants.CLIP_FRAMES))
    # the official code never draws the last possible start
    adversary = FIRST_FRAME + int(rng.integers(max(USED_FRAMES - model.adversary_frames, 1)))
    view = View.drawn(rng, model.image_size, config.data)
    spoken = list(range(start, start + 2 * model.word_frames, 2))
    wanted = {
        "frames": spoken,
        "identity_frame": [identity],
        "adversary_frames": list(range(adversary, adversary + model.adversary_frames)),
        "sync_frames": list(range(syncnet.CLIP_WINDOWS + syncnet.FRAMES - 1)),
    }
    name = f"clip {text(record['clip_id'])}"
    needed = sorted({i for key, frames in wanted.items() if key in keys for i in frames})
    pictures = {i: view(record["frames"][i], f"{name}, frame {i},") for i in needed}
    example = {
        "mfcc": windows(record["mfcc"], spoken),
        "word": np.int32(record["word"]),
        "generate_start": np.int32(generate_start),
    }
    example |= {key: np.stack([pictures[i] for i in frames]) for key, frames in wanted.items() if key in keys}
    if "sync_mfcc" in keys:
        columns = syncnet_features.mfcc(record["audio"]).astype(np.float32)
        starts = constants.MFCC_PER_FRAME * np.arange(syncnet.CLIP_WINDOWS)
        example["sync_mfcc"] = columns[starts[:, None] + np.arange(syncnet.COLUMNS)]
    if "identity_frame" in example:
        example["identity_frame"] = example["identity_frame"][0]
    if "word" in keys and record["word"] < 0:
        raise DataError(f"{name} has no word label, which this stage needs; leave such clips out of the split")
    return {key: value for key, value in example.items() if key in keys}


def face_example(record: dict, rng: np.random.Generator, config) -> dict[str, np.ndarray]:
    """One identity image's share of a batch: `faces` [S, S, 3] and `face_id`."""
    view = View.drawn(rng, config.model.image_size, config.data)
    name = f"face {text(record['face_id'])}"
    if record["identity"] < 0:
        raise DataError(f"{name} has no identity label; leave such images out of the split")
    return {"faces": view(record["image"], name), "face_id": np.int32(record["identity"])}


def _stream(config, number: int, source, example, first: int, batch_size: int, rows: Sequence[int]):
    """These rows of every global batch of an endless, reshuffled stream of `source`, read ahead by threads.

    Args:
      number: of the stream; each has its own random numbers.
      example: (record, random numbers) → one example.
      first: step at which to start.
    """
    order_seed = int(np.random.SeedSequence((config.seed, number, ORDER)).generate_state(1)[0])
    order = grain.MapDataset.range(len(source)).shuffle(seed=order_seed).repeat()

    def load(position: int) -> dict[str, np.ndarray]:
        step, place = divmod(position, len(rows))
        i = step * batch_size + rows[place]
        return example(source.record(order[i]), np.random.default_rng((config.seed, number, EXAMPLE, i)))

    threads = config.data.threads
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2 * threads, len(rows)))
    positions = grain.MapDataset.range(first * len(rows), 2**62)
    return positions.map(load).to_iter_dataset(ahead).batch(len(rows))


def open_sources(config, keys: Sequence[str]) -> dict[str, ClipSource | FaceSource]:
    """Opens what a batch with these keys is made of: `clips`, `faces` or both, checked against the model's sizes.

    Raises:
      DataError: a folder that cannot be used, or sizes that differ from the configuration's.
    """
    sources: dict[str, ClipSource | FaceSource] = {}
    if set(keys) - FACE_KEYS:
        sources["clips"] = clips = open_clips(config.data.clips, config.data.split)
        _agree(clips, "words", len(clips.words), config.model, "num_words")
        _check_windows(config.model)
    if FACE_KEYS & set(keys):
        sources["faces"] = faces = open_faces(config.data.faces, config.data.split)
        _agree(faces, "identities", len(faces.identities), config.model, "num_identities")
    for source in sources.values():
        _agree(source, "pixels a side", source.image_size, config.model, "image_size")
    return sources


def _agree(source: ClipSource | FaceSource, what: str, found: int, model, name: str) -> None:
    if found != model[name]:
        raise DataError(
            f"{source.folder} has {found} {what} but config.model.{name} is {model[name]}; "
            f"set --config.model.{name}={found} or choose another folder"
        )


def _check_windows(model) -> None:
    limits = {"word_frames": 12, "sequence_frames": model.word_frames, "adversary_frames": USED_FRAMES}
    for name, limit in limits.items():
        if not 1 <= model[name] <= limit:
            raise DataError(f"config.model.{name} is {model[name]}; a clip allows 1…{limit}")


def host_batches(
    config, keys: Sequence[str], first: int = 0, rows: Callable[[int], Sequence[int]] = range
) -> grain.IterDataset[dict[str, np.ndarray]]:
    """Batches of numpy arrays, endless, from step `first` on.

    Args:
      keys: those of a training batch (docs/design.md) that the step wants.
      rows: from the size of a global batch to the rows of it that this process loads; all of them by default.

    Raises:
      DataError: data that does not fit the configuration; while reading, a damaged record.
    """
    examples = {
        "clips": (functools.partial(clip_example, config=config, keys=keys), config.data.batch_size),
        "faces": (functools.partial(face_example, config=config), config.data.face_batch_size),
    }
    sources = open_sources(config, keys)
    streams = [
        _stream(config, number, sources[name], example, first, size, rows(size))
        for number, (name, (example, size)) in enumerate(examples.items())
        if name in sources
    ]
    return grain.experimental.ZipIterDataset(streams).map(
        lambda parts: {key: value for part in parts for key, value in part.items()}
    )


def train_batches(
    config, mesh: jax.sharding.Mesh, spec: Mapping[str, jax.ShapeDtypeStruct], start_step: int = 0
) -> Iterator[dict[str, jax.Array]]:
    """Device batches from step `start_step` on, endless; `config.data.prefetch` of them wait ready on the devices.

    Every process loads the rows that its own devices hold.

    Args:
      spec: global shapes and types of the batch that the step wants (`Stage.batch`).

    Raises:
      DataError: data that does not fit the configuration; while reading, a damaged record.
    """
    layout = sharding.batch_sharding(mesh)
    shares = mesh.size * config.accumulate
    for name in {"face_batch_size" if key in FACE_KEYS else "batch_size" for key in spec}:
        if (size := config.data[name]) % shares:
            parts = f" in {config.accumulate} parts each" if config.accumulate > 1 else ""
            raise DataError(
                f"config.data.{name} is {size}, which does not divide over {mesh.size} devices{parts}; "
                f"set --config.data.{name}={-(-size // shares) * shares}"
            )

    def rows(size: int) -> list[int]:
        parts = layout.addressable_devices_indices_map((size,)).values()
        return sorted({row for (part,) in parts for row in range(size)[part]})

    def put(name: str, values: np.ndarray) -> jax.Array:
        size, own = spec[name].shape[0], rows(spec[name].shape[0])

        def shard(index: tuple[slice, ...]) -> np.ndarray:
            start, stop, _ = index[0].indices(size)
            return values[own.index(start) :][: stop - start]

        return jax.make_array_from_callback(spec[name].shape, layout, shard)

    on_device = host_batches(config, tuple(spec), start_step, rows).map(
        lambda batch: {name: put(name, values) for name, values in batch.items()}
    )
    return iter(grain.experimental.ThreadPrefetchIterDataset(on_device, prefetch_buffer_size=config.data.prefetch))


def eval_batches(source: ClipSource, batch_size: int, threads: int = 8) -> Iterator[dict[str, np.ndarray]]:
    """Every clip of the split exactly once, in order; the last batch is padded with its first clip.

    Returns:
      dictionaries of `frames` uint8 [B, 29, S, S, 3] (central crop), `mfcc` float32 [B, 29, 20, 12], `word` and
      `speaker` int32 [B], `mouth_opening` float32 [B, 29] (NaN where unknown), `mask` bool [B] (False is padding)
      and `index` int32 [B].

    Raises:
      DataError: while reading, a damaged record.
    """
    view, frames = View.central(source.image_size), range(constants.CLIP_FRAMES)

    def load(i: int) -> dict[str, np.ndarray]:
        record = source.record(i)
        name = f"{source.folder}: clip {text(record['clip_id'])}"
        opening = np.full(len(frames), np.nan, np.float32)
        known = record["mouth_opening"][: len(frames)]
        opening[: len(known)] = known
        return {
            "frames": np.stack([view(record["frames"][t], f"{name}, frame {t},") for t in frames]),
            "mfcc": windows(record["mfcc"], frames),
            "word": np.int32(record["word"]),
            "speaker": np.int32(record["speaker"]),
            "mouth_opening": opening,
            "mask": np.bool_(True),
            "index": np.int32(i),
        }

    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    clips = grain.MapDataset.range(len(source)).map(load).to_iter_dataset(ahead)
    for batch in clips.batch(batch_size, drop_remainder=False):
        missing = batch_size - len(batch["index"])
        padded = {key: np.concatenate([value, value[:1].repeat(missing, 0)]) for key, value in batch.items()}
        yield {**padded, "mask": np.arange(batch_size) < batch_size - missing}

"""Makes batches of the records: training batches on the device mesh, evaluation batches on the host.

A training batch is made in three stages:

1. `_stream` numbers the examples of an endless, reshuffled stream of records, and gives each its own random generator.
2. `clip_example` of the system or `face_example` makes one example of one record: it chooses windows in time, decodes
   only their frames, and flips and crops them.
3. `host_batches` stacks examples and joins the streams; `train_batches` puts each row on the device that needs it.

Order, windows and augmentation are pure functions of (config.seed, number of the example). The position in the data is
therefore a single number, the step: a resumed run continues exactly, and the number of hosts may change between runs.
This module is the only one that uses Grain.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import grain
import jax
import numpy as np

from davs_jax import constants, systems
from davs_jax.constants import FACE_KEYS
from davs_jax.data.channel import through_channel
from davs_jax.data.examples import View, clip_audio, face_example
from davs_jax.data.sources import ClipSource, FaceSource, open_clips, open_faces, text
from davs_jax.errors import ConfigError, DataError
from davs_jax.parallel import sharding

# Purposes of random numbers: the order of an epoch, one example, the order of the clips without words.
ORDER, EXAMPLE, UNLABELLED = 0, 1, 2


def open_sources(config, keys: Sequence[str]) -> dict[str, ClipSource | FaceSource]:
    """Opens what a batch with these keys needs, and checks it against the model's sizes.

    Returns:
      of `clips`, `unlabelled` and `faces` those that are needed.

    Raises:
      DataError: a folder is unusable, or its sizes differ from the config's.
    """
    sources: dict[str, ClipSource | FaceSource] = {}
    if set(keys) - FACE_KEYS:
        sources["clips"] = clips = open_clips(config.data.clips, config.data.split, config.words)
        if "word" in keys:
            _check_words(clips, config.model)
        if config.data.unlabelled:
            sources["unlabelled"] = open_clips(config.data.unlabelled, config.data.split)
    if FACE_KEYS & set(keys):
        sources["faces"] = faces = open_faces(config.data.faces, config.data.split)
        _check_size(faces, "identities", len(faces.identities), config.model, "num_identities")
    for source in sources.values():
        _check_size(source, "pixels a side", source.image_size, config.model, "image_size")
    return sources


def _check_words(clips: ClipSource, model) -> None:
    if not clips.words:
        raise DataError(
            f"{clips.folder} has no words, and this stage reads them",
            "name it as config.data.unlabelled beside labelled config.data.clips, or set config.loss.word_ce and "
            "config.loss.pid_uniform to 0",
        )
    _check_size(clips, "words", len(clips.words), model, "num_words")


def _check_size(source: ClipSource | FaceSource, what: str, found: int, model, name: str) -> None:
    if found != model[name]:
        raise DataError(
            f"{source.folder} has {found} {what} but config.model.{name} is {model[name]}",
            f"set config.model.{name} to {found}, or choose another folder",
            command_line=f"set --config.model.{name}={found} or choose another folder",
        )


class Order:
    """The endless order of the records, or of a `share` that the seed chooses; each epoch has its own."""

    def __init__(self, seed: tuple[int, ...], source, share: float = 1.0):
        order_seed = int(np.random.SeedSequence(seed).generate_state(1)[0])
        self._source, self._used = source, range(len(source))
        if share < 1:
            self._used = np.random.default_rng(seed).permutation(len(source))[: math.ceil(share * len(source))].tolist()
        self._order = grain.MapDataset.range(len(self._used)).shuffle(seed=order_seed).repeat()

    def __getitem__(self, i: int) -> dict:
        return self._source.record(self._used[self._order[i]])


class Mixed:
    """The records of two orders: `share` of a batch are of the second, evenly spread over its rows, and unlabelled.

    Raises:
      ConfigError: of one of them a batch would have none.
    """

    def __init__(self, labelled: Order, unlabelled: Order, batch_size: int, share: float):
        self._orders = labelled, unlabelled
        ends = np.floor(np.arange(batch_size + 1) * share + 0.5).astype(int)  # of each row, how many before it
        self._from = np.diff(ends)  # 0 or 1
        self._place = np.where(self._from, ends[:-1], np.arange(batch_size) - ends[:-1])
        self._counts = batch_size - ends[-1], ends[-1]
        if share > 0 and 0 in self._counts:
            raise ConfigError(
                f"config.data.unlabelled_share is {share}: of {batch_size} clips a step, {ends[-1]} would be of "
                "config.data.unlabelled",
                "set a larger config.data.batch_size, or another share, so that each step has some of both",
            )

    def __getitem__(self, i: int) -> dict:
        step, row = divmod(i, len(self._from))
        which = self._from[row]
        record = self._orders[which][step * self._counts[which] + self._place[row]]
        return record | {"word": -1} if which else record


def _stream(config, number: int, records, example, first: int, batch_size: int, rows: Sequence[int]):
    """An endless, reshuffled stream of examples, read ahead by threads and stacked.

    Args:
      number: of the stream; every stream has its own random numbers.
      records: by the number of the example.
      example: function (record, random generator) → one example.
      first: step at which to start.
      batch_size: examples per step, over all processes.
      rows: of each batch, those that this process loads.
    """

    def load(position: int) -> dict[str, np.ndarray]:
        step, place = divmod(position, len(rows))
        i = step * batch_size + rows[place]
        return example(records[i], np.random.default_rng((config.seed, number, EXAMPLE, i)))

    threads = config.data.threads
    ahead = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2 * threads, len(rows)))
    positions = grain.MapDataset.range(first * len(rows), 2**62)
    return positions.map(load).to_iter_dataset(ahead).batch(len(rows))


def host_batches(
    config, keys: Sequence[str], first: int = 0, rows: Callable[[int], Sequence[int]] = range
) -> grain.IterDataset[dict[str, np.ndarray]]:
    """Endless training batches of numpy arrays.

    Args:
      config: of the run.
      keys: of a training batch (docs/architecture.md) that the step needs.
      first: step at which to start.
      rows: function from the size of a global batch to the rows of it that this process loads; all rows by default.

    Raises:
      ConfigError, DataError: as `open_sources`; while reading, DataError for a damaged record.
    """
    clip_example = systems.part(config.model.system, "examples").clip_example

    def heard_example(record: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
        (channel,) = rng.spawn(1)  # which leaves the numbers of the rest as they are
        example = clip_example(through_channel(record, channel, config.data.audio_jitter), rng, config, keys)
        if lacking := set(keys) - FACE_KEYS - example.keys():
            raise ConfigError(
                f"an example of {config.model.system} holds {', '.join(example)}, and the step also reads "
                f"{', '.join(sorted(lacking))}",
                "clip_example and batch must agree",
            )
        return example

    examples = {
        "clips": (heard_example, config.data.batch_size),
        "faces": (functools.partial(face_example, config=config), config.data.face_batch_size),
    }
    sources = open_sources(config, keys)
    numbers = {"clips": (0, ORDER), "faces": (1, ORDER), "unlabelled": (0, UNLABELLED)}
    shares = {"clips": config.data.share}
    records = {
        name: Order((config.seed, *numbers[name]), source, shares.get(name, 1.0)) for name, source in sources.items()
    }
    if "unlabelled" in records:
        share = config.data.unlabelled_share
        records["clips"] = Mixed(records["clips"], records["unlabelled"], config.data.batch_size, share)
    streams = [
        _stream(config, number, records[name], example, first, size, rows(size))
        for number, (name, (example, size)) in enumerate(examples.items())
        if name in sources
    ]
    return grain.experimental.ZipIterDataset(streams).map(
        lambda parts: {key: value for part in parts for key, value in part.items()}
    )


def train_batches(
    config, mesh: jax.sharding.Mesh, spec: Mapping[str, jax.ShapeDtypeStruct], start_step: int = 0
) -> Iterator[dict[str, jax.Array]]:
    """Endless training batches on the devices, `config.data.prefetch` of them ready in advance.

    Every process loads only the rows that its own devices hold.

    Args:
      config: of the run.
      mesh: over whose devices the first axis of a batch is sharded.
      spec: global shapes and types of the batch that the step needs (`Stage.batch`).
      start_step: step at which to start.

    Raises:
      ConfigError: a batch size does not divide over the devices; as `open_sources`.
      DataError: as `open_sources`; while reading, a damaged record.
    """
    layout = sharding.batch_sharding(mesh)
    shares = mesh.size * config.accumulate
    for name in {"face_batch_size" if key in FACE_KEYS else "batch_size" for key in spec}:
        if (size := config.data[name]) % shares:
            parts = f" in {config.accumulate} parts each" if config.accumulate > 1 else ""
            raise ConfigError(
                f"config.data.{name} is {size}, which does not divide over {mesh.size} devices{parts}",
                f"set config.data.{name} to {-(-size // shares) * shares}",
                command_line=f"set --config.data.{name}={-(-size // shares) * shares}",
            )

    def rows(size: int) -> list[int]:
        """Rows of a global batch of this size that this process's devices hold."""
        parts = layout.addressable_devices_indices_map((size,)).values()
        return sorted({row for (part,) in parts for row in range(size)[part]})

    def put(name: str, values: np.ndarray) -> jax.Array:
        """The global array of which this process holds `values`, its own rows."""
        size, own = spec[name].shape[0], rows(spec[name].shape[0])
        if values.shape[1:] != spec[name].shape[1:]:
            raise ConfigError(
                f"{name} of an example is {list(values.shape[1:])}, and the step reads {list(spec[name].shape[1:])}",
                f"clip_example and batch of {config.model.system} must agree",
            )

        def shard(index: tuple[slice, ...]) -> np.ndarray:
            start, stop, _ = index[0].indices(size)
            return values[own.index(start) :][: stop - start]

        return jax.make_array_from_callback(spec[name].shape, layout, shard)

    on_device = host_batches(config, tuple(spec), start_step, rows).map(
        lambda batch: {name: put(name, values) for name, values in batch.items()}
    )
    return iter(grain.experimental.ThreadPrefetchIterDataset(on_device, prefetch_buffer_size=config.data.prefetch))


def eval_batches(
    source: ClipSource, batch_size: int, threads: int = 8, audio: Callable[[dict], np.ndarray] = clip_audio
) -> Iterator[dict[str, np.ndarray]]:
    """Batches of every clip of the split exactly once, in order, all of one size B.

    The last batch is padded with its first clip.

    Args:
      audio: record → what the system's encoder of speech reads for each frame (`Talker.clip_audio`).

    Returns:
      dictionaries of `frames` uint8 `[B, 29, S, S, 3]` (central crop), `speech` float32 `[B, 29, …]` (DAVS's windows,
      `[B, 29, 20, 12]`, unless `audio` says otherwise), `word` and
      `speaker` int32 `[B]`, `mouth_opening` float32 `[B, 29]` (NaN where unknown), `mask` bool `[B]` (False is padding)
      and `index` int32 `[B]`.

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
            "speech": audio(record),
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

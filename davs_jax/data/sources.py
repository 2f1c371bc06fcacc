"""Opens and checks the shards that `data_prep` makes, and reads them one record at a time."""

import bisect
import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import tensorflow_datasets as tfds
from etils import epath

from davs_jax import constants
from davs_jax.errors import DataError, first_line

MFCC_ROWS = constants.MFCC_PER_FRAME * (constants.CLIP_FRAMES - 1) + constants.MFCC_LENGTH  # of the shortest clip
REMAKE = "make the shards again with data_prep"


@dataclasses.dataclass(frozen=True)
class ClipSource:
    """The clips of one split, indexed by position.

    Attributes:
      folder: of the shards; of a joined corpus, all of them, separated by commas.
      words: what the labels of the records stand for.
      speakers: what their speakers stand for.
    """

    folder: str
    split: str
    data: Sequence[dict]
    words: tuple[str, ...]
    speakers: tuple[str, ...]
    image_size: int  # S, pixels: the stored frames are cropped to S × S

    def __len__(self) -> int:
        return len(self.data)

    def record(self, i: int) -> dict:
        """Reads clip i: the fields of `records.clip_features`, its frames still JPEG.

        Raises:
          DataError: the record cannot be read, or is too short.
        """
        record = _read(self, i)
        found = len(record["frames"]), len(record["mfcc"])
        if found[0] < constants.CLIP_FRAMES or found[1] < MFCC_ROWS:
            raise DataError(
                f"{self.folder}: clip {text(record['clip_id'])} has {found[0]} frames and {found[1]} MFCC columns, "
                f"expected {constants.CLIP_FRAMES} and {MFCC_ROWS}",
                REMAKE,
            )
        return record


@dataclasses.dataclass(frozen=True)
class FaceSource:
    """The identity images of one split, indexed by position."""

    folder: str
    split: str
    data: Sequence[dict]
    identities: tuple[str, ...]
    image_size: int

    def __len__(self) -> int:
        return len(self.data)

    def record(self, i: int) -> dict:
        """Reads image i: the fields of `records.face_features`, the image still JPEG.

        Raises:
          DataError: the record cannot be read.
        """
        return _read(self, i)


def has_split(folder: str, split: str) -> bool:
    """Whether all shards of a corpus (as in `open_clips`) have this split, with at least one record."""
    infos = [tfds.builder_from_directory(part.strip()).info.splits for part in folder.split(",")]
    return all(split in splits and splits[split].num_examples > 0 for splits in infos)


def open_clips(folder: str, split: str, words: Sequence[str] = ()) -> ClipSource:
    """Opens clip shards made by `data_prep`.

    Args:
      folder: of the shards. Several, separated by commas, are one corpus: a word that two of them have is one word, and
        their speakers are different people.
      words: the vocabulary that labels are to index; by default the corpus's own.

    Raises:
      DataError: a folder holds no clip shards, the split is missing or empty, the images differ in size, or the corpus
        has words that `words` lacks.
    """
    sources = [_open_clips(part.strip(), split) for part in folder.split(",")]
    vocabulary = tuple(words) or tuple(dict.fromkeys(word for source in sources for word in source.words))
    sources = [_with_words(source, vocabulary) if source.words else source for source in sources]
    if len(sources) == 1:
        return sources[0]
    for source in sources[1:]:
        if source.image_size != sources[0].image_size:
            raise DataError(
                f"{source.folder} has images of {source.image_size} px and {sources[0].folder} of "
                f"{sources[0].image_size} px",
                "prepare both with the same --image-size",
            )
    speakers, numbered = [], []
    for source in sources:
        numbers = range(len(speakers), len(speakers) + len(source.speakers))
        numbered.append(_Renumbered(source, {"speaker": numbers}))
        speakers += source.speakers
    return ClipSource(folder, split, _Joined(numbered), vocabulary, tuple(speakers), sources[0].image_size)


def _open_clips(folder: str, split: str) -> ClipSource:
    builder, data = _open(folder, split, "frames", "config.data.clips", "python -m data_prep.lrw (or grid)")
    features = builder.info.features
    size = _crop_size(data[0]["frames"][0], folder)
    return ClipSource(folder, split, data, tuple(features["word"].names), tuple(features["speaker"].names), size)


def _with_words(source: ClipSource, words: tuple[str, ...]) -> ClipSource:
    """The same clips, with labels that index `words`."""
    if source.words == words:
        return source
    if unknown := [word for word in source.words if word not in words]:
        raise DataError(
            f"{source.folder} has {len(unknown)} words, such as {unknown[0]!r}, that are not among the "
            f"{len(words)} of the model",
            "name clips with the words that the model was trained on",
        )
    data = _Renumbered(source, {"word": [words.index(word) for word in source.words]})
    return dataclasses.replace(source, data=data, words=words)


class _Renumbered(Sequence):
    """The records of a source with other numbers in some of their fields; −1, unknown, stays."""

    def __init__(self, source: ClipSource, numbers: Mapping[str, Sequence[int]]):
        self._source, self._numbers = source, numbers

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, i: int) -> dict:
        record = self._source.record(i)
        return record | {k: new[record[k]] if record[k] >= 0 else -1 for k, new in self._numbers.items()}


class _Joined(Sequence):
    """Several sequences, one after the other."""

    def __init__(self, parts: Sequence[Sequence]):
        self._parts, self._ends = parts, list(itertools.accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, i: int) -> dict:
        part = bisect.bisect_right(self._ends, i)
        return self._parts[part][i - (self._ends[part - 1] if part else 0)]


def open_faces(folder: str, split: str) -> FaceSource:
    """Opens identity shards made by `data_prep`.

    Raises:
      DataError: the folder holds no identity shards, or the split is missing or empty.
    """
    builder, data = _open(folder, split, "identity", "config.data.faces", "python -m data_prep.faces")
    size = _crop_size(data[0]["image"], folder)
    return FaceSource(folder, split, data, tuple(builder.info.features["identity"].names), size)


def _open(folder: str, split: str, field: str, flag: str, maker: str):
    remedy = f"make it with {maker} --output FOLDER, or name another folder"
    if not folder:
        raise DataError(f"{flag} is empty", f"set --{flag}=FOLDER to shards made with {maker}")
    if not (epath.Path(folder) / "dataset_info.json").exists():
        raise DataError(f"{folder} holds no finished shards (no dataset_info.json)", remedy)
    builder = tfds.builder_from_directory(folder)
    if field not in builder.info.features:
        raise DataError(f"{folder} holds other records (no field {field!r} in its features)", remedy)
    if split not in builder.info.splits:
        raise DataError(f"{folder} has no split {split!r}", f"it has {sorted(builder.info.splits)}")
    if not builder.info.splits[split].num_examples:
        raise DataError(f"{folder}: split {split!r} is empty", "choose another split or prepare more data")
    try:
        data = builder.as_data_source(split)
        data[0]
    except Exception as error:  # the reader's error classes differ between versions
        raise DataError(f"{folder}: split {split!r} cannot be read ({first_line(error)})", remedy) from error
    return builder, data


def _read(source: ClipSource | FaceSource, i: int) -> dict:
    try:
        return source.data[i]
    except DataError:  # of one corpus among several
        raise
    except Exception as error:
        raise DataError(
            f"{source.folder}: record {i} of split {source.split!r} cannot be read ({first_line(error)})", REMAKE
        ) from error


def text(value: bytes | str) -> str:
    """A text field of a record, which TFDS returns as bytes."""
    return value.decode() if isinstance(value, bytes) else value


def decode(jpeg: bytes | None, what: str) -> np.ndarray:
    """Decodes one JPEG to uint8 RGB `[H, W, 3]`.

    Args:
      what: name of the image, for the error.

    Raises:
      DataError: the image is missing or damaged.
    """
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB) if jpeg else None
    if image is None:
        raise DataError(f"{what} is not a readable JPEG", REMAKE)
    return image


def _crop_size(jpeg: bytes, folder: str) -> int:
    """The network's image size for which `data_prep` stored frames of this size: the inverse of `stored_size`."""
    stored = decode(jpeg, f"{folder}: the first image").shape[0]
    return stored * 256 // 260

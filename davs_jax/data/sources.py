"""Opens and checks the shards that `data_prep` makes, and reads them one record at a time."""

import dataclasses
from collections.abc import Sequence

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
    """The clips of one split, indexed by position."""

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
    """Whether the shards in a folder have this split, with at least one record."""
    splits = tfds.builder_from_directory(folder).info.splits
    return split in splits and splits[split].num_examples > 0


def open_clips(folder: str, split: str) -> ClipSource:
    """Opens clip shards made by `data_prep`.

    Raises:
      DataError: the folder holds no clip shards, or the split is missing or empty.
    """
    builder, data = _open(folder, split, "frames", "config.data.clips", "python -m data_prep.lrw (or grid)")
    features = builder.info.features
    size = _crop_size(data[0]["frames"][0], folder)
    return ClipSource(folder, split, data, tuple(features["word"].names), tuple(features["speaker"].names), size)


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

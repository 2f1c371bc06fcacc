"""Reads PyTorch checkpoint files without PyTorch and without running any code in them, and writes such files.

Since PyTorch 1.6 a file is a zip: `NAME/data.pkl` is the pickle of the object, `NAME/data/KEY` a storage. Before, it
was five pickles (a magic number, the protocol's version, the system, the object, the storages' keys), then the
storages, each after its length. A tensor is a view of a storage. Writing needs PyTorch, the optional extra `torch`.
"""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from davs_jax.errors import CheckpointError, first_line
from davs_jax.import_official import pickles
from davs_jax.import_official.tensors import KNOWN, loader, storage_key

MAGIC = 0x1950A86A20F9469CFC6C
DOWNLOAD = "download it again"
_KINDS = (  # first bytes of files that are often taken for a checkpoint, what they are, and the remedy
    (b"\x1f\x8b", "is compressed with gzip", "uncompress it"),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file itself", "get it with git lfs pull"),
    (b"\x89HDF", "is an HDF5 file", "give a file that PyTorch saved"),
)


def read(path: Path) -> Any:
    """Reads a file of any PyTorch since 0.1.10, written by Python 2 or 3; tensors become NumPy arrays, read-only.

    The parts of a zip are compared with their checksums. bfloat16 and float8 become the types of JAX; sparse,
    quantised and meta tensors become `tensors.Other`.

    Raises:
      CheckpointError: there is no such file, it is not a checkpoint, it is damaged, or it names anything but tensors
        and plain containers.
    """
    if path.is_dir():
        raise CheckpointError(f"{path}: is a folder", "give the file of a PyTorch checkpoint")
    if not path.is_file():
        reason = "is not a regular file" if path.exists() else "no such file"
        raise CheckpointError(f"{path}: {reason}", "give the path of a PyTorch checkpoint")
    try:
        with path.open("rb") as file:
            return _zip(file) if zipfile.is_zipfile(file) else _pickles(file)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.reason}", error.remedy) from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})", "check the file") from error


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Writes nested dictionaries of arrays (as tensors) and plain values, in the format that PyTorch reads since 0.4.

    Raises:
      CheckpointError: PyTorch is not installed, or the file cannot be written.
    """
    try:
        import torch
    except ImportError as error:
        raise CheckpointError(f"{path}: writing it needs PyTorch", "pip install 'davs_jax[torch]'") from error
    try:
        torch.save(_with_tensors(value, torch), path, _use_new_zipfile_serialization=False)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: cannot be written ({first_line(error)})", "check its folder and the free space"
        ) from error


def _zip(file: BinaryIO) -> Any:
    part = ""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            roots = [name.removesuffix("data.pkl") for name in names if name.rpartition("/")[2] == "data.pkl"]
            if not roots:
                raise CheckpointError("is a zip, but PyTorch did not write it", "give a file that torch.save wrote")
            root, storages = min(roots, key=len), {}
            if f"{root}constants.pkl" in names:
                raise CheckpointError("is a TorchScript program", "save its state dicts with torch.save")
            byteorder = f"{root}byteorder"
            swapped = byteorder in names and archive.read(byteorder).strip() == b"big"

            def storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
                nonlocal part
                if key not in storages:
                    part = f"{root}data/{key}"
                    if part not in names:
                        raise CheckpointError(f"is damaged (it lacks storage {key})", DOWNLOAD)
                    found = archive.getinfo(part).file_size
                    if found != count * dtype.itemsize:
                        raise CheckpointError(
                            f"is damaged (storage {key} has {found:,} bytes, not {count * dtype.itemsize:,})", DOWNLOAD
                        )
                    values = np.frombuffer(archive.read(part), dtype)
                    storages[key] = values.byteswap() if swapped else values
                return storages[key]

            part = f"{root}data.pkl"
            return pickles.decode(io.BytesIO(archive.read(part)), KNOWN, loader(storage))
    except CheckpointError:
        raise
    except Exception as error:  # zipfile and zlib raise many kinds on damaged bytes
        reason = first_line(error, 80)
        if "CRC" in reason:
            reason = f"{part} does not have the checksum that it was written with"
        raise CheckpointError(f"is damaged ({reason})", DOWNLOAD) from error


def _pickles(file: BinaryIO) -> Any:
    _check_kind(file)
    size, storages = file.seek(0, io.SEEK_END), {}
    file.seek(0)

    def storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
        """Memory that is filled when the file comes to it, behind the pickles."""
        if key not in storages:
            if count * dtype.itemsize + sum(s.nbytes for s in storages.values()) > size:
                raise CheckpointError(f"is incomplete (it ends before storage {key})", DOWNLOAD)
            storages[key] = np.zeros(count, dtype)
        return storages[key]

    load = loader(storage)
    if pickles.decode(file, KNOWN, load) != MAGIC:
        raise CheckpointError("is a pickle, but PyTorch did not write it", "give a file that torch.save wrote")
    _, system, value, keys = (pickles.decode(file, KNOWN, load) for _ in range(4))
    swapped = isinstance(system, dict) and system.get("little_endian") is False
    if not isinstance(keys, list) or set(map(storage_key, keys)) != set(storages):
        raise CheckpointError("is damaged (its list of storages is not that of its tensors)", DOWNLOAD)
    for key in map(storage_key, keys):
        values, length = storages[key], file.read(8)
        if len(length) == 8 and int.from_bytes(length, "big" if swapped else "little") != len(values):
            raise CheckpointError(f"is damaged (the length of storage {key} is wrong)", DOWNLOAD)
        if file.readinto(values.view(np.uint8)) != values.nbytes:
            raise CheckpointError(f"is incomplete (it ends within storage {key})", DOWNLOAD)
        if swapped:
            values.byteswap(inplace=True)
    return value


def _check_kind(file: BinaryIO) -> None:
    """Refuses what is neither a zip nor pickles by what it is."""
    file.seek(0)
    head = file.read(512)
    if not head:
        raise CheckpointError("is empty", DOWNLOAD)
    for magic, what, remedy in _KINDS:
        if head.startswith(magic):
            raise CheckpointError(what, remedy)
    if head.startswith(b"PK"):
        raise CheckpointError("is incomplete (a zip without its end)", DOWNLOAD)
    if head[8:9] == b"{" and head[7:8] == b"\0":
        raise CheckpointError("is a safetensors file", "save its tensors with torch.save")
    if head[257:262] == b"ustar":
        raise _tar(file)
    if head.lstrip()[:1] == b"<":
        raise CheckpointError("is a web page, not a PyTorch checkpoint", "download the file itself")
    if head[:1] != b"\x80":
        what = "another binary format" if b"\0" in head else "text"
        raise CheckpointError(f"is {what}, not a PyTorch checkpoint", "give a file that torch.save wrote")


def _tar(file: BinaryIO) -> CheckpointError:
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            old = {"storages", "tensors", "pickle"} <= set(archive.getnames())
    except (tarfile.TarError, EOFError):
        old = False
    if old:
        return CheckpointError(
            "is a tar of PyTorch before 0.1.10, which cannot be read safely", "save it again with a later PyTorch"
        )
    return CheckpointError("is a tar archive", "unpack it, and give the checkpoint inside")


def _with_tensors(value: Any, torch: ModuleType) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_tensors(child, torch) for key, child in value.items()}
    # A copy: arrays may be views with negative strides, which tensors are not.
    return torch.from_numpy(np.array(value, order="C")) if isinstance(value, np.ndarray) else value

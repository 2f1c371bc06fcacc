"""Reads PyTorch checkpoint files without running any code in them, and writes such files.

PyTorch is the optional extra `torch`; it is imported only when a file is read or written.
"""

import io
import itertools
import pickle
import pickletools
import re
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from davs_jax.errors import CheckpointError, first_line

# A file of PyTorch before 1.6 is five pickles (this magic number, the protocol's version, the system, the object, the
# storages' names), then the storages' bytes.
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
PICKLES = 5


def read(path: Path) -> Any:
    """Reads a file of any PyTorch since 0.1.10, written by Python 2 or 3; tensors become NumPy arrays.

    Raises:
      CheckpointError: there is no such file, PyTorch is not installed, the file needs more than PyTorch's safe reader
        allows (tensors and plain containers), or it is not a checkpoint.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file", "give the path of a PyTorch checkpoint")
    torch = _torch(path)
    try:
        with path.open("rb") as file:
            old = file.read(len(MAGIC)) == MAGIC
            file.seek(0)
            stored = torch.load(with_python_3_opcodes(file) if old else file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _refusal(path, error) from error
    return _with_arrays(stored, torch)


def write(path: Path, value: Mapping[str, Any]) -> None:
    """Writes nested dictionaries of arrays (as tensors) and plain values, in the format that PyTorch reads since 0.4.

    Raises:
      CheckpointError: PyTorch is not installed, or the file cannot be written.
    """
    torch = _torch(path)
    try:
        torch.save(_with_tensors(value, torch), path, _use_new_zipfile_serialization=False)
    except (OSError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: cannot be written ({first_line(error)})", "check its folder and the free space"
        ) from error


def with_python_3_opcodes(file: BinaryIO) -> io.BytesIO:
    """Rewrites a file's pickles with the opcodes of Python 3; the safe reader knows no others.

    Python 2 wrote strings as bytes, and integers beyond 32 bits (they name the parameters in an optimizer's state) as
    text. Opcodes are replaced one by one and none is run, so the reader still refuses whatever it would refuse.
    """
    copy = io.BytesIO()
    for _ in range(PICKLES):
        begin = file.tell()
        operations = list(pickletools.genops(file))
        places = [place for *_, place in operations] + [file.tell()]
        file.seek(begin)
        for (opcode, value, _), (place, following) in zip(operations, itertools.pairwise(places), strict=True):
            spelt = file.read(following - place)
            if opcode.name == "INT":
                spelt = pickle.LONG1 + b"\x08" + int(value).to_bytes(8, "little", signed=True)
            elif opcode.name in ("BINSTRING", "SHORT_BINSTRING"):  # read as Latin-1, which knows every byte
                text = value.encode()
                spelt = pickle.BINUNICODE + struct.pack("<I", len(text)) + text
            copy.write(spelt)
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy


def _torch(path: Path) -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise CheckpointError(f"{path}: this needs PyTorch", "pip install 'davs_jax[torch]'") from error
    return torch


def _refusal(path: Path, error: Exception) -> CheckpointError:
    """One sentence out of PyTorch's many, without its advice to load unsafely."""
    text = str(error)
    if refused := re.search(r"GLOBAL (\S+)", text):
        return CheckpointError(
            f"{path}: asks for {refused[1]}, which could run code, and is refused",
            "if you trust the file, save its state dicts alone, without that",
        )
    if "legacy .tar format" in text:
        return CheckpointError(
            f"{path}: is a tar of PyTorch before 0.1.10, which cannot be read safely",
            "save it again with a later PyTorch",
        )
    reason = first_line(text.partition("WeightsUnpickler error:")[2].strip() or error)
    return CheckpointError(f"{path}: cannot be read as a PyTorch checkpoint ({reason})", "download it again")


def _with_arrays(value: Any, torch: ModuleType) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_arrays(child, torch) for key, child in value.items()}
    return value.detach().numpy() if isinstance(value, torch.Tensor) else value


def _with_tensors(value: Any, torch: ModuleType) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_tensors(child, torch) for key, child in value.items()}
    # A copy: arrays may be views with negative strides, which tensors are not.
    return torch.from_numpy(np.array(value, order="C")) if isinstance(value, np.ndarray) else value

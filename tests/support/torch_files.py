"""Files as `torch.save` writes them, made without PyTorch; that they are alike is tested where PyTorch is installed."""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {"float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long"}
STORAGES |= {"int8": "Char", "uint8": "Byte", "bool": "Bool", "complex64": "ComplexFloat"}


class Named(NamedTuple):
    """A class or function by its name alone."""

    module: str
    name: str


class Call(NamedTuple):
    """What a pickle asks to be called."""

    function: Named
    arguments: tuple


class Storage:
    """A one-dimensional array that tensors are views of."""

    def __init__(self, values: np.ndarray, key: str):
        self.values, self.key = values, key


class Pickler(pickle._Pickler):
    """Spells arrays as PyTorch spells tensors, and collects their storages."""

    def __init__(self, file, protocol: int, old: bool):
        super().__init__(file, protocol)
        self.storages: list[Storage] = []
        self._old = old

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        kind = Named("torch", f"{STORAGES[value.values.dtype.name]}Storage")
        return "storage", kind, value.key, "cpu", len(value.values), *([None] if self._old else [])

    def save_named(self, named):
        if self.proto >= 4:
            self.save(str(named.module))
            self.save(str(named.name))
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{named.module}\n{named.name}\n".encode())

    def save_call(self, call):
        self.save(call.function)
        self.save(call.arguments)
        self.write(pickle.REDUCE)

    def save_array(self, array):
        key = str(len(self.storages))
        storage = Storage(np.ascontiguousarray(array).reshape(-1), key)
        self.storages.append(storage)
        self.save(tensor(storage, 0, array.shape))

    dispatch = pickle._Pickler.dispatch | {Named: save_named, Call: save_call, np.ndarray: save_array}


def tensor(storage: Storage, offset: int, size: tuple, strides: tuple | None = None) -> Call:
    """A tensor as the pickle asks for it; without strides, contiguous."""
    if strides is None:
        strides = tuple(int(np.prod(size[i + 1 :], dtype=int)) for i in range(len(size)))
    arguments = (storage, offset, tuple(size), strides, False, OrderedDict())
    return Call(Named("torch._utils", "_rebuild_tensor_v2"), arguments)


def zipped(value: Any, protocol: int = 2, compression: int = zipfile.ZIP_STORED, root: str = "archive") -> bytes:
    """A file of PyTorch since 1.6."""
    content, file = io.BytesIO(), io.BytesIO()
    pickler = Pickler(content, protocol, old=False)
    pickler.dump(value)
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr(f"{root}/data.pkl", content.getvalue())
        for storage in pickler.storages:
            archive.writestr(f"{root}/data/{storage.key}", storage.values.tobytes())
        archive.writestr(f"{root}/version", "3\n")
    return file.getvalue()


def pickled(value: Any, protocol: int = 2) -> bytes:
    """A file of PyTorch before 1.6: five pickles, then the storages."""
    file = io.BytesIO()
    pickler = Pickler(file, protocol, old=True)
    sizes = {"short": 2, "int": 4, "long": 4}
    for head in (MAGIC, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}):
        pickle.dump(head, file, protocol)
    pickler.dump(value)
    pickle.dump([storage.key for storage in pickler.storages], file, protocol)
    for storage in pickler.storages:
        file.write(struct.pack("<q", len(storage.values)) + storage.values.tobytes())
    return file.getvalue()

"""What the names and persistent ids in a pickle of PyTorch stand for: NumPy arrays as views of storages."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from davs_jax.errors import CheckpointError
from davs_jax.import_official import pickles

_DTYPES = {  # PyTorch's names → NumPy's types
    name: jnp.dtype(name)
    for name in (
        *("float16", "float32", "float64", "bfloat16", "float8_e4m3fn", "float8_e5m2", "complex64", "complex128"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"),
    )
}
_STORAGES = {  # classes of storages, less their ending
    "Float": "float32",
    "Double": "float64",
    "Half": "float16",
    "BFloat16": "bfloat16",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "QInt8": "int8",
    "QUInt8": "uint8",
    "QInt32": "int32",
}


class Other(NamedTuple):
    """A tensor that has no plain array of values."""

    kind: str  # with its article


def loader(storage: Callable[[str, np.dtype, int], np.ndarray]) -> Callable[[Any], Any]:
    """What a persistent id stands for: ("storage", type, key, device, count), and in old files a view or None."""

    def load(identity: Any) -> np.ndarray:
        kind, dtype, key, _, count, *view = identity
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise ValueError("a storage of an unknown kind")
        try:
            whole = storage(storage_key(key), dtype, _number(count))
        except MemoryError as error:
            raise CheckpointError("needs more memory than there is", "use a larger machine") from error
        if not view or view[0] is None:
            return whole
        _, begin, length = view[0]
        return whole[_number(begin) : begin + _number(length)]

    return load


def _tensor(storage: np.ndarray, offset: int, size: tuple, strides: tuple, *_: Any) -> np.ndarray:
    """A tensor's values, as a view of its storage; offset and strides are counted in elements."""
    if storage.ndim != 1 or not storage.flags.c_contiguous:
        raise ValueError("a tensor is not a view of a storage")
    size, strides = tuple(map(_number, size)), tuple(map(_number, strides))
    if len(size) != len(strides) or len(size) > 32:
        raise ValueError(f"a tensor has {len(size)} dimensions and {len(strides)} strides")
    last = _number(offset) + sum((n - 1) * stride for n, stride in zip(size, strides, strict=True))
    if math.prod(size) == 0:
        return np.zeros(size, storage.dtype)
    if last >= len(storage):
        raise ValueError("a tensor reaches beyond its storage")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)


def _tensor_of_dtype(storage: np.ndarray, offset: int, size: tuple, strides: tuple, *rest: Any) -> np.ndarray:
    """As `_tensor`, for types without a storage class of their own: the storage is bytes."""
    _, _, dtype, *_ = rest
    return _tensor(storage.view(dtype), offset, size, strides)


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a count is not a number of 0 or more")
    return value


def storage_key(value: Any) -> str:
    """The key of a storage as text: old files have numbers."""
    if not isinstance(value, str | int):
        raise CheckpointError("is damaged (the key of a storage is not text)", "download it again")
    return str(value)


def _first(value: Any, *_: Any) -> Any:
    return value


def _dictionary(items: Any = ()) -> dict:
    return pickles.pairs(items.items() if isinstance(items, dict) else items)


def _bytes(text: str, encoding: str) -> bytes:
    """Bytes in a pickle of protocol 2."""
    return text.encode("latin1")


def _from_type(function: Any, kind: Any, arguments: tuple, *_: Any) -> Any:
    """A tensor with attributes, which are dropped."""
    return function(*arguments)


def _stands_for(kind: str) -> Callable[..., Other]:
    return lambda *_: Other(kind)


KNOWN: dict[pickles.Name, Any] = {
    ("collections", "OrderedDict"): _dictionary,
    ("collections", "Counter"): _dictionary,
    ("_codecs", "encode"): _bytes,
    ("torch", "Size"): _first,
    ("torch", "device"): _first,
    ("torch", "Tensor"): _first,
    ("torch.nn.parameter", "Parameter"): _first,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_dtype,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch._utils", "_rebuild_sparse_tensor"): _stands_for("a sparse tensor"),
    ("torch._utils", "_rebuild_nested_tensor"): _stands_for("a nested tensor"),
    ("torch._utils", "_rebuild_qtensor"): _stands_for("a quantised tensor"),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _stands_for("a meta tensor, without values"),
    **{
        (module, name): _stands_for("a NumPy value")
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for name in ("scalar", "_reconstruct")
    },
    ("numpy", "dtype"): _first,
    ("numpy", "ndarray"): None,
    ("torch.serialization", "_get_layout"): _first,
    ("torch", "per_tensor_affine"): None,
    ("torch", "per_channel_affine"): None,
    ("torch.storage", "UntypedStorage"): np.dtype(np.uint8),
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
    **{("torch", f"{name}Storage"): _DTYPES[dtype] for name, dtype in _STORAGES.items()},
    **{(module, "set"): lambda items=(): set(map(_plain, items)) for module in ("__builtin__", "builtins")},
}


def _plain(value: Any) -> Any:
    (key,) = pickles.pairs([(value, None)])
    return key

"""Converts the released SyncNet (`syncnet_v2.model`, a flat PyTorch state dict) to our layout."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from jax.tree_util import tree_flatten_with_path, tree_unflatten

from davs_jax.errors import CheckpointError, first_line
from davs_jax.import_official import torch_file
from davs_jax.import_official.layers import LEAVES
from davs_jax.import_official.state_dicts import fault, refusal, unprefixed, unwrapped
from davs_jax.models.syncnet import COEFFICIENTS, COLUMNS, FRAMES, SIZE, SyncNet

_CONVOLUTIONS = (0, 4, 8, 11, 14, 18)  # positions in the official `nn.Sequential`; each norm follows its convolution


def _layers() -> Iterator[tuple[str, str]]:
    for ours, official in (("face", "lip"), ("sound", "aud")):
        for i, place in enumerate(_CONVOLUTIONS, start=1):
            yield f"{ours}/conv{i}", f"netcnn{official}.{place}"
            yield f"{ours}/conv{i}_norm", f"netcnn{official}.{place + 1}"
        for name, place in (("hidden", 0), ("hidden_norm", 1), ("vector", 3)):
            yield f"{ours}/{name}", f"netfc{official}.{place}"


LAYERS = dict(_layers())  # our layer → the official one


def convert(state_dict: Mapping[str, np.ndarray]) -> tuple[dict, dict]:
    """Converts the official state dict to params and batch_stats of `models.syncnet.SyncNet`, float32.

    Raises:
      CheckpointError: a key is missing, unknown, twice there, has another shape, or holds anything but finite numbers;
        the message names the first of them.
    """
    found, problems = unprefixed("syncnet", state_dict)
    inputs = (
        jax.ShapeDtypeStruct((1, FRAMES, SIZE, SIZE, 3), np.float32),
        jax.ShapeDtypeStruct((1, COLUMNS, COEFFICIENTS), np.float32),
    )
    shapes = jax.eval_shape(lambda *x: SyncNet().init(jax.random.key(0), *x, train=False), *inputs)
    leaves, structure = tree_flatten_with_path(shapes)
    keys = [_key(path) for path, _ in leaves]
    unknown = sorted(found.keys() - set(keys))
    problems += [f"{key}: unknown" for key in unknown if not key.endswith("num_batches_tracked")]
    for key, (_, leaf) in zip(keys, leaves, strict=True):
        if key not in found:
            problems.append(f"{key}: missing")
        elif wrong := fault(key, found[key], _official_shape(key, leaf.shape)):
            problems.append(f"{key}: {wrong}")
    if problems:
        raise refusal("SyncNet", problems)
    tensors = [_ours(np.asarray(found[key])) for key in keys]
    variables = tree_unflatten(structure, tensors)
    return variables["params"], variables["batch_stats"]


def read(path: str | Path) -> tuple[dict, dict]:
    """Reads `syncnet_v2.model`, or the same arrays by key as a NumPy .npz.

    Raises:
      CheckpointError: there is no such file, it is damaged, or it holds other weights.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no such file", "give the released syncnet_v2.model, or its arrays as .npz")
    stored = _npz(path) if path.suffix == ".npz" else unwrapped(torch_file.read(path))[0]
    try:
        if not isinstance(stored, Mapping):
            raise refusal("SyncNet", ["it holds no state dict"])
        return convert(stored)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.reason}", error.remedy) from error


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except Exception as error:  # NumPy, zipfile and zlib raise what they like
        reason = "bit rot" if "CRC" in str(error) else first_line(error, 80)
        raise CheckpointError(f"{path}: cannot be read as a NumPy .npz ({reason})", "download it again") from error


def _official_shape(key: str, ours: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of an official tensor from that of ours; the inverse of `_ours`."""
    if len(ours) < 4:
        return ours[::-1]
    if key.startswith("netcnnaud"):
        return ours[3], ours[2], *ours[:2]
    time = FRAMES if key == f"{LAYERS['face/conv1']}.weight" else 1
    return ours[3], ours[2] // time, time, *ours[:2]


def _key(path) -> str:
    """Official key of one of our leaves; `path` starts with its collection."""
    return f"{LAYERS['/'.join(entry.key for entry in path[1:-1])]}.{LEAVES[path[-1].key]}"


def _ours(tensor: np.ndarray) -> np.ndarray:
    tensor = tensor.astype(np.float32)
    if tensor.ndim == 5:  # [out, in, time, h, w]: we stack frames on channels, time-major
        tensor = tensor.transpose(0, 2, 1, 3, 4).reshape(len(tensor), -1, *tensor.shape[3:])
    return tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T

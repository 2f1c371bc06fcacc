"""Converts the released SyncNet (`syncnet_v2.model`, a flat PyTorch state dict) to our layout."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from jax.tree_util import tree_flatten_with_path, tree_unflatten

from davs_jax.errors import CheckpointError
from davs_jax.import_official.layers import LEAVES
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
      CheckpointError: a key is missing, unknown or has another shape; the message names each of them.
    """
    found = {key.removeprefix("module."): np.asarray(value) for key, value in state_dict.items()}
    inputs = (
        jax.ShapeDtypeStruct((1, FRAMES, SIZE, SIZE, 3), np.float32),
        jax.ShapeDtypeStruct((1, COLUMNS, COEFFICIENTS), np.float32),
    )
    shapes = jax.eval_shape(lambda *x: SyncNet().init(jax.random.key(0), *x, train=False), *inputs)
    leaves, structure = tree_flatten_with_path(shapes)
    keys = [_key(path) for path, _ in leaves]
    unknown = {key for key in found.keys() - set(keys) if not key.endswith("num_batches_tracked")}
    problems = [f"{key}: unknown, with shape {found[key].shape}" for key in unknown]
    tensors = []
    for key, (_, leaf) in zip(keys, leaves, strict=True):
        tensor = _ours(found[key]) if key in found else None
        if tensor is None or tensor.shape != leaf.shape:
            problems.append(f"{key}: {'missing' if tensor is None else f'found {found[key].shape}'}, ours {leaf.shape}")
        tensors.append(tensor)
    if problems:
        raise CheckpointError("these are not weights of SyncNet:\n" + "\n".join(sorted(problems)))
    variables = tree_unflatten(structure, tensors)
    return variables["params"], variables["batch_stats"]


def read(path: str | Path) -> tuple[dict, dict]:
    """Reads `syncnet_v2.model`, or the same arrays by key as a NumPy .npz, which needs no PyTorch.

    Raises:
      CheckpointError: there is no such file, it holds other weights, or PyTorch is needed and not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file", "give the released syncnet_v2.model, or its arrays as .npz")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as stored:
                return convert(dict(stored))
        import torch

        tensors = torch.load(path, map_location="cpu", weights_only=True)
        return convert({key: tensor.numpy() for key, tensor in tensors.items()})
    except ImportError as error:
        raise CheckpointError(
            f"{path}: needs PyTorch", "pip install 'davs_jax[torch]', or give its arrays as .npz"
        ) from error
    except Exception as error:
        reason = str(error).strip().replace("\n", "; ")[:300]
        raise CheckpointError(f"{path}: cannot be read as SyncNet's weights ({reason})", "download it again") from error


def _key(path) -> str:
    """Official key of one of our leaves; `path` starts with its collection."""
    return f"{LAYERS['/'.join(entry.key for entry in path[1:-1])]}.{LEAVES[path[-1].key]}"


def _ours(tensor: np.ndarray) -> np.ndarray:
    tensor = tensor.astype(np.float32)
    if tensor.ndim == 5:  # [out, in, time, h, w]: we stack frames on channels, time-major
        tensor = tensor.transpose(0, 2, 1, 3, 4).reshape(len(tensor), -1, *tensor.shape[3:])
    return tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T

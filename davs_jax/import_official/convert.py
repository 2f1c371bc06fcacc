"""Converts the official PyTorch weights (Hangz-nju-cuhk/Talking-Face-Generation-DAVS) to our layout and back.

Axis order and names differ: a convolution's OIHW is our HWIO, a transposed convolution of stride 1 is a convolution
with its kernel mirrored, and a linear layer's matrix is transposed. No flattened map has both space and channels, so no
linear layer needs its inputs permuted.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.tree_util import tree_flatten_with_path, tree_map_with_path
from ml_collections import ConfigDict

from configs import common
from davs_jax import checkpoint, models
from davs_jax.checkpoint.export import save_weights
from davs_jax.errors import CheckpointError, first_line
from davs_jax.import_official import torch_file
from davs_jax.import_official.layers import LAYERS, LEAVES, NETWORKS, UNUSED
from davs_jax.import_official.state_dicts import PREFIX, fault, is_rounded, refusal, unprefixed, unwrapped

GENERATION = ("ID_encoder", "lip_feature_encoder", "mfcc_encoder", "Decoder")  # every usable checkpoint has these
ORIGIN = "official weights of Hangz-nju-cuhk/Talking-Face-Generation-DAVS: non-commercial research and education only"
AUDIO_GAIN, VIDEO_GAIN = 1.5, 0.8  # of wid, in the official Test_Audio_Model.py and Test_Video_Model.py
_TRANSPOSED = {("decoder", layer) for layer in ("start", "last", "image")}

Arrays = Mapping[str, np.ndarray]


def convert(state_dicts: Mapping[str, Arrays], model: ConfigDict | None = None) -> tuple[dict, dict]:
    """Converts official weights to ours.

    Args:
      state_dicts: by official network name (any of `NETWORKS`), arrays by key, with or without the prefix `module.`.
      model: `config.model`, by default the published one; the vocabulary and the clip lengths determine shapes.

    Returns:
      params and batch_stats by our network name, float32; networks without batch norm have `{}` statistics.

    Raises:
      CheckpointError: a network or key is unknown, missing, twice there, has another shape, or holds anything but
        finite numbers; the message names the first of them with network, key, expected and found shape.
    """
    params, batch_stats, problems = _convert(state_dicts, model)
    if problems:
        raise refusal("the official networks", problems)
    return params, batch_stats


def _convert(state_dicts: Mapping[str, Arrays], model: ConfigDict | None) -> tuple[dict, dict, list[str]]:
    """As `convert`, with all problems; the networks that have some are left out."""
    problems = [
        f"{name}: not an official network; they are {', '.join(NETWORKS)}" for name in set(state_dicts) - set(NETWORKS)
    ]
    params, batch_stats = {}, {}
    for network, expected in _expected({NETWORKS[name] for name in state_dicts if name in NETWORKS}, model).items():
        official = {ours: name for name, ours in NETWORKS.items()}[network]
        found, wrong = unprefixed(official, state_dicts[official])
        if wrong := wrong or _problems(official, expected, found):
            problems += wrong
            continue
        tree = tree_map_with_path(
            lambda path, _, n=network, f=found: _from_official(n, path, np.asarray(f[_key(n, path)])), expected
        )
        params[network], batch_stats[network] = tree["params"], tree.get("batch_stats", {})
    return params, batch_stats, problems


def export(params: Mapping[str, dict], batch_stats: Mapping[str, dict]) -> dict[str, dict[str, np.ndarray]]:
    """Converts our weights to official state dicts: the inverse of `convert`, without the layers that no forward runs.

    Raises:
      CheckpointError: the official system does not have a network or a layer.
    """
    state_dicts = {}
    for network, tree in params.items():
        if network not in LAYERS:
            raise CheckpointError(f"{network} has no official counterpart", f"export only {', '.join(LAYERS)}")
        variables = {"params": tree, "batch_stats": batch_stats.get(network, {})}
        state_dicts[network] = {
            _key(network, path): _to_official(network, path, np.asarray(leaf))
            for path, leaf in tree_flatten_with_path(variables)[0]
        }
    return {name: state_dicts[ours] for name, ours in NETWORKS.items() if ours in state_dicts}


def unused(state_dicts: Mapping[str, Arrays]) -> list[str]:
    """`network.key` of the tensors in these state dicts that no official forward uses: `convert` skips them."""
    return [
        f"{network}.{key}"
        for network, tensors in state_dicts.items()
        for key in (key.removeprefix(PREFIX) for key in tensors)
        if _is_unused(network, key)
    ]


def _used(official: str, tensors: Arrays) -> list[np.ndarray]:
    return [value for key, value in tensors.items() if not _is_unused(official, key.removeprefix(PREFIX))]


def _is_unused(official: str, key: str) -> bool:
    # Later versions of PyTorch count batches in a tensor that nothing reads.
    layer, _, tensor = key.rpartition(".")
    return layer in UNUSED.get(official, ()) or tensor == "num_batches_tracked"


def _expected(networks: set[str], model: ConfigDict | None) -> dict[str, dict]:
    """Shapes of our variables, by network, in the order of `NETWORKS`."""
    model = model or common.get_config().model
    modules, inputs = models.build(model), models.example_inputs(model)

    def shapes(name: str) -> dict:
        return jax.eval_shape(lambda *x: modules[name].init(jax.random.key(0), *x, train=False), *inputs[name])

    return {name: shapes(name) for name in NETWORKS.values() if name in networks}


def _problems(official: str, expected: dict, found: Mapping[str, Any]) -> list[str]:
    """What is missing, unknown or has other values than weights in one official state dict."""
    network, lines, known = NETWORKS[official], [], set()
    for path, leaf in tree_flatten_with_path(expected)[0]:
        key, shape = _key(network, path), _to_official(network, path, np.broadcast_to(0, leaf.shape)).shape
        known.add(key)
        if key not in found:
            lines.append(f"{official}.{key}: missing; expected shape {shape}")
        elif wrong := fault(key, found[key], shape):
            lines.append(f"{official}.{key}: {wrong}")
    for key in found.keys() - known:
        if not _is_unused(official, key):
            lines.append(f"{official}.{first_line(key, 80)}: unknown, with shape {np.shape(found[key])}")
    return sorted(lines)


def _layer(path) -> str:
    return "/".join(entry.key for entry in path[1:-1])


def _key(network: str, path) -> str:
    """Official key of one of our leaves; `path` starts with its collection."""
    layer = _layer(path)
    if layer not in LAYERS[network]:
        raise CheckpointError(f"{network} has a layer {layer!r}, which the official network does not have")
    return f"{LAYERS[network][layer]}.{LEAVES[path[-1].key]}"


def _from_official(network: str, path, tensor: np.ndarray) -> np.ndarray:
    tensor = tensor.astype(np.float32)
    if tensor.ndim < 4:
        return tensor.T
    if (network, _layer(path)) in _TRANSPOSED:
        return tensor.transpose(2, 3, 0, 1)[::-1, ::-1]
    return tensor.transpose(2, 3, 1, 0)


def _to_official(network: str, path, tensor: np.ndarray) -> np.ndarray:
    if tensor.ndim < 4:
        return tensor.T
    if (network, _layer(path)) in _TRANSPOSED:
        return tensor[::-1, ::-1].transpose(2, 3, 0, 1)
    return tensor.transpose(3, 2, 0, 1)


def import_checkpoint(path: Path, folder: str) -> None:
    """Converts every network of the official checkpoint into an exported folder, float32; prints what is unused.

    Raises:
      CheckpointError: the file cannot be read safely, lacks a network of generation or does not fit; or the folder
        cannot be written.
    """
    stored, within = torch_file.read(path), ""
    if isinstance(stored, Mapping) and not stored.keys() & set(NETWORKS):
        stored, within = unwrapped(stored)
    networks = [name for name in NETWORKS if isinstance(stored, Mapping) and isinstance(stored.get(name), Mapping)]
    if missing := [name for name in GENERATION if name not in networks]:
        raise CheckpointError(
            f"{path}: has no state dict named {', '.join(missing)}", "give a complete copy of the released checkpoint"
        )
    state_dicts = {name: unwrapped(stored[name])[0] for name in networks}
    try:
        params, batch_stats = convert(state_dicts)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.reason}", error.remedy) from error
    config = common.get_config()
    config.origin, config.audio_gain, config.video_gain = ORIGIN, AUDIO_GAIN, VIDEO_GAIN
    save_weights(folder, config, params, batch_stats, "float32")
    if within:
        print(f"read from its entry {within!r}")
    for key in [first_line(key) for key in stored if key not in networks] + unused(state_dicts):
        print(f"unused: {key}")
    if rounded := sum(is_rounded(value) for name in networks for value in _used(name, state_dicts[name])):
        print(f"rounded from float64 to float32: {rounded} tensors")
    print(f"{folder}: {', '.join(params)}; {ORIGIN}")


def export_checkpoint(source: str, path: Path) -> None:
    """Writes the weights of a run or an exported folder in the official checkpoint's layout.

    Raises:
      CheckpointError: there are no weights, their model differs from the published one, or the file cannot be written.
    """
    config, params, batch_stats = checkpoint.load_weights(source)
    if config.model.wid_norm != "none":
        raise CheckpointError(
            f"{source}: its config.model.wid_norm is {config.model.wid_norm!r}, and the official code does not "
            "normalise word vectors",
            "export a model that was trained with wid_norm 'none'",
        )
    if not config.model.align_corners:  # no shape shows it
        raise CheckpointError(
            f"{source}: its config.model.align_corners is False, and the official code aligns corners",
            "export a model that was trained with align_corners True",
        )
    try:
        state_dicts = export({name: tree for name, tree in params.items() if name in LAYERS}, batch_stats)
        problems = _convert(state_dicts, None)[2]
    except CheckpointError as error:
        problems = [error.reason]
    if problems:
        differing = "; ".join(checkpoint.changes(common.get_config().model, config.model))
        raise CheckpointError(
            f"{source}: the official code cannot load this model ({problems[-1]})",
            f"export one whose config.model is as published (published → here: {differing or 'no setting differs'})",
        )
    torch_file.write(path, {"step": 0, "epoch": 0} | state_dicts)  # the official code asks for both numbers
    for name in params.keys() - LAYERS.keys():
        print(f"left out: {name}, which the official system does not have")
    print(f"{path}: {', '.join(state_dicts)}")

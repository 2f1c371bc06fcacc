"""The official PyTorch weights, in our layout and back (state dicts of Hangz-nju-cuhk/Talking-Face-Generation-DAVS).

    python -m davs_jax.import_official 101_DAVS_checkpoint.pth.tar weights/official
    python -m davs_jax.import_official --export weights/official official.pth.tar

What differs is the order of axes and the names: a convolution's OIHW is our HWIO, a transposed convolution of
stride 1 is a convolution with its kernel mirrored, and a linear layer's matrix is transposed. No flattened map has
both space and channels, so no linear layer needs its inputs permuted.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from jax.tree_util import tree_flatten_with_path, tree_map_with_path
from ml_collections import ConfigDict

from configs import common
from davs_jax import checkpoint, models
from davs_jax.checkpoint.export import CheckpointError, save_weights
from davs_jax.import_official import torch_file
from davs_jax.import_official.layers import LAYERS, NETWORKS, UNUSED

GENERATION = ("ID_encoder", "lip_feature_encoder", "mfcc_encoder", "Decoder")  # sure to be in every copy
ORIGIN = "official weights of Hangz-nju-cuhk/Talking-Face-Generation-DAVS: non-commercial research and education only"
AUDIO_GAIN, VIDEO_GAIN = 1.5, 0.8  # of wid, in the official Test_Audio_Model.py and Test_Video_Model.py
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_TRANSPOSED = {("decoder", layer) for layer in ("start", "last", "image")}

Arrays = Mapping[str, np.ndarray]


def convert(state_dicts: Mapping[str, Arrays], model: ConfigDict | None = None) -> tuple[dict, dict]:
    """Official weights → ours.

    Args:
      state_dicts: by official network name (any of `NETWORKS`), arrays by key, with or without `module.` before it.
      model: `config.model`, by default the published one; another vocabulary or other clip lengths have other shapes.

    Returns:
      params and batch_stats by our network name, float32; networks without batch norm have `{}` statistics.

    Raises:
      ValueError: a network or key that the official layout does not have, or a missing or misshapen one; every one is
        named, with network, key, expected and found shape.
    """
    problems = [
        f"{name}: not an official network; they are {', '.join(NETWORKS)}" for name in set(state_dicts) - set(NETWORKS)
    ]
    params, batch_stats = {}, {}
    for network, expected in _expected({NETWORKS[name] for name in state_dicts if name in NETWORKS}, model).items():
        official = {ours: name for name, ours in NETWORKS.items()}[network]
        found = {key.removeprefix("module."): np.asarray(value) for key, value in state_dicts[official].items()}
        if wrong := _problems(official, expected, found):
            problems += wrong
            continue
        tree = tree_map_with_path(
            lambda path, _, n=network, f=found: _from_official(n, path, f[_key(n, path)]), expected
        )
        params[network], batch_stats[network] = tree["params"], tree.get("batch_stats", {})
    if problems:
        raise ValueError("these are not weights of the official networks:\n" + "\n".join(problems))
    return params, batch_stats


def export(params: Mapping[str, dict], batch_stats: Mapping[str, dict]) -> dict[str, dict[str, np.ndarray]]:
    """Ours → official state dicts, the exact inverse of `convert`; layers that no forward runs are left out.

    Raises:
      ValueError: a network or a layer that the official system does not have.
    """
    state_dicts = {}
    for network, tree in params.items():
        if network not in LAYERS:
            raise ValueError(f"{network} has no official counterpart; leave it out (these have: {', '.join(LAYERS)})")
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
        for key in (key.removeprefix("module.") for key in tensors)
        if _is_unused(network, key)
    ]


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


def _problems(official: str, expected: dict, found: Arrays) -> list[str]:
    """What is missing, misshapen or unknown in one official state dict."""
    network, lines, known = NETWORKS[official], [], set()
    for path, leaf in tree_flatten_with_path(expected)[0]:
        key, shape = _key(network, path), _to_official(network, path, np.broadcast_to(0, leaf.shape)).shape
        known.add(key)
        if key not in found:
            lines.append(f"{official}.{key}: missing; expected shape {shape}")
        elif found[key].shape != shape:
            lines.append(f"{official}.{key}: expected shape {shape}, found {found[key].shape}")
    for key in found.keys() - known:
        if not _is_unused(official, key):
            lines.append(f"{official}.{key}: unknown, with shape {found[key].shape}")
    return sorted(lines)


def _layer(path) -> str:
    return "/".join(entry.key for entry in path[1:-1])


def _key(network: str, path) -> str:
    """Official key of one of our leaves; `path` starts with its collection."""
    layer = _layer(path)
    if layer not in LAYERS[network]:
        raise ValueError(f"{network} has a layer {layer!r} that the official network has not")
    return f"{LAYERS[network][layer]}.{_LEAVES[path[-1].key]}"


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
    """The official checkpoint → an exported folder, float32, of every network that it holds; prints what is unused.

    Raises:
      CheckpointError: the file cannot be read safely or lacks a network of generation, or the folder cannot be written.
      ValueError: as `convert`.
    """
    stored = torch_file.read(path)
    networks = [name for name in NETWORKS if isinstance(stored, Mapping) and isinstance(stored.get(name), Mapping)]
    if missing := [name for name in GENERATION if name not in networks]:
        raise CheckpointError(
            f"{path}: has no state dict named {', '.join(missing)}; give a whole copy of the released checkpoint"
        )
    state_dicts = {name: stored[name] for name in networks}
    params, batch_stats = convert(state_dicts)
    config = common.get_config()
    config.origin, config.audio_gain, config.video_gain = ORIGIN, AUDIO_GAIN, VIDEO_GAIN
    save_weights(folder, config, params, batch_stats, "float32")
    for key in [str(key) for key in stored if key not in networks] + unused(state_dicts):
        print(f"unused: {key}")
    print(f"{folder}: {', '.join(params)}; {ORIGIN}")


def export_checkpoint(source: str, path: Path) -> None:
    """A run of the published model, or an exported folder of one → the official checkpoint's layout.

    Raises:
      CheckpointError: there are no weights, they are another model's than the published one, or the file cannot be
        written.
    """
    config, params, batch_stats = checkpoint.load_weights(source)
    try:
        state_dicts = export({name: tree for name, tree in params.items() if name in LAYERS}, batch_stats)
        convert(state_dicts)  # refuses what the official networks could not load
    except ValueError as error:
        differing = "; ".join(checkpoint.changes(common.get_config().model, config.model))
        raise CheckpointError(
            f"{source}: the official code cannot load this model ({str(error).splitlines()[-1]}); export one whose "
            f"config.model is as published (published → here: {differing or 'no setting differs'})"
        ) from error
    torch_file.write(path, {"step": 0, "epoch": 0} | state_dicts)  # the official code asks for both numbers
    for name in params.keys() - LAYERS.keys():
        print(f"left out: {name}, which the official system has not")
    print(f"{path}: {', '.join(state_dicts)}")


def main(argv: list[str] | None = None) -> int:
    """Command line: the official checkpoint into our format, or ours into its."""
    parser = argparse.ArgumentParser(
        prog="davs-import-official",
        description="Make the official PyTorch checkpoint usable here. Needs PyTorch: pip install 'davs_jax[torch]'",
        epilog="example: davs-import-official 101_DAVS_checkpoint.pth.tar weights/official",
    )
    parser.add_argument("source", metavar="IN", help="the official .pth.tar; with --export, a workdir or our folder")
    parser.add_argument("out", metavar="OUT", help="folder to write; with --export, the .pth.tar to write")
    parser.add_argument("--export", action="store_true", help="the other way: our weights → the official layout")
    args = parser.parse_args(argv)
    try:
        if args.export:
            export_checkpoint(args.source, Path(args.out))
        else:
            import_checkpoint(Path(args.source), args.out)
    except CheckpointError as error:
        raise SystemExit(f"{parser.prog}: {error}") from error
    except ValueError as error:
        raise SystemExit(f"{parser.prog}: {args.source}: {error}") from error
    return 0

"""The official PyTorch weights, in our layout and back (state dicts of Hangz-nju-cuhk/Talking-Face-Generation-DAVS).

What differs is the order of axes and the names: a convolution's OIHW is our HWIO, a transposed convolution of
stride 1 is a convolution with its kernel mirrored, and a linear layer's matrix is transposed. No flattened map has
both space and channels, so no linear layer needs its inputs permuted.
"""

from collections.abc import Iterator, Mapping

import jax
import numpy as np
from jax.tree_util import tree_flatten_with_path, tree_map_with_path
from ml_collections import ConfigDict

from configs import common
from davs_jax import models

# Names of the networks: the official checkpoint's, ours.
NETWORKS = {
    "ID_encoder": "person_encoder",
    "lip_feature_encoder": "visual_encoder",
    "mfcc_encoder": "audio_encoder",
    "Decoder": "decoder",
    "model_fusion": "word_classifier",
    "ID_lip_discriminator": "word_adversary",
    "discriminator_audio": "modality_discriminator",
    "netD_mul": "sequence_discriminator",
    "netD": "frame_discriminator",
}
# Layers that the official networks define and no official forward runs; a state dict may hold them.
UNUSED = {
    "lip_feature_encoder": ("model.conv5", "model.conv6", "model.fc"),
    "mfcc_encoder": ("model1.bn5",),
    "model_fusion": ("dis",),
    "netD_mul": ("conv8", "bn7", "bn8", "bn9"),
    "netD": ("conv8", "bn7", "bn8", "bn9"),
}
_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_TRANSPOSED = {("decoder", layer) for layer in ("start", "last", "image")}

Arrays = Mapping[str, np.ndarray]


def _person_layers() -> Iterator[tuple[str, str]]:
    for block in (1, 11, 12, 13, 14, *range(21, 27), 31, 32, 33, 34, 41, 42):
        for branch in "ab":
            official = f"block{block}.conv{block:02d}_{branch}"
            yield f"block{block}/conv_{branch}", official
            yield f"block{block}/norm_{branch}", f"{official}_bn"


def _visual_layers() -> Iterator[tuple[str, str]]:
    blocks = {
        "block1": "conv2",
        "block2": "conv3",
        "block3": "conv4",
        "top": "top_m_0",
        "hourglass/bottom_1": "m0.b2_plus_1",
    }
    for level in (1, 2, 3, 4):
        for ours, official in (("upper", "b1"), ("down", "b2"), ("up", "b3")):
            blocks[f"hourglass/{ours}_{level}"] = f"m0.{official}_{level}"
    for ours, official in blocks.items():
        for i in (1, 2, 3):
            yield f"{ours}/conv{i}", f"model.{official}.conv{i}"
            yield f"{ours}/norm{i}", f"model.{official}.bn{i}"
        yield f"{ours}/shortcut_norm", f"model.{official}.downsample.0"  # only where the widths differ
        yield f"{ours}/shortcut", f"model.{official}.downsample.2"
    yield from {
        "stem": "model.conv1",
        "stem_norm": "model.bn1",
        "last": "model.conv_last0",
        "last_norm": "model.bn_end0",
        "landmarks": "model.l0",
        "landmarks_norm": "bn1",
        "squeeze": "conv6",
        "wid": "fc",
    }.items()


def _audio_layers() -> Iterator[tuple[str, str]]:
    for branch, official, layers in (("grid", "model1", 4), ("time", "model2", 3)):
        for i in range(1, layers + 1):
            yield f"{branch}{i}", f"{official}.conv{i}"
            yield f"{branch}{i}_norm", f"{official}.bn{i}"  # none after the last
    yield "wid", "fc"


def _decoder_layers() -> Iterator[tuple[str, str]]:
    yield from (("start", "deconv1_1_new"), ("start_norm", "deconv1_1_bn"))
    for block, convolutions in enumerate((2, 3, 4, 4, 3, 2), start=1):
        for i in range(convolutions):
            yield f"block{block}_{i}", f"convblock{block}.conv{block}_{i}"
            yield f"block{block}_{i}_norm", f"convblock{block}.conv{block}_{i}_bn"
    yield from (("last", "conv7_1"), ("last_norm", "conv7_1_bn"), ("image", "conv7_2"))


def _discriminator_layers() -> Iterator[tuple[str, str]]:
    yield from (("conv1", "conv1"), ("patch", "conv4"), ("mouth2", "conv9"), ("hidden", "fc"), ("match", "fc2"))
    normed = {"conv2": ("conv2_1", "norm_1"), "conv3": ("conv2_2", "norm_2"), "conv4": ("conv3", "norm3")}
    normed |= {"mouth1": ("conv6", "bn6")} | {f"sound{i}": (f"mfcc_conv{i}", f"mfcc_bn{i}") for i in (1, 2, 3, 4)}
    for ours, (conv, norm) in normed.items():
        yield from ((ours, conv), (f"{ours}_norm", norm))


# By our network: our layer → the official one.
LAYERS = {
    "person_encoder": dict(_person_layers()),
    "visual_encoder": dict(_visual_layers()),
    "audio_encoder": dict(_audio_layers()),
    "decoder": dict(_decoder_layers()),
    "word_classifier": {"hidden": "fc_1", "logits": "fc_2"},
    "word_adversary": {"squeeze": "conv6", "frame": "fc", "logits": "fc_2"},
    "modality_discriminator": {"hidden": "fc1", "logit": "fc2"},
    "sequence_discriminator": dict(_discriminator_layers()),
    "frame_discriminator": dict(_discriminator_layers()),
}


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

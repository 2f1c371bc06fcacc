"""Weights outside a training run: the exported folder, and placing arrays into a state by name.

An exported folder is `config.json` and `weights.npz`: what inference needs and no more, readable with NumPy alone.
Their checksums lie beside them.
"""

import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from davs_jax import systems
from davs_jax.checkpoint import checksums
from davs_jax.errors import CheckpointError, first_line

CONFIG, WEIGHTS = "config.json", "weights.npz"
# Settings of `config.model` that came after the first checkpoints.
LATER = {
    "system": systems.DAVS,
    "wid_norm": "none",
    "spectrum": "mfcc",
    "sync_size": 224,
    "flow": False,
    "flow_stride": 4,
    "visual_size": 0,
}
DEMO = str(Path(__file__).parents[1] / "demo")  # the exported folder that comes with the package
Tree = Mapping[str, Any]


@contextlib.contextmanager
def writing(folder: epath.Path) -> Iterator[None]:
    """Turns whatever the writers raise into one sentence, a CheckpointError."""
    try:
        yield
    except Exception as error:
        raise CheckpointError(
            f"{folder} could not be written ({first_line(error)})", "make room or correct its permissions and run again"
        ) from error


@contextlib.contextmanager
def reading(folder: epath.Path) -> Iterator[None]:
    """Turns whatever the readers raise into one sentence, a CheckpointError."""
    try:
        yield
    except Exception as error:
        raise CheckpointError(
            f"{folder} cannot be read ({first_line(error)})",
            "it may be damaged: delete it, or name another checkpoint",
        ) from error


def damaged(folder: epath.Path, what: str) -> CheckpointError:
    """The error for files that are not as they were written; `what` is in the words of `checksums.damage`."""
    return CheckpointError(
        f"{folder} is damaged ({what})", "use another copy, or delete its checksums-*.txt to use it as it is"
    )


def as_path(path: str) -> epath.Path:
    """A local folder as an absolute path (Orbax wants that), a remote one (gs://…) as it is."""
    return epath.Path(path if "://" in str(path) else os.path.abspath(os.path.expanduser(path)))


def leaves(tree: Any, **options) -> dict[str, Any]:
    """Leaves by name, `decoder/conv1/kernel`: the same for a state and for the metadata of a stored one."""
    flat, _ = jax.tree_util.tree_flatten_with_path(tree, **options)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}


def save_weights(
    folder: str, config: ConfigDict, params: Mapping[str, Tree], batch_stats: Mapping[str, Tree], dtype: str = "float16"
) -> None:
    """Writes an exported folder; batch statistics, small and of great range, stay float32.

    Raises:
      CheckpointError: a number does not fit into `dtype`, or the folder cannot be written.
    """
    arrays = {f"batch_stats/{name}": np.float32(leaf) for name, leaf in leaves(batch_stats).items()}
    for name, leaf in leaves(params).items():
        with np.errstate(over="ignore"):
            arrays[f"params/{name}"] = np.asarray(leaf).astype(dtype)
        if not np.isfinite(arrays[f"params/{name}"]).all():
            raise CheckpointError(f"{name} holds numbers that are not finite in {dtype}", "export as float32")
    buffer, place = io.BytesIO(), as_path(folder)
    np.savez(buffer, **arrays)
    with writing(place):
        place.mkdir(parents=True, exist_ok=True)
        (place / CONFIG).write_text(config.to_json(indent=2))
        (place / WEIGHTS).write_bytes(buffer.getvalue())
        checksums.write(place, (CONFIG, WEIGHTS))


def completed(config: ConfigDict) -> ConfigDict:
    """The configuration of an earlier version with the settings of `config.model` that it lacks, as it behaved."""
    later = LATER | {"wid_dim": config.model.embed_dim}  # once the length of both pid and wid
    for key, value in later.items():
        if key not in config.model:
            config.model[key] = value
    return config


def load_exported(folder: epath.Path) -> tuple[ConfigDict, dict[str, Tree], dict[str, Tree]]:
    """The inverse of `save_weights`: the configuration, and by network params and batch statistics in float32.

    Raises:
      CheckpointError: a file is missing or damaged, or a number is not finite.
    """
    trees: dict[str, dict] = {"params": {}, "batch_stats": {}}
    with reading(folder):
        what = checksums.damage(folder)  # folders of earlier versions have none to compare
    if what:
        raise damaged(folder, what)
    with reading(folder):
        config = completed(ConfigDict(json.loads((folder / CONFIG).read_text())))
        with np.load(io.BytesIO((folder / WEIGHTS).read_bytes()), allow_pickle=False) as stored:
            for name in stored.files:
                *parents, leaf = name.split("/")
                node = trees
                for parent in parents:
                    node = node.setdefault(parent, {})
                node[leaf] = stored[name].astype(np.float32)
    check_finite(folder, trees)
    return config, trees["params"], {name: trees["batch_stats"].get(name, {}) for name in trees["params"]}


def check_finite(folder: epath.Path, tree: Tree) -> None:
    """Refuses weights that are NaN or infinite.

    Args:
      tree: NumPy arrays, or arrays on devices, of which every process looks at its own part.

    Raises:
      CheckpointError: with the name of the first such leaf.
    """
    for name, leaf in leaves(tree).items():
        parts = [leaf]
        if isinstance(leaf, jax.Array):
            parts = [np.asarray(shard.data) for shard in leaf.addressable_shards if shard.replica_id == 0]
        if not all(np.isfinite(part).all() for part in parts):
            raise CheckpointError(
                f"{folder} holds numbers that are not finite, in {name}", "use another checkpoint or export"
            )


def placed(what: str, like: Tree, found: Tree) -> Tree:
    """`found` with the types and on the devices of `like`; strict about names and shapes."""
    wanted, values = leaves(like), leaves(found)
    for name in sorted(wanted.keys() | values.keys()):
        expected, got = (tuple(side[name].shape) if name in side else "no such leaf" for side in (wanted, values))
        if expected != got:
            raise CheckpointError(
                f"{what}, leaf {name}: expected {expected}, found {got}",
                "set config.model as in that run, or take the folder out of config.init_from",
            )

    def place(name: str, leaf: jax.Array) -> jax.Array:
        value = values[name].astype(leaf.dtype)
        # Works in a job of many processes too, where each can only address its own devices.
        return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda index: value[index])

    return jax.tree.unflatten(jax.tree.structure(like), [place(name, leaf) for name, leaf in wanted.items()])

"""Checkpoints on the disk: which there are, what is in them, and weights out of them."""

import json
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from ml_collections import ConfigDict

from davs_jax.checkpoint.export import (
    CONFIG,
    WEIGHTS,
    CheckpointError,
    Tree,
    as_path,
    leaves,
    load_exported,
    placed,
    reading,
    save_weights,
)
from davs_jax.models import ADVERSARIES

PARTS = ("_CHECKPOINT_METADATA", "config/metadata", "state/_METADATA", "state/manifest.ocdbt")


def checkpoints_folder(workdir: str) -> epath.Path:
    return as_path(workdir) / "checkpoints"


def changes(before: ConfigDict, after: ConfigDict) -> list[str]:
    """Differing settings as readable lines: `width: 1.0 → 0.5`."""
    old, new = (
        leaves(json.loads(config.to_json()), is_leaf=lambda x: isinstance(x, list)) for config in (before, after)
    )
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return [f"{name}: {old.get(name, 'absent')} → {new.get(name, 'absent')}" for name in names]


def metadata(folder: epath.Path) -> dict:
    """Shapes and types of a checkpoint's state; CheckpointError where they cannot be read."""
    with reading(folder):
        return ocp.PyTreeCheckpointHandler().metadata(folder / "state").tree


def read_config(folder: epath.Path) -> ConfigDict:
    """The configuration that made a checkpoint; CheckpointError where it cannot be read."""
    with reading(folder):
        return ConfigDict(ocp.Checkpointer(ocp.JsonCheckpointHandler()).restore(folder / "config"))


def load_weights(path: str) -> tuple[ConfigDict, dict[str, Tree], dict[str, Tree]]:
    """The weights of a run, as NumPy arrays on the host, whatever devices saved them.

    Args:
      path: a workdir (its latest checkpoint), one checkpoint in it, or an exported folder.

    Returns:
      the configuration, and by network its params (averaged where the run averages them) and batch statistics.

    Raises:
      CheckpointError: nothing to load there, or it is damaged.
    """
    folder = as_path(path)
    if (folder / WEIGHTS).exists():
        return load_exported(folder)
    checkpoint = find_checkpoint(path)
    parts = {key: tree for key, tree in metadata(checkpoint).items() if key in ("params", "batch_stats", "ema")}
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), parts)
    with reading(checkpoint):
        stored = ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(
            checkpoint / "state", args=ocp.args.PyTreeRestore(parts, as_numpy, partial_restore=True)
        )
    return read_config(checkpoint), stored["params"] | stored["ema"], stored["batch_stats"]


def find_checkpoint(path: str) -> epath.Path:
    """The checkpoint that `path` means: itself, or the latest one of a workdir.

    Raises:
      CheckpointError: there is none.
    """
    folder = as_path(path)
    if (folder / "state").exists():
        return folder
    if steps := checkpoint_steps(path):
        return checkpoints_folder(path) / str(steps[-1])
    raise CheckpointError(
        f"{path} holds no weights: name a workdir of python -m davs_jax.main, one of its checkpoints, or a folder "
        f"with {CONFIG} and {WEIGHTS}"
    )


def export_weights(path: str, folder: str, dtype: str = "float16") -> None:
    """Exports a run for inference: the generator player's networks, without the adversaries and the optimizers.

    Raises:
      CheckpointError: as `load_weights` and `save_weights`.
    """
    config, params, batch_stats = load_weights(path)
    kept = {name: tree for name, tree in params.items() if name not in ADVERSARIES}
    save_weights(folder, config, kept, {name: batch_stats[name] for name in kept}, dtype)


def init_from(config: ConfigDict, state: Any) -> tuple[dict[str, dict[str, Tree]], dict[str, str]]:
    """The weights that `config.init_from` has for a state.

    Args:
      state: with `params` and `batch_stats` by network, as `training.state.abstract_state` describes them.

    Returns:
      `{"params", "batch_stats"}` by network, placed as in `state`, of those that were found; and for every network
      where its weights come from: a folder, or "fresh".

    Raises:
      CheckpointError: a leaf is missing, unknown or of another shape, or a network of `config.init_networks` was
        not found.
    """
    given, origins = {}, dict.fromkeys(state.params, "fresh")
    for place in filter(None, map(str.strip, config.init_from.split(","))):
        _, *found = load_weights(place)
        for name in [n for n in state.params if n not in given and n in found[0]]:
            wanted = {"params": state.params[name], "batch_stats": state.batch_stats[name]}
            given[name] = {
                kind: placed(f"{place}: {name}", tree, values[name])
                for (kind, tree), values in zip(wanted.items(), found, strict=True)
            }
            origins[name] = place
    if missing := [name for name in config.init_networks if name not in given]:
        raise CheckpointError(
            f"config.init_networks wants {', '.join(missing)}, found nowhere in config.init_from={config.init_from!r}; "
            "name a workdir or an exported folder that holds them"
        )
    return given, origins


def checkpoint_steps(workdir: str) -> list[int]:
    """Steps of the whole checkpoints of a workdir, oldest first; CheckpointError where it cannot be read."""
    return sorted(int(folder.name) for folder in _saves(workdir) if folder.name.isdigit() and _is_whole(folder))


def unfinished(workdir: str) -> list[epath.Path]:
    """What was being saved when a run was killed or its disk was full, or lost a part later; never chosen."""
    return sorted(folder for folder in _saves(workdir) if not (folder.name.isdigit() and _is_whole(folder)))


def _saves(workdir: str) -> list[epath.Path]:
    """All that Orbax has written there: `6`, and `6` with its mark of an unfinished save behind it."""
    folder = checkpoints_folder(workdir)
    with reading(folder):
        return [path for path in folder.iterdir() if path.name[:1].isdigit()] if folder.exists() else []


def _is_whole(folder: epath.Path) -> bool:
    """Whether its save came to an end, which Orbax notes last, and no part of it is missing or empty."""
    try:
        ended = json.loads((folder / PARTS[0]).read_text()).get("commit_timestamp_nsecs")
        return bool(ended) and all((folder / part).stat().length for part in PARTS)
    except (OSError, ValueError):
        return False


def figures(folder: epath.Path) -> dict[str, float]:
    """What validation found at this checkpoint's step; empty where it did not run."""
    path = folder / "metrics" / "metrics"
    with reading(folder):
        return json.loads(path.read_text()) if path.exists() else {}

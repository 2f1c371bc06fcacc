"""Checkpoints and weights: saved, kept, restored on any devices, carried over. The only home of Orbax.

A workdir holds `checkpoints/STEP/` with the training state, the configuration that made it and, where the run was
validated at that step, its figures. The position in the data is the step itself.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from ml_collections import ConfigDict
from orbax.checkpoint import checkpoint_managers as policies

from davs_jax import state as states
from davs_jax.state import DavsState
from davs_jax.weights import (
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
    writing,
)


class Checkpoints:
    """The checkpoints of one training run: the latest `keep`, and the best by a validation figure.

    Saving is asynchronous; a failed save fails the next call. Every process of the job makes the same calls.

    Args:
      workdir: folder of the run; made where it is missing.
      keep: latest checkpoints kept.
      best: validation figure whose greatest value keeps its checkpoint too; "" is none.

    Raises:
      CheckpointError: the folder cannot be made.
    """

    def __init__(self, workdir: str, keep: int, best: str):
        def value(figures: dict) -> float:
            return figures.get(best, -math.inf)

        kept = policies.AnyPreservationPolicy([policies.LatestN(keep), policies.BestN(get_metric_fn=value, n=1)])
        options = policies.CheckpointManagerOptions(
            best_fn=value,
            cleanup_tmp_directories=True,
            preservation_policy=kept,
            # A folder that cannot be made is then told at once; else the writers wait five minutes for it.
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
        )
        self._folder = checkpoints_folder(workdir)
        with writing(self._folder):
            self._manager = ocp.CheckpointManager(self._folder, options=options)

    @property
    def latest(self) -> int | None:
        """Step of the newest checkpoint, None where there is none."""
        return self._manager.latest_step()

    def reached_preemption(self, step: int) -> bool:
        """Whether a signal to one of several processes makes this the step after which all save and stop.

        To be asked at every step by every process (`jax.experimental.multihost_utils`); False in a lone process.
        """
        return self._manager.reached_preemption(step)

    def save(self, step: int, state: DavsState, config: ConfigDict, figures: Mapping[str, float] | None = None) -> None:
        """Starts to save; a step that is already there is left as it is.

        Args:
          figures: what validation found at this step, if it ran.

        Raises:
          CheckpointError: this save, or the one before, failed.
        """
        if step == self.latest:
            return
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), config=ocp.args.JsonSave(json.loads(config.to_json()))
        )
        with writing(self._folder):
            self._manager.save(step, args=items, metrics=dict(figures or {}))

    def restore_latest(self, config: ConfigDict, abstract_state: DavsState) -> tuple[DavsState, ConfigDict]:
        """The newest checkpoint on the mesh of `abstract_state`, and the configuration it was saved with.

        Raises:
          CheckpointError: it is damaged, or made by a model or stage that differs.
        """
        folder = self._folder / str(self.latest)
        saved = _read_config(folder)
        if differing := changes(saved.model, config.model):
            raise CheckpointError(
                f"{folder} was made with another model ({'; '.join(differing)} now); set these back, or start a new "
                "--workdir (with --config.init_from to carry weights over)"
            )
        self._check_fits(folder, abstract_state)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state))
        with reading(folder):
            return self._manager.restore(self.latest, args=items)["state"], saved

    def _check_fits(self, folder: epath.Path, abstract_state: DavsState) -> None:
        found = {name: tuple(leaf.shape) for name, leaf in leaves(_metadata(folder)).items()}
        wanted = {name: leaf.shape for name, leaf in leaves(abstract_state).items()}
        differing = sorted(n for n in found.keys() | wanted.keys() if found.get(n) != wanted.get(n))
        if differing:
            name = differing[0]
            raise CheckpointError(
                f"{folder} does not hold what this stage trains: {name} is {found.get(name, 'missing')} there and "
                f"{wanted.get(name, 'missing')} here ({len(differing)} such); start a new --workdir with "
                f"--config.init_from={self._folder.parent} to carry weights over"
            )

    def close(self) -> None:
        """Waits until all is saved.

        Raises:
          CheckpointError: the last save failed.
        """
        with writing(self._folder):
            self._manager.wait_until_finished()
        self._manager.close()


def checkpoints_folder(workdir: str) -> epath.Path:
    return as_path(workdir) / "checkpoints"


def changes(before: ConfigDict, after: ConfigDict) -> list[str]:
    """Differing settings as readable lines: `width: 1.0 → 0.5`."""
    old, new = (
        leaves(json.loads(config.to_json()), is_leaf=lambda x: isinstance(x, list)) for config in (before, after)
    )
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return [f"{name}: {old.get(name, 'absent')} → {new.get(name, 'absent')}" for name in names]


def _metadata(folder: epath.Path) -> dict:
    with reading(folder):
        return ocp.PyTreeCheckpointHandler().metadata(folder / "state").tree


def _read_config(folder: epath.Path) -> ConfigDict:
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
    parts = {key: tree for key, tree in _metadata(checkpoint).items() if key in ("params", "batch_stats", "ema")}
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), parts)
    with reading(checkpoint):
        stored = ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(
            checkpoint / "state", args=ocp.args.PyTreeRestore(parts, as_numpy, partial_restore=True)
        )
    return _read_config(checkpoint), stored["params"] | stored["ema"], stored["batch_stats"]


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
    kept = {name: tree for name, tree in params.items() if name not in states.adversaries(config)}
    save_weights(folder, config, kept, {name: batch_stats[name] for name in kept}, dtype)


def init_from(config: ConfigDict, state: DavsState) -> tuple[dict[str, dict[str, Tree]], dict[str, str]]:
    """The weights that `config.init_from` has for a state.

    Args:
      state: as `state.abstract_state` describes it.

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
    """Steps of the finished checkpoints of a workdir, oldest first; CheckpointError where it cannot be read."""
    folder = checkpoints_folder(workdir)
    with reading(folder):
        return sorted(ocp.utils.checkpoint_steps(folder)) if folder.exists() else []


def figures(folder: epath.Path) -> dict[str, float]:
    """What validation found at this checkpoint's step; empty where it did not run."""
    path = folder / "metrics" / "metrics"
    with reading(folder):
        return json.loads(path.read_text()) if path.exists() else {}


def _list(workdir: str) -> None:
    """Prints one line per checkpoint: step, the figure that chooses the best, size on disk."""
    folders = [checkpoints_folder(workdir) / str(step) for step in checkpoint_steps(workdir)]
    name = _read_config(find_checkpoint(workdir)).checkpoint.best
    values = {folder: figures(folder).get(name, -math.inf) for folder in folders}
    best = max(reversed(folders), key=values.get)  # of equals, the later is kept
    print(f"{'step':>10}  {name or 'figure':>16}  {'MB':>8}")
    for folder, value in values.items():
        shown, mark = (f"{value:.4f}", "  best" * (folder == best)) if math.isfinite(value) else ("–", "")
        print(f"{folder.name:>10}  {shown:>16}  {_size(folder) / 1e6:8.1f}{mark}")


def _size(path: epath.Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(map(_size, path.iterdir())) if path.is_dir() else path.stat().length


def _show(path: str) -> None:
    """Prints the configuration, and every network's parameters."""
    config, params, _ = load_weights(path)
    print(config.to_json(indent=2))
    for name, tree in params.items():
        print(f"{name:>24}  {sum(leaf.size for leaf in leaves(tree).values()):12,} parameters")


def main(argv: list[str] | None = None) -> int:
    """Command line: what a workdir holds, and carrying weights out of it."""
    parser = argparse.ArgumentParser(
        prog="python -m davs_jax.checkpoint",
        description="Look at checkpoints, and export weights for generation on another machine.",
        epilog="example: python -m davs_jax.checkpoint export runs/joint weights/joint --dtype float16",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    ls = commands.add_parser("ls", help="one line per checkpoint: step, validation figure, size")
    show = commands.add_parser("show", help="the configuration, and the networks' parameter counts")
    export = commands.add_parser("export", help="write a small folder for inference: config.json and weights.npz")
    ls.add_argument("path", metavar="W", help="workdir of a training run")
    for command in (show, export):
        command.add_argument("path", metavar="W", help="a workdir (its latest checkpoint), or one checkpoint in it")
    export.add_argument("folder", metavar="OUT", help="folder to write")
    export.add_argument("--dtype", choices=("float16", "float32"), default="float16", help="default: %(default)s")
    args = parser.parse_args(argv)
    try:
        match args.command:
            case "ls":
                _list(args.path)
            case "show":
                _show(args.path)
            case "export":
                export_weights(args.path, args.folder, args.dtype)
    except CheckpointError as error:
        raise SystemExit(f"{parser.prog}: {error}") from error
    return 0


if __name__ == "__main__":
    sys.exit(main())

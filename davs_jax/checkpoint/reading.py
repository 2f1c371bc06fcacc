"""Stored checkpoints: finds them, checks them, and loads their configuration and weights."""

import json
import logging
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from ml_collections import ConfigDict

from davs_jax import models
from davs_jax.checkpoint import checksums
from davs_jax.checkpoint.export import (
    CONFIG,
    WEIGHTS,
    Tree,
    as_path,
    check_finite,
    completed,
    damaged,
    leaves,
    load_exported,
    placed,
    reading,
    save_weights,
)
from davs_jax.errors import CheckpointError

log = logging.getLogger(__name__)

READ_WORDS = ("visual_encoder", "audio_encoder", "word_classifier", "decoder")
NUMBER_WORDS = ("word_classifier", "word_adversary")  # an output per word of the vocabulary
HEAR = ("audio_encoder", "sequence_discriminator", "frame_discriminator")
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
        return completed(ConfigDict(ocp.Checkpointer(ocp.JsonCheckpointHandler()).restore(folder / "config")))


def load_weights(path: str) -> tuple[ConfigDict, dict[str, Tree], dict[str, Tree]]:
    """The weights of a run, as NumPy arrays on the host, whatever devices saved them.

    Args:
      path: a workdir (its latest checkpoint; a damaged one is passed over with a warning), one checkpoint in it, or an
        exported folder.

    Returns:
      the configuration, and by network its params (averaged where the run averages them) and batch statistics.

    Raises:
      CheckpointError: nothing to load there, it is damaged, or a number is not finite.
    """
    folder = as_path(path)
    if (folder / WEIGHTS).exists():
        return load_exported(folder)
    checkpoint = _undamaged(path)
    parts = {key: tree for key, tree in metadata(checkpoint).items() if key in ("params", "batch_stats", "ema")}
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), parts)
    with reading(checkpoint):
        stored = ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(
            checkpoint / "state", args=ocp.args.PyTreeRestore(parts, as_numpy, partial_restore=True)
        )
    check_finite(checkpoint, stored)
    return read_config(checkpoint), stored["params"] | stored["ema"], stored["batch_stats"]


def _undamaged(path: str) -> epath.Path:
    """The checkpoint that `path` names, or the latest one of a workdir that is not damaged."""
    folder = as_path(path)
    if (folder / "state").exists():
        with reading(folder):
            what = checksums.damage(folder)
        if what:
            raise damaged(folder, what)
        return folder
    found = {}
    for checkpoint in finished(path):
        if not (what := damage(checkpoint)):
            return checkpoint
        log.warning("%s is damaged (%s); an earlier checkpoint is used instead", checkpoint, what)
        found[checkpoint.name] = what
    if found:
        raise none_whole(checkpoints_folder(path), found)
    return find_checkpoint(path)


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
        f"{path} holds no weights",
        f"name a workdir of python -m davs_jax.main, one of its checkpoints, or a folder with {CONFIG} and {WEIGHTS}",
    )


def export_weights(path: str, folder: str, dtype: str = "float16", words: str = "") -> None:
    """Exports a run for inference: the generator player's networks, without the adversaries and the optimizers.

    Args:
      words: a run of the stage `word`, whose word classifier and vocabulary are added; for a run of the stage
        `generator`, which keeps the word encoders of that run but not its classifier.

    Raises:
      CheckpointError: as `load_weights` and `save_weights`, or the two runs have other word encoders.
    """
    config, params, batch_stats = load_weights(path)
    if words:
        read, reader, statistics = load_weights(words)
        for name in ("audio_encoder", "visual_encoder"):
            ours, theirs = (leaves(tree.get(name, {})) for tree in (params, reader))
            if ours.keys() != theirs.keys() or not all(np.array_equal(ours[leaf], theirs[leaf]) for leaf in ours):
                raise CheckpointError(
                    f"{words} and {path} have different weights in {name}", "name the run from which its encoders came"
                )
        if "word_classifier" not in reader:
            raise CheckpointError(f"{words} has no word classifier", "name a run of the stage word")
        config.words, config.model.num_words = read.words, read.model.num_words
        params["word_classifier"] = reader["word_classifier"]
        batch_stats["word_classifier"] = statistics["word_classifier"]
    adversaries = models.adversaries(config.model)
    kept = {name: tree for name, tree in params.items() if name not in adversaries}
    save_weights(folder, config, kept, {name: batch_stats[name] for name in kept}, dtype)


def init_from(config: ConfigDict, state: Any) -> tuple[dict[str, dict[str, Tree]], dict[str, str]]:
    """The weights that `config.init_from` has for a state.

    Args:
      state: with `params` and `batch_stats` by network, as `training.state.abstract_state` describes them.

    Returns:
      `{"params", "batch_stats"}` by network, placed as in `state`, of those that were found; and for every network
      where its weights come from: a folder, or "fresh".

    Raises:
      CheckpointError: a leaf is missing, unknown or of another shape, a network was trained for other inputs or words,
        or a network of `config.init_networks` was not found or is none of the state's.
    """
    if unused := [name for name in config.init_networks if name not in state.params]:
        raise CheckpointError(
            f"config.init_networks wants {', '.join(unused)}, which no term of this stage uses",
            f"leave it out, or give weight to a term that uses it; the stage's networks are {', '.join(state.params)}",
        )
    given, origins = {}, dict.fromkeys(state.params, "fresh")
    for place in filter(None, map(str.strip, config.init_from.split(","))):
        its_config, *found = load_weights(place)
        taken = [name for name in state.params if name not in given and name in found[0]]
        _check_kind(place, its_config, config, "wid_norm", [name for name in taken if name in READ_WORDS])
        _check_kind(place, its_config, config, "spectrum", [name for name in taken if name in HEAR])
        _check_kind(place, its_config, config, "sync_size", [name for name in taken if name == "syncnet"])
        _check_words(place, its_config, config, [name for name in taken if name in NUMBER_WORDS])
        for name in taken:
            weights = {"params": found[0][name], "batch_stats": found[1][name]}
            given[name] = placed_like(name, state, weights, place)
            origins[name] = place
    if missing := [name for name in config.init_networks if name not in given]:
        raise CheckpointError(
            f"config.init_networks wants {', '.join(missing)}, found nowhere in config.init_from={config.init_from!r}",
            "name a workdir or an exported folder that holds them",
        )
    return given, origins


def _check_words(place: str, its_config: ConfigDict, config: ConfigDict, taken: list[str]) -> None:
    """As many words in another order have the same shapes."""
    wanted, found = (tuple(c.get("words", ())) for c in (config, its_config))
    if taken and wanted and found and wanted != found:
        number = next((i for i, pair in enumerate(zip(wanted, found, strict=False)) if len(set(pair)) > 1), None)
        differ = f"{len(found)} words" if number is None else f"{found[number]!r} as word {number}"
        here = f"{len(wanted)}" if number is None else f"{wanted[number]!r}"
        raise CheckpointError(
            f"{place}: its {taken[0]} was trained with {differ}, and this stage has {here}",
            "set config.words to the words of that run, in their order, or take the folder out of config.init_from",
        )


def placed_like(name: str, state: Any, weights: dict[str, Tree], place: str = "") -> dict[str, Tree]:
    """One network's `{"params", "batch_stats"}`, NumPy arrays, as a state has them.

    Args:
      state: as of `init_from`.
      place: where they come from, for the error.

    Raises:
      CheckpointError: a leaf is missing, unknown or of another shape.
    """
    wanted = {"params": state.params[name], "batch_stats": state.batch_stats[name]}
    what = f"{place}: {name}" if place else name
    return {kind: placed(what, tree, weights[kind]) for kind, tree in wanted.items()}


def _check_kind(place: str, its_config: ConfigDict, config: ConfigDict, key: str, taken: list[str]) -> None:
    """Networks have learnt their inputs as `config.model[key]` made them there, which no shape shows."""
    wanted, found = (c.model[key] for c in (config, its_config))
    if wanted != found and taken:
        raise CheckpointError(
            f"{place}: its {taken[0]} was trained with config.model.{key} {found!r}, and this stage has {wanted!r}",
            f"set --config.model.{key}={found}, or take the folder out of config.init_from",
        )


def checkpoint_steps(workdir: str) -> list[int]:
    """Steps of the whole checkpoints of a workdir, oldest first; CheckpointError where it cannot be read."""
    return sorted(int(folder.name) for folder in _saves(workdir) if folder.name.isdigit() and _is_whole(folder))


def finished(workdir: str) -> list[epath.Path]:
    """Checkpoints whose save was completed, newest first, damaged ones too."""
    steps = [folder for folder in _saves(workdir) if folder.name.isdigit()]
    return sorted(filter(_is_finished, steps), key=lambda folder: -int(folder.name))


def unfinished(workdir: str) -> list[epath.Path]:
    """What was being saved when a run was killed or its disk was full; never chosen."""
    return sorted(folder for folder in _saves(workdir) if not (folder.name.isdigit() and _is_finished(folder)))


def damage(folder: epath.Path, verify: bool = True, index: int = 0, count: int = 1) -> str | None:
    """What is damaged in a checkpoint or an exported folder, in words; None where nothing is known to be.

    Args:
      verify: whether to read all files and compare their checksums; else only missing and empty parts are reported.
      index, count: this process, and how many share the reading.

    Raises:
      CheckpointError: it cannot be read at all.
    """
    if not ((folder / WEIGHTS).exists() or _is_whole(folder)):
        return "a part is missing or unreadable"
    with reading(folder):
        return checksums.damage(folder, index, count) if verify else None


def none_whole(folder: epath.Path, found: dict[str, str]) -> CheckpointError:
    """The error where all checkpoints are damaged; `found` is by step, in the words of `damage`."""
    listed = ", ".join(f"{step} ({what})" for step, what in found.items())
    return CheckpointError(
        f"{folder} has no undamaged checkpoint: {listed}",
        "bring back a copy, start a new --workdir, or delete the checksums-*.txt of a checkpoint to use it as it is",
    )


def _saves(workdir: str) -> list[epath.Path]:
    """All that Orbax has written there: `6`, and `6` followed by its mark of an unfinished save."""
    folder = checkpoints_folder(workdir)
    with reading(folder):
        return [path for path in folder.iterdir() if path.name[:1].isdigit()] if folder.exists() else []


def _is_finished(folder: epath.Path) -> bool:
    """Whether its save was completed. Checksums are written after that."""
    return checksums.exist(folder) or _is_whole(folder)


def _is_whole(folder: epath.Path) -> bool:
    """Whether its save was completed, which Orbax notes last, and no part of it is missing or empty."""
    try:
        ended = json.loads((folder / PARTS[0]).read_text()).get("commit_timestamp_nsecs")
        figures(folder)  # Orbax reads those of all checkpoints, and would refuse to open the folder
        return bool(ended) and all((folder / part).stat().length for part in PARTS)
    except (OSError, ValueError, CheckpointError):
        return False


def figures(folder: epath.Path) -> dict[str, float]:
    """What validation found at this checkpoint's step; empty where it did not run."""
    path = folder / "metrics" / "metrics"
    with reading(folder):
        return json.loads(path.read_text()) if path.exists() else {}

"""Checkpoints and weights: saved, kept, restored on any devices, carried over. The only home of Orbax.

A workdir holds `checkpoints/STEP/` with the training state, the configuration that made it and, where the run was
validated at that step, its figures. The position in the data is the step itself. `run.lock` names the run
that holds the workdir.
"""

from davs_jax.checkpoint.export import as_path, completed, save_weights
from davs_jax.checkpoint.reading import (
    changes,
    checkpoint_steps,
    checkpoints_folder,
    export_weights,
    find_checkpoint,
    init_from,
    load_weights,
    placed_like,
    unfinished,
)
from davs_jax.checkpoint.saving import Checkpoints, find_damaged

__all__ = [
    "Checkpoints",
    "as_path",
    "changes",
    "checkpoint_steps",
    "checkpoints_folder",
    "completed",
    "export_weights",
    "find_checkpoint",
    "find_damaged",
    "init_from",
    "load_weights",
    "placed_like",
    "save_weights",
    "unfinished",
]

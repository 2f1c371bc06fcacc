"""The checkpoints of a run while it trains: saved, kept, restored on any devices and processes."""

import json
import math
import shutil
from collections.abc import Mapping
from typing import TypeVar

import jax
import orbax.checkpoint as ocp
from etils import epath
from ml_collections import ConfigDict
from orbax.checkpoint import checkpoint_managers as policies

from davs_jax.checkpoint.export import CheckpointError, leaves, reading, writing
from davs_jax.checkpoint.stored import changes, checkpoints_folder, metadata, read_config, unfinished

State = TypeVar("State")  # a training state: a tree of arrays


class Checkpoints:
    """The checkpoints of one training run: the latest, the best by a validation figure, and every so many steps' one.

    Saving is asynchronous; a failed save fails the next call. Every process of the job makes the same calls.

    Args:
      workdir: folder of the run; made where it is missing.
      keep: latest checkpoints kept.
      best: validation figure whose greatest value keeps its checkpoint too; "" is none.
      keep_every: checkpoints of steps that this divides are kept too; 0 is none.

    Attributes:
      unfinished: names of what saves that were never finished have left in the folder; none of it is used.

    Raises:
      CheckpointError: the folder cannot be made.
    """

    def __init__(self, workdir: str, keep: int, best: str, keep_every: int = 0):
        def value(figures: dict) -> float:
            return figures.get(best, -math.inf)

        kept = [policies.LatestN(keep), policies.BestN(get_metric_fn=value, n=1)]
        if keep_every:
            kept.append(policies.EveryNSteps(keep_every))
        options = policies.CheckpointManagerOptions(
            best_fn=value,
            cleanup_tmp_directories=True,
            preservation_policy=policies.AnyPreservationPolicy(kept),
            # A folder that cannot be made is then told at once; else the writers wait five minutes for it.
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
        )
        self._folder = checkpoints_folder(workdir)
        self.unfinished = [folder.name for folder in unfinished(workdir)]
        with writing(self._folder):
            self._set_aside()
            self._manager = ocp.CheckpointManager(self._folder, options=options)

    def _set_aside(self) -> None:
        """Renames checkpoints that miss a part, so that Orbax neither takes them for whole nor refuses to save anew.

        What bears Orbax's own mark of an unfinished save is deleted by it.
        """
        if jax.process_index() == 0:
            for name in filter(str.isdigit, self.unfinished):
                aside = self._folder / f"unfinished-{name}"
                if aside.exists():
                    aside.rmtree()
                (self._folder / name).rename(aside)
        self.meet("unfinished checkpoints are set aside")

    def meet(self, name: str) -> None:
        """Waits, for up to half an hour, until all processes of the job have come to the same place.

        Without a computation: on CPUs these wait 30 s for one another, and compiling may take one process longer.
        """
        ocp.multihost.get_barrier_sync_fn()(key=name, timeout_ms=1_800_000)

    @property
    def latest(self) -> int | None:
        """Step of the newest checkpoint, None where there is none."""
        return self._manager.latest_step()

    def reached_preemption(self, step: int) -> bool:
        """Whether a signal to one of several processes makes this the step after which all save and stop.

        To be asked at every step by every process (`jax.experimental.multihost_utils`); False in a lone process.
        """
        return self._manager.reached_preemption(step)

    def save(self, step: int, state: State, config: ConfigDict, figures: Mapping[str, float] | None = None) -> None:
        """Starts to save; a step that is already there is left as it is.

        Args:
          figures: what validation found at this step, if it ran.

        Raises:
          CheckpointError: this save, or the one before, failed, or the disk has no room for it.
        """
        if step == self.latest:
            return
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), config=ocp.args.JsonSave(json.loads(config.to_json()))
        )
        with writing(self._folder):
            self._manager.wait_until_finished()  # it has the room that it needs only then
        self._check_room(sum(leaf.nbytes for leaf in jax.tree.leaves(state)))
        with writing(self._folder):
            self._manager.save(step, args=items, metrics=dict(figures or {}))

    def _check_room(self, needed: int) -> None:
        """Asked before anything is written: what the writers say of a full disk is thousands of lines."""
        if "://" not in str(self._folder) and (free := shutil.disk_usage(self._folder).free) < needed:
            raise CheckpointError(
                f"{self._folder} has room for {free / 1e6:,.1f} MB, and a checkpoint takes {needed / 1e6:,.1f} MB; "
                "make room, or lower config.checkpoint.keep, and run again: it goes on from its last checkpoint"
            )

    def restore_latest(self, config: ConfigDict, abstract_state: State) -> tuple[State, ConfigDict]:
        """The newest checkpoint on the mesh of `abstract_state`, and the configuration it was saved with.

        Raises:
          CheckpointError: it is damaged, or made by a model or stage that differs.
        """
        folder = self._folder / str(self.latest)
        saved = read_config(folder)
        # What the networks compute in is not what they are: a run may go on in another type.
        if differing := [line for line in changes(saved.model, config.model) if not line.startswith("dtype:")]:
            raise CheckpointError(
                f"{folder} was made with another model ({'; '.join(differing)} now); set these back, or start a new "
                "--workdir (with --config.init_from to carry weights over)"
            )
        self._check_fits(folder, abstract_state)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state))
        with reading(folder):
            return self._manager.restore(self.latest, args=items)["state"], saved

    def _check_fits(self, folder: epath.Path, abstract_state: State) -> None:
        found = {name: tuple(leaf.shape) for name, leaf in leaves(metadata(folder)).items()}
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

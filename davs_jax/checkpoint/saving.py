"""The checkpoints of a run while it trains: saved, kept, restored on any devices and processes."""

import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils
from ml_collections import ConfigDict
from orbax.checkpoint import checkpoint_managers as policies

from davs_jax.checkpoint import checksums
from davs_jax.checkpoint.export import check_finite, leaves, reading, writing
from davs_jax.checkpoint.reading import (
    changes,
    checkpoints_folder,
    damage,
    finished,
    metadata,
    none_whole,
    read_config,
    unfinished,
)
from davs_jax.errors import CheckpointError

State = TypeVar("State")  # a training state: a tree of arrays

TOLD = 512  # bytes of one process's message to the others about a damaged checkpoint


class Checkpoints:
    """The checkpoints of a training run: the latest ones, the best by a validation figure, and one every so many steps.

    Saving is asynchronous; a failed save fails the next call. Every process of the job makes the same calls.
    When a save is complete, every process writes the checksums of its files, in the background too. Opening the folder
    verifies the newest checkpoint, and earlier ones until one is undamaged; it renames damaged ones (`damaged-6`).

    Args:
      workdir: folder of the run; made where it is missing.
      keep: latest checkpoints kept.
      best: validation figure whose greatest value keeps its checkpoint too; "" is none.
      keep_every: checkpoints of steps that this divides are kept too; 0 is none.
      verify: whether to verify checksums now, and to write them with each checkpoint.
      damaged: as `find_damaged` returns it, where it was called before.

    Attributes:
      unfinished: names of what saves that were never finished have left in the folder; none of it is used.
      damaged: by step, what is damaged in checkpoints that are therefore not used.

    Raises:
      CheckpointError: the folder cannot be made, or all of its checkpoints are damaged.
    """

    def __init__(
        self,
        workdir: str,
        keep: int,
        best: str,
        keep_every: int = 0,
        verify: bool = True,
        damaged: Mapping[str, str] | None = None,
    ):
        def value(figures: dict) -> float:
            return figures.get(best, -math.inf)

        kept = [policies.LatestN(keep), policies.BestN(get_metric_fn=value, n=1)]
        if keep_every:
            kept.append(policies.EveryNSteps(keep_every))
        options = policies.CheckpointManagerOptions(
            best_fn=value,
            cleanup_tmp_directories=True,
            preservation_policy=policies.AnyPreservationPolicy(kept),
            # So a folder that cannot be made is reported at once; otherwise the writers wait five minutes for it.
            async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
        )
        self._folder = checkpoints_folder(workdir)
        self._verify = verify
        self._background = ThreadPoolExecutor(1, "checksums")
        self._written: Future | None = None
        self.unfinished = [folder.name for folder in unfinished(workdir)]
        self.damaged = find_damaged(workdir, verify) if damaged is None else damaged
        with writing(self._folder):
            self._set_aside()
            self._manager = ocp.CheckpointManager(self._folder, options=options)

    def _set_aside(self) -> None:
        """Renames unfinished and damaged checkpoints, so that Orbax ignores them and can save those steps again.

        Orbax itself deletes what it has marked as an unfinished save.
        """
        self.meet("checkpoints are listed")
        if jax.process_index() == 0:
            aside = {name: f"unfinished-{name}" for name in filter(str.isdigit, self.unfinished)}
            aside |= {name: f"damaged-{name}" for name in self.damaged}
            for name, new in aside.items():
                if (self._folder / new).exists():
                    (self._folder / new).rmtree()
                (self._folder / name).rename(self._folder / new)
        self.meet("unusable checkpoints are set aside")

    def meet(self, name: str) -> None:
        """Waits, for up to half an hour, until all processes of the job have come to the same place.

        Without a computation: on CPUs these wait 30 s for one another, and compiling may take one process longer.
        """
        _meet(name)

    @property
    def latest(self) -> int | None:
        """Step of the newest checkpoint, None where there is none."""
        return self._manager.latest_step()

    @property
    def unverified(self) -> bool:
        """Whether the newest checkpoint lacks checksums: of an earlier version, or killed before it wrote them."""
        return self.latest is not None and not checksums.complete(self._folder / str(self.latest))

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
        self._wait()  # an unfinished save still takes room
        self._check_room(sum(leaf.nbytes for leaf in jax.tree.leaves(state)))
        with writing(self._folder):
            started = self._manager.save(step, args=items, metrics=dict(figures or {}))
        if started and self._verify:
            self._written = self._background.submit(self._write_checksums, self._folder / str(step))

    def _wait(self) -> None:
        """Waits until the last save is complete, and its checksums are written."""
        with writing(self._folder):
            self._manager.wait_until_finished()
            if self._written:
                written, self._written = self._written, None
                written.result()

    def _write_checksums(self, folder: epath.Path) -> None:
        """In the background, when all processes have saved: this process's files, while they are in the page cache."""
        self._manager.wait_until_finished()
        checksums.write(folder, _own_files(folder, *_place()), *_place())

    def _check_room(self, needed: int) -> None:
        """Compares sizes before anything is written: of a full disk, Orbax reports thousands of lines."""
        if "://" not in str(self._folder) and (free := shutil.disk_usage(self._folder).free) < needed:
            raise CheckpointError(
                f"{self._folder} has room for {free / 1e6:,.1f} MB, and a checkpoint takes {needed / 1e6:,.1f} MB",
                "make room, or lower config.checkpoint.keep, and run again to resume from the last checkpoint",
            )

    def restore_latest(self, config: ConfigDict, abstract_state: State) -> tuple[State, ConfigDict]:
        """The newest checkpoint on the mesh of `abstract_state`, and the configuration it was saved with.

        Raises:
          CheckpointError: it cannot be read, was made by a model or stage that differs, or holds a number that is not
            finite.
        """
        folder = self._folder / str(self.latest)
        saved = read_config(folder)
        # The compute type changes no parameter: a run may resume with another one.
        if differing := [line for line in changes(saved.model, config.model) if not line.startswith("dtype:")]:
            raise CheckpointError(
                f"{folder} was made with another model ({'; '.join(differing)} now)",
                "set these back, or start a new --workdir (with --config.init_from to carry weights over)",
            )
        self._check_fits(folder, abstract_state)
        items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract_state))
        with reading(folder):
            state = self._manager.restore(self.latest, args=items)["state"]
        check_finite(folder, {"params": state.params, "batch_stats": state.batch_stats, "ema": state.ema})
        return state, saved

    def _check_fits(self, folder: epath.Path, abstract_state: State) -> None:
        found = {name: tuple(leaf.shape) for name, leaf in leaves(metadata(folder)).items()}
        wanted = {name: leaf.shape for name, leaf in leaves(abstract_state).items()}
        differing = sorted(n for n in found.keys() | wanted.keys() if found.get(n) != wanted.get(n))
        if differing:
            name = differing[0]
            raise CheckpointError(
                f"{folder} does not hold what this stage trains: {name} is {found.get(name, 'missing')} there and "
                f"{wanted.get(name, 'missing')} here ({len(differing)} such)",
                f"start a new --workdir with --config.init_from={self._folder.parent} to carry weights over",
            )

    def close(self) -> None:
        """Waits until all is saved.

        Raises:
          CheckpointError: the last save failed.
        """
        self._wait()
        self._background.shutdown()
        self._manager.close()


def find_damaged(workdir: str, verify: bool) -> dict[str, str]:
    """By step, what is damaged in the checkpoints of a run; the processes of the job share the reading.

    Args:
      verify: whether to read the newest checkpoint, and earlier ones until one is undamaged, and compare checksums; of
        all others only missing and unreadable parts are reported.

    Raises:
      CheckpointError: all are damaged, or one cannot be read.
    """
    found, chosen = {}, None
    for folder in finished(workdir):
        read = verify and chosen is None
        what = damage(folder, read, *_place())
        if read and jax.process_count() > 1:
            _meet("a checkpoint is verified")
            what = _any_process(what)
        if what:
            found[folder.name] = what
        else:
            chosen = chosen or folder
    if found and chosen is None:
        raise none_whole(checkpoints_folder(workdir), found)
    return found


def _meet(name: str) -> None:
    ocp.multihost.get_barrier_sync_fn()(key=name, timeout_ms=1_800_000)


def _own_files(folder: epath.Path, index: int, count: int) -> Iterator[str]:
    """Files that process `index` wrote, relative to `folder`.

    Orbax names files and folders of one process `…process_N`. All others are of process 0, which completes the save.
    """
    for path, _, files in folder.walk():
        for name in files:
            file = (path / name).relative_to(folder)
            owners = [int(found[1]) for part in file.parts if (found := re.search(r"process_(\d+)$", part))]
            owner = owners[0] if owners and owners[0] < count else 0
            if owner == index and not file.name.startswith("checksums-"):
                yield str(file)


def _place() -> tuple[int, int]:
    """This process by Orbax's count, and how many there are."""
    return ocp.multihost.process_index(), jax.process_count()


def _any_process(what: str | None) -> str | None:
    """What the first process with a text says, in every process; None where none has one."""
    said = np.frombuffer((what or "").encode()[:TOLD].ljust(TOLD), np.uint8)
    said = [bytes(row).decode(errors="replace").strip() for row in multihost_utils.process_allgather(said)]
    return next(filter(None, said), None)

"""Trains and measures every arm with every seed; killed anywhere, it goes on where it was."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from davs_jax import checkpoint, inference
from davs_jax.ablations import measure, table
from davs_jax.data.pipeline import open_clips
from davs_jax.evaluate.report import results
from davs_jax.monitor.monitor import NotFiniteError
from davs_jax.training import loop

RECORD = "figures.json"
SPLIT = "test"


class StudyError(ValueError):
    """What was asked for cannot be run; the message says why and what to do."""


@dataclass(frozen=True)
class Study:
    """Arms and how to configure them.

    Attributes:
      arms: by name, with `.about` and `.after` (see `configs/claims/synthetic.py`); in the order in which they run.
      get_config: (arm, folder of one seed's workdirs) → configuration.
      output: one seed's workdirs lie in `output/SEED/ARM`; the tables in `output`.
    """

    arms: Mapping
    get_config: Callable
    output: Path

    def run(self, seeds: Sequence[int], only: Sequence[str] = ()) -> bool:
        """Seed by seed, arm by arm, so that a table of one seed stands early; the tables are renewed after each.

        Args:
          only: arms to run, with those that they start from; all by default.

        Returns:
          whether all are done; False where a signal stopped the training.

        Raises:
          StudyError: an unknown arm, or a finished one that was made with other settings.
          ConfigError, DataError, CheckpointError: as `train.train`.
        """
        wanted = self._with_what_they_start_from(only or self.arms)
        self.output.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            for arm in wanted:
                if not self._one(arm, seed):
                    return False
                self.write(seeds)
        return True

    def write(self, seeds: Sequence[int]) -> Path:
        """The tables of what is done; returns the page's path."""
        about = {arm: self.arms[arm].about for arm in self.arms}
        return table.write(self.output, about, seeds, self._records(seeds))

    def _with_what_they_start_from(self, names: Sequence[str]) -> list[str]:
        if unknown := [name for name in names if name not in self.arms]:
            raise StudyError(f"there is no arm {unknown[0]!r}; the arms are {', '.join(self.arms)}")
        needed = {*names, *(self.arms[name].after for name in names)}
        return [arm for arm in self.arms if arm in needed]

    def _records(self, seeds: Sequence[int]) -> Iterator[dict]:
        for seed in seeds:
            for arm in self.arms:
                path = self.output / str(seed) / arm / RECORD
                if path.exists():
                    yield json.loads(path.read_text())

    def _one(self, arm: str, seed: int) -> bool:
        """Trains and measures one arm; False where a signal stopped it."""
        root = self.output / str(seed)
        workdir, config = root / arm, self.get_config(arm, str(root))
        config.seed = seed
        if (workdir / RECORD).exists():
            self._check(workdir / RECORD, config)
            return True
        print(f"== {arm}, seed {seed}: {self.arms[arm].about}", flush=True)
        clock = workdir / "seconds"  # of every attempt at training that was not killed
        began, before = time.monotonic(), float(clock.read_text()) if clock.exists() else 0.0
        record = {"arm": arm, "seed": seed, "steps": config.steps, "config": json.loads(config.to_json())}
        record |= results.provenance()  # now: a checkout may move on while this runs
        try:
            done = loop.train(config, str(workdir))
            _replace(clock, str(before + time.monotonic() - began))
            if not done:
                return False
            model = inference.load(workdir, "job")
            record["figures"] = measure.measure(model, open_clips(config.data.clips, SPLIT))
        except NotFiniteError as error:  # it would do the same again: a finding, not an accident
            record["failed"] = str(error)
        record["steps_per_second"] = _speed(workdir / "metrics.jsonl")
        record["hours"] = (before + time.monotonic() - began) / 3600
        _replace(workdir / RECORD, json.dumps(record, indent=1) + "\n")
        jax.clear_caches()  # another arm's programs are of no use to the next
        return True

    def _check(self, path: Path, config) -> None:
        found = json.loads(path.read_text())["config"]
        if changed := checkpoint.changes(type(config)(found), config):
            raise StudyError(
                f"{path.parent} was made with other settings ({'; '.join(changed[:3])} now); name another --output, or "
                "delete that folder to run it anew"
            )


def _speed(path: Path) -> float:
    """Steps per second while training, evenly over the logged stretches; 0 where nothing was logged."""
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    paces = [event["time/steps_per_second"] for event in events if "time/steps_per_second" in event]
    return len(paces) / sum(1 / pace for pace in paces) if paces else 0.0


def _replace(path: Path, text: str) -> None:
    """Writes a file that is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"part-{path.name}")
    part.write_text(text)
    os.replace(part, path)

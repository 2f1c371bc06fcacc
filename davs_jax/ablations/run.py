"""Trains and measures every arm with every seed; a killed study resumes where it stopped."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax

from configs import common
from davs_jax import checkpoint, inference
from davs_jax.ablations import measure, table
from davs_jax.data.sources import open_clips
from davs_jax.errors import DavsError
from davs_jax.evaluate.report.environment import environment
from davs_jax.files import write_text
from davs_jax.monitor.monitor import NotFiniteError
from davs_jax.training import loop

RECORD = "figures.json"
SPLIT = "test"


class StudyError(DavsError):
    """Unknown arms of a study, or results of other settings in its folder."""


@dataclass(frozen=True)
class Study:
    """Arms and how to configure them.

    Attributes:
      arms: by name, with `.about` and `.after` (see `configs/ablations/synthetic.py`), in the order in which they run.
      get_config: (arm, folder of one seed's workdirs) → config.
      output: the folder of the tables; workdirs are `output/SEED/ARM`.
    """

    arms: Mapping
    get_config: Callable
    output: Path

    def run(self, seeds: Sequence[int], only: Sequence[str] = ()) -> bool:
        """Runs seed by seed, arm by arm, so that a table of one seed is complete early; rewrites the tables after each.

        Args:
          only: arms to run, with those that they start from; all by default.

        Returns:
          whether all are done; False where a signal stopped the training.

        Raises:
          StudyError: an unknown arm, or a finished one that was run with other settings.
          ConfigError, DataError, CheckpointError: as `loop.train`.
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
        """Writes the tables of all finished arms; returns the page's path."""
        about = {arm: self.arms[arm].about for arm in self.arms}
        return table.write(self.output, about, seeds, self._records(seeds))

    def _with_what_they_start_from(self, names: Sequence[str]) -> list[str]:
        if unknown := [name for name in names if name not in self.arms]:
            raise StudyError(f"there is no arm {unknown[0]!r}", f"the arms are {', '.join(self.arms)}")
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
        clock = workdir / "seconds"  # of all attempts at training that were not killed
        began, before = time.monotonic(), float(clock.read_text()) if clock.exists() else 0.0
        record = {"arm": arm, "seed": seed, "steps": config.steps, "config": json.loads(config.to_json())}
        record |= environment()  # now: the checkout may change while this runs
        try:
            done = loop.train(config, str(workdir))
            write_text(clock, str(before + time.monotonic() - began))
            if not done:
                return False
            model = inference.load(workdir, "job")
            record["figures"] = measure.measure(model, open_clips(config.data.clips, SPLIT))
        except NotFiniteError as error:  # reproducible, so it is a result
            record["failed"] = str(error)
        record["steps_per_second"] = _speed(workdir / "metrics.jsonl")
        record["hours"] = (before + time.monotonic() - began) / 3600
        write_text(workdir / RECORD, json.dumps(record, indent=1) + "\n")
        jax.clear_caches()  # the next arm cannot use this one's programs
        return True

    def _check(self, path: Path, config) -> None:
        found = common.get_config()  # settings that came after the record are off there, as they were then
        with found.unlocked(), found.ignore_type():
            found.update(json.loads(path.read_text())["config"])
        if changed := checkpoint.changes(found, config):
            raise StudyError(
                f"{path.parent} was made with other settings ({'; '.join(changed[:3])} now)",
                "name another --output, or delete that folder to run it again",
            )


def _speed(path: Path) -> float:
    """Steps per second of training, the harmonic mean over logged stretches; 0 where nothing was logged."""
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    paces = [event["time/steps_per_second"] for event in events if "time/steps_per_second" in event]
    return len(paces) / sum(1 / pace for pace in paces) if paces else 0.0

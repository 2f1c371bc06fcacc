"""Trains and measures every arm with every seed; a killed study resumes where it stopped."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax
from ml_collections import ConfigDict

from configs import common
from davs_jax import checkpoint, inference
from davs_jax.ablations import examples, measure, table
from davs_jax.data.pipeline import open_sources
from davs_jax.data.sources import open_clips
from davs_jax.errors import DavsError
from davs_jax.evaluate.lip_sync import Scorer
from davs_jax.evaluate.report.environment import environment
from davs_jax.files import write_text
from davs_jax.monitor.monitor import NotFiniteError
from davs_jax.training import loop
from davs_jax.training.stage import Stage

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
      writer: writes the tables, as `table.write`.
      judges: names of arms by what they measure in all others of the same seed: `syncnet`, `judge`
        (`measure.Judges`), each on the corpus that it was trained on; where there are any, every arm keeps example
        frames to be shown side by side.
      tested: further folders of clips, on whose test split all systems that generate are measured, but those whose
        arm has `.elsewhere` False.
    """

    arms: Mapping
    get_config: Callable
    output: Path
    writer: Callable = table.write
    judges: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tested: Sequence[str] = ()

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
        self._open_corpora(wanted, seeds)
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
        return self.writer(self.output, about, seeds, self._records(seeds))

    def _with_what_they_start_from(self, names: Sequence[str]) -> list[str]:
        if unknown := [name for name in names if name not in self.arms]:
            raise StudyError(f"there is no arm {unknown[0]!r}", f"the arms are {', '.join(self.arms)}")
        needed, new = set(), {*names, *self._judging}
        while new:
            needed |= new
            new = {before for name in new for before in self._before(name)} - needed
        return [arm for arm in self.arms if arm in needed]

    def _open_corpora(self, arms: Sequence[str], seeds: Sequence[int]) -> None:
        """Opens what arms that are still to run will read: what is missing is named now, not hours later."""
        for arm in arms:
            if all((self.output / str(seed) / arm / RECORD).exists() for seed in seeds):
                continue
            config = self.get_config(arm, str(self.output / str(seeds[0])))
            open_sources(config, tuple(Stage.from_config(config).batch))
            open_clips(config.data.clips, SPLIT)

    def _before(self, name: str) -> tuple[str, ...]:
        """The arms that an arm starts from."""
        after = self.arms[name].after
        return tuple(filter(None, (after,) if isinstance(after, str) else after))

    def _records(self, seeds: Sequence[int]) -> Iterator[dict]:
        for seed in seeds:
            for arm in self.arms:
                path = self.output / str(seed) / arm / RECORD
                if path.exists():
                    yield json.loads(path.read_text())

    def _one(self, arm: str, seed: int) -> bool:
        """Trains one arm, and measures it where it has no figures yet; False where a signal stopped it."""
        root = self.output / str(seed)
        workdir, config = root / arm, self.get_config(arm, str(root))
        config.seed = seed
        if finished := (workdir / RECORD).exists():
            self._check(workdir / RECORD, config)
            record = json.loads((workdir / RECORD).read_text())
        elif not (record := self._trained(arm, config, workdir)):
            return False
        if self._measured(record, root) or not finished:
            write_text(workdir / RECORD, json.dumps(record, indent=1) + "\n")
            jax.clear_caches()  # the next arm cannot use this one's programs
        return True

    def _trained(self, arm: str, config: ConfigDict, workdir: Path) -> dict | None:
        """The record of an arm after its training; None where a signal stopped it."""
        print(f"== {arm}, seed {config.seed}: {self.arms[arm].about}", flush=True)
        clock = workdir / "seconds"  # of all attempts at training that were not killed
        began, before = time.monotonic(), float(clock.read_text()) if clock.exists() else 0.0
        record = {"arm": arm, "seed": config.seed, "steps": config.steps, "config": json.loads(config.to_json())}
        record |= environment()  # now: the checkout may change while this runs
        try:
            done = loop.train(config, str(workdir))
            write_text(clock, str(before + time.monotonic() - began))
            if not done:
                return None
        except NotFiniteError as error:  # reproducible, so it is a result
            record["failed"] = str(error)
        record["steps_per_second"] = _speed(workdir / "metrics.jsonl")
        record["hours"] = (before + time.monotonic() - began) / 3600
        return record

    def _measured(self, record: dict, root: Path) -> bool:
        """Adds the figures of each corpus that has none, or that other judges have measured; False if there is none."""
        began, arm, own = time.monotonic(), record["arm"], record["config"]["data"]["clips"]
        corpora = (own, *(self.tested if getattr(self.arms[arm], "elsewhere", True) else ()))
        judges = {corpus: self._judges(arm, corpus) for corpus in corpora}
        # Records of earlier versions do not name their judges: they are kept where there are none.
        judged = record.setdefault("judges", {own: None} if "figures" in record else {})
        wanted = [corpus for corpus in corpora if corpus not in judged or judged[corpus] != judges[corpus]]
        if not wanted or "failed" in record:
            return False
        model = inference.load(root / arm, "job")
        for corpus in wanted:
            source, by = open_clips(corpus, SPLIT), _loaded(judges[corpus], root)
            keep = examples.keeper(root / arm, source, bool(self.judges))
            if corpus == own:
                record["figures"] = measure.measure(model, source, by, keep)
            elif not model.missing("audio_encoder"):
                found = measure.measure_frames(model, source, by or measure.Judges(), keep)
                record["elsewhere"] = record.get("elsewhere", {}) | {corpus: found}
            judged[corpus] = judges[corpus]
        record["hours"] += (time.monotonic() - began) / 3600
        return True

    @property
    def _judging(self) -> set[str]:
        return {name for names in self.judges.values() for name in names}

    def _judges(self, arm: str, corpus: str) -> dict[str, str] | None:
        """The arms that judge this one on a corpus, each only on its own; None for arms before all judges are trained,
        from which they start."""
        order = list(self.arms)
        if not self.judges or order.index(arm) < max(map(order.index, self._judging)):
            return None
        return {
            kind: name
            for kind, names in self.judges.items()
            for name in names
            if self.get_config(name, str(self.output)).data.clips == corpus
        }

    def _check(self, path: Path, config) -> None:
        found = common.get_config()  # settings that came after the record are off there, as they were then
        with found.unlocked(), found.ignore_type():
            found.update(json.loads(path.read_text())["config"])
            for group in ("loss", "remat"):  # a baseline has its own terms and networks
                for name in set(common.get_config()[group]) - set(config[group]):
                    del found[group][name]
        if changed := checkpoint.changes(found, config):
            raise StudyError(
                f"{path.parent} was made with other settings ({'; '.join(changed[:3])} now)",
                "name another --output, or delete that folder to run it again",
            )


def _loaded(judges: Mapping[str, str] | None, root: Path) -> measure.Judges | None:
    """The judges, arms by kind, from their workdirs in `root`."""
    if judges is None:
        return None
    return measure.Judges(
        Scorer.load(str(root / judges["syncnet"])) if "syncnet" in judges else None,
        inference.load(root / judges["judge"], "job") if "judge" in judges else None,
    )


def _speed(path: Path) -> float:
    """Steps per second of training, the harmonic mean over logged stretches; 0 where nothing was logged."""
    events = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    paces = [event["time/steps_per_second"] for event in events if "time/steps_per_second" in event]
    return len(paces) / sum(1 / pace for pace in paces) if paces else 0.0

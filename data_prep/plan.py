"""The plan of a preparation: which file goes into which shard. It is written first and determines the result.

A local process, a Beam worker or a task of a job array needs only the plan and the shard to make it; the records do
not depend on which of them made it, nor on their number.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import davs_jax
from data_prep.folders import AnyPath, replacing
from davs_jax.errors import DavsError

PLAN_FILE = "plan.json"
MAX_SHARDS_OF_SMALL_SPLIT = 16  # at most this many, for a machine's cores to share
MIN_ITEMS = 8  # of such a shard

Item = Any  # a source's description of one unit of work; JSON. One item gives one or more records or rejections


class PreparationError(DavsError):
    """An input, an output folder or a flag from which no shards, or no synthetic corpus, can be made."""


@dataclass(frozen=True)
class Shard:
    """The items of one file of records."""

    split: str
    index: int
    count: int  # shards of this split
    items: Sequence[Item]

    @property
    def name(self) -> str:
        return f"{self.split}-{self.index:05d}-of-{self.count:05d}"


@dataclass(frozen=True)
class Plan:
    """All that the shards depend on. The module `source` has `features(plan)` and `examples(plan, item)`."""

    dataset: str  # name of the TFDS dataset
    source: str
    input: str  # folder that the items' paths are relative to
    options: Mapping[str, Any]  # all that changes the records
    labels: Mapping[str, Sequence[str]]  # class names by feature
    splits: Mapping[str, Sequence[Sequence[Item]]]  # the items of each shard
    version: str = davs_jax.__version__

    def shards(self) -> list[Shard]:
        return [
            Shard(split, index, len(shards), items)
            for split, shards in self.splits.items()
            for index, items in enumerate(shards)
        ]

    def records_file(self, shard: Shard) -> str:
        """Name of a shard's file, as TFDS expects it."""
        return f"{self.dataset}-{shard.split}.array_record-{shard.index:05d}-of-{shard.count:05d}"


def shuffled(items: Iterable[Item], seed: int) -> list[Item]:
    """The items in the order of a seeded hash of each, which is the same on every machine."""

    def position(item: Item) -> bytes:
        return hashlib.sha256(f"{seed} {json.dumps(item, sort_keys=True)}".encode()).digest()

    return sorted(items, key=position)


def into_shards(items: Iterable[Item], largest: int, seed: int) -> list[list[Item]]:
    """Shuffles the items and distributes them over shards of at most `largest`, equal to within one item."""
    items = shuffled(items, seed)
    count = max(-(-len(items) // largest), min(MAX_SHARDS_OF_SMALL_SPLIT, -(-len(items) // MIN_ITEMS)))
    return [items[index::count] for index in range(count)]


def split_by_share(units: Iterable[str], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Assigns each unit (a speaker, a sentence) to a split, in the order of a seeded hash.

    Args:
      units: names.
      shares: fraction of the units by split, summing to 1.
      seed: of the hash.

    Returns:
      the split of each unit. Every split with a share gets at least one unit; where there are too few, the first
      splits do.
    """
    units = shuffled(set(units), seed)
    assigned, start = {}, 0
    wanted = [split for split, share in shares.items() if share > 0]
    for position, split in enumerate(wanted):
        left, later = len(units) - start, len(wanted) - position - 1
        size = min(left, max(1, min(round(shares[split] * len(units)), left - later))) if later else left
        assigned.update(dict.fromkeys(units[start : start + size], split))
        start += size
    return assigned


def read_plan(output: AnyPath) -> Plan | None:
    """The plan in a folder; None where there is none.

    Raises:
      PreparationError: it cannot be read.
    """
    path = output / PLAN_FILE
    if not path.exists():
        return None
    try:
        return Plan(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise PreparationError(f"{path} cannot be read as a plan ({error})", "use another --output") from error


def write_plan(plan: Plan, output: AnyPath) -> None:
    with replacing(output / PLAN_FILE) as draft:
        draft.write_text(json.dumps(asdict(plan), indent=1, ensure_ascii=False), encoding="utf-8")


def digest(plan: Plan) -> str:
    """A hash that identifies a plan."""
    return hashlib.sha256(json.dumps(asdict(plan), sort_keys=True).encode()).hexdigest()


def difference(old: Plan, new: Plan) -> str:
    """Where two plans differ, in a few words; "" where they do not."""
    old, new = (json.loads(json.dumps(asdict(plan))) for plan in (old, new))
    for name in ("source", "input", "version"):
        if old[name] != new[name]:
            return f"{name} was {old[name]}, now is {new[name]}"
    for name in sorted({*old["options"], *new["options"]}):
        before, now = old["options"].get(name), new["options"].get(name)
        if before != now:
            return f"{name} was {before}, now is {now}"
    for name, shards in new["splits"].items():
        before, now = (sum(map(len, s)) for s in (old["splits"].get(name, []), shards))
        if before != now:
            return f"the {name} split had {before} files, now has {now}"
    return "" if old == new else "the files or labels found in the input are not the same"

"""Making a plan's shards: one function makes one; `make_all` makes the missing ones in local processes.

A source (`lrw.py`, `grid.py`, `faces.py`) is a module with

    features(plan) -> tfds.features.FeaturesDict
    examples(plan, item) -> iterator of examples and Rejections, at least one of them

An input that a source's listing already finds invalid becomes an item too, by `rejected_item`; it never reaches
`examples`. An example's `measures` that are not among its features are kept in the shard's report.
"""

import functools
import importlib
import json
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from etils import epath
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from data_prep import worker_pool
from data_prep.folders import AnyPath, FolderError, is_draft, remove_drafts, replacing
from data_prep.plan import PLAN_FILE, Item, Plan, PreparationError, Shard, difference, read_plan, write_plan
from davs_jax.display.progress import progress
from davs_jax.errors import DavsError

RESULTS = "shards"  # folder of the finished shards' reports
REJECTED_FILE = "rejected.jsonl"
REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Rejection:
    """An input, or a clip of it, that gives no record."""

    file: str
    stage: str  # what failed: read, sound, face, label, length
    reason: str
    remedy: str


class Unusable(DavsError):
    """A file, or one cut of it, that gives no record.

    Args:
      stage: what failed, as in `Rejection`.
    """

    def __init__(self, stage: str, reason: str, remedy: str):
        super().__init__(reason, remedy)
        self.stage = stage

    @classmethod
    def of_file(cls, stage: str, path: AnyPath, error: DavsError) -> "Unusable":
        """From an error of reading a file, whose reason begins with the path.

        The path is left out: the same file must give the same rejection on every machine.
        """
        return cls(stage, error.reason.removeprefix(f"{path}: "), error.remedy)

    def rejection(self, file: str) -> Rejection:
        return Rejection(file, self.stage, self.reason, self.remedy)


REJECTION_FIELDS = {field.name for field in fields(Rejection)}


def rejected_item(file: str, stage: str, reason: str, remedy: str) -> Item:
    """The item of an input that is rejected while it is listed, so that rejected.jsonl names it too."""
    return asdict(Rejection(file, stage, reason, remedy))


def open_output(plan: Plan, output: AnyPath, overwrite: bool = False) -> list[Shard]:
    """Writes the plan into the output folder, or finds it there; returns the shards that are not made yet.

    Raises:
      PreparationError: the folder holds something else, or another plan's shards and `overwrite` is not set.
    """
    output.mkdir(parents=True, exist_ok=True)
    old = read_plan(output)
    if old is None and _holds_files(output):
        old = read_plan(output)  # another task of a job array may have written it just now
        if old is None:
            raise PreparationError(f"{output} is not empty and holds no {PLAN_FILE}", "choose another --output")
    if old and overwrite:
        _delete(old, output)
        old = None
    if old is None:
        write_plan(plan, output)
    elif changed := difference(old, plan):
        raise PreparationError(
            f"{output} was made by another command: {changed}", "choose another --output, or add --overwrite"
        )
    return [shard for shard in plan.shards() if not result_file(output, shard).exists()]


def share(plan: Plan, pending: list[Shard], task: int, tasks: int) -> list[Shard]:
    """The pending shards of one task of a job array: every `tasks`-th of the plan, starting at number `task`."""
    own = {shard.name for shard in plan.shards()[task::tasks]}
    return [shard for shard in pending if shard.name in own]


def make_shard(plan: Plan, shard: Shard, output: AnyPath, on_item: Callable[[], object] = lambda: None) -> None:
    """Makes one shard: its file of records and its report, which counts them and lists the rejections.

    Each file appears whole or not at all, and the report last: a shard with a report is finished.

    Args:
      plan: its `splits` are not used.
      on_item: called after each item.

    Raises:
      FolderError: a bucket cannot be reached.
      PreparationError: the source gave nothing for an item, or the written file lacks records.
    """
    source = importlib.import_module(plan.source)
    features = source.features(plan)
    rejections, measures, count = [], [], 0
    with replacing(output / plan.records_file(shard)) as draft:
        writer = ArrayRecordWriter(str(draft), "group_size:1")
        for item in shard.items:
            for outcome in _outcomes(source, plan, item):
                if isinstance(outcome, Rejection):
                    rejections.append(asdict(outcome))
                else:
                    if "measures" not in features:
                        measures.append(outcome.pop("measures", {}))
                    writer.write(_serialized(features, outcome))
                    count += 1
            on_item()
        writer.close()
        size = draft.stat().st_size
        if (held := ArrayRecordReader(str(draft)).num_records()) != count:
            raise PreparationError(f"{draft} holds {held} of {count} records", "check its disk, and run again")
    report = {"items": len(shard.items), "records": count, "bytes": size, "rejections": rejections}
    report |= {"measures": measures} if any(measures) else {}
    result_file(output, shard).parent.mkdir(parents=True, exist_ok=True)
    with replacing(result_file(output, shard)) as draft:
        draft.write_text(json.dumps(report, ensure_ascii=False), encoding="utf-8")


def make_all(plan: Plan, pending: list[Shard], output: AnyPath, workers: int) -> None:
    """Makes the pending shards in `workers` processes (in this one, if that is 1); a progress bar counts the items.

    Raises:
      WorkerError: a worker process died.
      FolderError, PreparationError: as `make_shard`.
    """
    total = sum(len(shard.items) for shard in plan.shards())
    left = sum(len(shard.items) for shard in pending)
    make = functools.partial(make_shard, replace(plan, splits={}), output=output)  # a worker needs only its own items
    with progress(total=total, initial=total - left, unit="file", desc=plan.dataset, disable=not left) as bar:
        worker_pool.run(make, pending, workers, bar)


def result_file(output: AnyPath, shard: Shard) -> Path:
    """Path of a shard's report: the numbers of `items`, `records` and `bytes`, the `rejections`, the `measures`."""
    return output / RESULTS / f"{shard.name}.json"


def _outcomes(source, plan: Plan, item: Item) -> Iterator[dict | Rejection]:
    """Yields an item's examples and rejections; a fault of the program costs only the rest of that item."""
    if isinstance(item, dict) and item.keys() == REJECTION_FIELDS:
        yield Rejection(**item)
        return
    outcome = None
    try:
        for outcome in source.examples(plan, item):
            yield outcome  # one by one: those of an hour of video take gigabytes
    except FolderError:
        raise  # not this file's fault: all others would be rejected too
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        reason = f"{type(error).__name__} at {place}: {error}"
        file = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
        outcome = Rejection(file, "unexpected", reason, "report this as a fault of the program")
        yield outcome
    if outcome is None:
        raise PreparationError(f"{plan.source} gave neither a record nor a rejection for {item}")


def _serialized(features: tfds.features.FeaturesDict, example: dict) -> bytes:
    """As `features.serialize_example`, but with the fields in a fixed order, so that equal records have equal bytes."""
    message = ExampleSerializer(features.get_serialized_info()).get_tf_example(features.encode_example(example))
    return message.SerializeToString(deterministic=True)


def _holds_files(output: AnyPath) -> bool:
    """Whether a folder holds anything but the draft of a plan; a bucket has no empty folders."""
    return output.exists() and not all(map(is_draft, output.iterdir()))


def _delete(plan: Plan, output: AnyPath) -> None:
    """Deletes what was made by a plan, and the plan last, so that the next run notices a kill in between."""
    for path in _made_files(plan, output):
        path.unlink(missing_ok=True)
    epath.Path(output / RESULTS).rmtree(missing_ok=True)
    remove_drafts(output)
    (output / PLAN_FILE).unlink()


def _made_files(plan: Plan, output: AnyPath) -> Iterator[AnyPath]:
    yield from (output / plan.records_file(shard) for shard in plan.shards())
    yield from output.glob("*.labels.txt")
    yield from (output / name for name in (REJECTED_FILE, REPORT_FILE, "dataset_info.json", "features.json"))

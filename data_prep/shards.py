"""Making a plan's shards: one function makes one; here local processes do, and keep those that are finished.

A source (`lrw.py`, `grid.py`, `faces.py`) is a module with

    features(plan) -> tfds.features.FeaturesDict
    examples(plan, item) -> iterator of examples and Rejections, at least one of them

What its listing finds to be useless is an item too, made by `useless`, and never reaches `examples`.
An example's `measures` that are none of its features are kept in the shard's report.
"""

import concurrent.futures
import importlib
import json
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import cv2
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from etils import epath
from tensorflow_datasets.core.example_serializer import ExampleSerializer
from tqdm import tqdm

from data_prep.folders import AnyPath, FolderError, replacing
from data_prep.plan import PLAN_FILE, Item, Plan, PreparationError, Shard, difference, read_plan, write_plan
from davs_jax.display.progress import progress

RESULTS = "shards"  # folder of what each finished shard's maker reports
REJECTED_FILE = "rejected.jsonl"
REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Rejection:
    """An input, or a clip in it, that gives no record."""

    file: str
    stage: str  # what could not be done, in a word: read, sound, face, label, length
    reason: str
    remedy: str


REJECTION_FIELDS = {field.name for field in fields(Rejection)}


def useless(file: str, stage: str, reason: str, remedy: str) -> Item:
    """The item of an input that is rejected while it is listed, so that it is not lost without a word."""
    return asdict(Rejection(file, stage, reason, remedy))


def open_output(plan: Plan, output: AnyPath, overwrite: bool = False) -> list[Shard]:
    """Writes the plan into the output folder, or finds it there; returns the shards that are not made yet.

    Raises:
      PreparationError: the folder holds something else, or another plan's shards without `overwrite`.
    """
    output.mkdir(parents=True, exist_ok=True)
    old = read_plan(output)
    if old is None and _strangers(output):
        old = read_plan(output)  # another task of a job array may have written it just now
        if old is None:
            raise PreparationError(f"{output} is not empty and holds no {PLAN_FILE}; choose another --output")
    if old and overwrite:
        _delete(old, output)
        old = None
    if old is None:
        write_plan(plan, output)
    elif changed := difference(old, plan):
        raise PreparationError(
            f"{output} was made by another command: {changed}; choose another --output, or start anew with --overwrite"
        )
    return [shard for shard in plan.shards() if not result_file(output, shard).exists()]


def share(plan: Plan, pending: list[Shard], task: int, tasks: int) -> list[Shard]:
    """The pending shards of one task of a job array: every `tasks`-th of the plan, from number `task` on."""
    own = {shard.name for shard in plan.shards()[task::tasks]}
    return [shard for shard in pending if shard.name in own]


def make_shard(plan: Plan, shard: Shard, output: AnyPath, on_item: Callable[[], None] = lambda: None) -> None:
    """Makes one shard: its file of records, and the report of how many and what was rejected.

    Both appear whole or not at all, the report last: it says that the shard is finished.

    Args:
      plan: its `splits` are not looked at.
      on_item: called after each item.
    """
    source = importlib.import_module(plan.source)
    features = source.features(plan)
    rejections, measures, count = [], [], 0
    with replacing(output / plan.records_file(shard)) as temporary:
        writer = ArrayRecordWriter(str(temporary), "group_size:1")
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
        size = temporary.stat().st_size
        if (held := ArrayRecordReader(str(temporary)).num_records()) != count:
            raise PreparationError(f"{temporary} holds {held} of {count} records; check its disk, and run again")
    report = {"items": len(shard.items), "records": count, "bytes": size, "rejections": rejections}
    report |= {"measures": measures} if any(measures) else {}
    result_file(output, shard).parent.mkdir(parents=True, exist_ok=True)
    with replacing(result_file(output, shard)) as temporary:
        temporary.write_text(json.dumps(report, ensure_ascii=False), encoding="utf-8")


def make_all(plan: Plan, pending: list[Shard], output: AnyPath, workers: int) -> None:
    """Makes the pending shards in `workers` processes (in this one, if that is 1), with a progress bar.

    Raises:
      PreparationError: a worker died.
    """
    total = sum(len(shard.items) for shard in plan.shards())
    left = sum(len(shard.items) for shard in pending)
    with progress(total=total, initial=total - left, unit="file", desc=plan.dataset, disable=not left) as bar:
        if workers == 1:
            for shard in pending:
                make_shard(plan, shard, output, bar.update)
        elif pending:
            _make_in_processes(plan, pending, output, min(workers, len(pending)), bar)


def result_file(output: AnyPath, shard: Shard) -> Path:
    """Where a shard's report lies: how many `items`, `records` and `bytes`, the `rejections`, and `measures`."""
    return output / RESULTS / f"{shard.name}.json"


def _outcomes(source, plan: Plan, item: Item) -> list:
    """An item's examples and rejections; a fault of ours on one file costs that file, not a night's work."""
    if isinstance(item, dict) and item.keys() == REJECTION_FIELDS:
        return [Rejection(**item)]
    try:
        outcomes = list(source.examples(plan, item))
    except FolderError:
        raise  # not this file's fault: every other would be rejected too
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        reason = f"{type(error).__name__} at {place}: {error}"
        file = item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
        outcomes = [Rejection(file, "unexpected", reason, "report this as a fault of the program")]
    if not outcomes:
        raise PreparationError(f"{plan.source} gave neither a record nor a rejection for {item}")
    return outcomes


def _serialized(features: tfds.features.FeaturesDict, example: dict) -> bytes:
    """As `features.serialize_example`, whose order of fields differs from run to run, but in a fixed one."""
    message = ExampleSerializer(features.get_serialized_info()).get_tf_example(features.encode_example(example))
    return message.SerializeToString(deterministic=True)


def _make_in_processes(plan: Plan, pending: list[Shard], output: AnyPath, workers: int, bar: tqdm) -> None:
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    header = replace(plan, splits={})  # a worker needs only its shard's items
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (counter,))
    try:
        futures = {pool.submit(_make_counted, header, shard, output) for shard in pending}
        while futures:
            done, futures = concurrent.futures.wait(futures, 0.5, concurrent.futures.FIRST_COMPLETED)
            bar.update(bar.initial + counter.value - bar.n)
            for future in done:
                future.result()
    except BrokenProcessPool as error:
        raise PreparationError(
            "a worker process died, perhaps for lack of memory; finished shards are kept: run the same "
            "command again, with fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(counter) -> None:
    """Runs first in each worker process."""
    global _counter
    _counter = counter
    cv2.setNumThreads(1)  # the processes share the cores already
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches all processes; the main one has the word
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed main process must not leave its workers waiting for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _make_counted(plan: Plan, shard: Shard, output: AnyPath) -> None:
    def count():
        with _counter.get_lock():
            _counter.value += 1

    make_shard(plan, shard, output, count)


def _strangers(output: AnyPath) -> bool:
    """Whether a folder without a plan holds anything; a bucket has no empty folders."""
    return output.exists() and any(not path.name.startswith(f".{PLAN_FILE}.") for path in output.iterdir())


def _delete(plan: Plan, output: AnyPath) -> None:
    """Deletes what was made by a plan, and the plan last: a kill in between is noticed by the next run."""
    for path in _made_files(plan, output):
        path.unlink(missing_ok=True)
    epath.Path(output / RESULTS).rmtree(missing_ok=True)
    (output / PLAN_FILE).unlink()


def _made_files(plan: Plan, output: AnyPath) -> Iterator[AnyPath]:
    yield from (output / plan.records_file(shard) for shard in plan.shards())
    yield from output.glob(".*.tmp")
    yield from output.glob("*.labels.txt")
    yield from (output / name for name in (REJECTED_FILE, REPORT_FILE, "dataset_info.json", "features.json"))

"""Checks a folder of finished shards, turns it into a TFDS dataset, and counts its records."""

import importlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader

from data_prep.folders import AnyPath, is_local, remove_drafts, replacing
from data_prep.plan import Plan, PreparationError, Shard
from data_prep.shards import REJECTED_FILE, result_file

TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


def finish(plan: Plan, output: AnyPath) -> dict[str, Counter]:
    """Turns a folder of finished shards into a TFDS dataset, and lists what was rejected in rejected.jsonl.

    Returns:
      by split, the number of `records` and of rejections by stage.

    Raises:
      PreparationError: a shard is missing, does not hold what its report says, or there is no record at all.
    """
    tables, infos, rejected = {}, [], []
    for split in plan.splits:
        shards = _shards(plan, split)
        reports = [_checked_report(plan, shard, output) for shard in shards]
        rejections = [rejection for report in reports for rejection in report["rejections"]]
        lengths = [report["records"] for report in reports]
        tables[split] = _counts(reports)
        rejected += rejections
        if any(lengths):
            size = sum(report["bytes"] for report in reports)
            info = {"name": split, "shard_lengths": lengths, "num_bytes": size, "filename_template": None}
            infos.append(tfds.core.SplitInfo(**info))
        else:  # TFDS cannot open a split that is empty
            for shard in shards:
                (output / plan.records_file(shard)).unlink(missing_ok=True)
    with replacing(output / REJECTED_FILE) as draft:
        lines = (json.dumps(rejection, ensure_ascii=False) + "\n" for rejection in rejected)
        draft.write_text("".join(lines), encoding="utf-8")
    if not infos:
        raise PreparationError("every input was rejected", f"{output / REJECTED_FILE} gives the reasons")
    tfds.folder_dataset.write_metadata(
        data_dir=str(output),
        features=importlib.import_module(plan.source).features(plan),
        split_infos=infos,
        filename_template=TEMPLATE,
        check_data=False,
    )
    remove_drafts(output)
    return tables


def counts(plan: Plan, output: AnyPath) -> dict[str, Counter]:
    """What `finish` returns, for a folder that is already finished.

    Raises:
      PreparationError: a shard is missing, or does not hold what its report says.
    """
    return {
        split: _counts(_checked_report(plan, shard, output) for shard in _shards(plan, split)) for split in plan.splits
    }


def measures(plan: Plan, output: AnyPath, split: str) -> Iterator[dict[str, float]]:
    """The measures of each record of a split that are not among its features, in the order of the records."""
    for shard in _shards(plan, split):
        report = json.loads(result_file(output, shard).read_text(encoding="utf-8"))
        yield from report.get("measures", [{}] * report["records"])


def _shards(plan: Plan, split: str) -> list[Shard]:
    return [shard for shard in plan.shards() if shard.split == split]


def _counts(reports: Iterable[dict]) -> Counter:
    counted = Counter()
    for report in reports:
        counted.update(records=report["records"])
        counted.update(rejection["stage"] for rejection in report["rejections"])
    return counted


def _checked_report(plan: Plan, shard: Shard, output: AnyPath) -> dict:
    path, records = result_file(output, shard), output / plan.records_file(shard)
    if not path.exists():
        raise PreparationError(f"shard {shard.name} is not made yet", "run the preparation again")
    report = json.loads(path.read_text(encoding="utf-8"))
    held = _held(records, report)
    if report["items"] != len(shard.items) or report["records"] != held:
        raise PreparationError(
            f"{records} holds {held} records of {report['records']}", f"delete {path} and run the preparation again"
        )
    report.pop("measures", None)  # numbers of every record, too many to hold for all shards at once
    return report


def _held(records: AnyPath, report: dict) -> int:
    """How many records a file holds. In a bucket its size is compared: its records were counted before the upload."""
    if not records.exists():
        return 0
    if is_local(records):
        return ArrayRecordReader(str(records)).num_records()
    return report["records"] if records.stat().length == report["bytes"] else -1

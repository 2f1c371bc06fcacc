"""Shows the content of shards: counts by split and class, and one record as images and as a video with audio.

SHARDS is a finished folder, or any single shard, even if the others are not made yet.
"""

import argparse
import importlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader

from data_prep.plan import read_plan
from data_prep.status import exit_status
from data_prep.tally import LABELS
from davs_jax import command_line
from davs_jax.command_line import whole
from davs_jax.data import sources
from davs_jax.display import plots
from davs_jax.display.progress import progress
from davs_jax.errors import DataError
from davs_jax.media.video.write import Writer

SHOWN = 10  # classes printed per label, the most frequent ones
PER_ROW = 10  # frames


@command_line.command
def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m data_prep.inspect", description=__doc__)
    parser.add_argument("shards", type=Path, metavar="SHARDS", help="folder made by data_prep, or one file of records")
    parser.add_argument("--split", help="split of the record to show (default: the first)")
    parser.add_argument("--record", type=whole(), default=0, metavar="N", help="number of that record (default 0)")
    parser.add_argument("--output", type=Path, default=Path(), metavar="DIR", help="folder for its files (default: .)")
    parser.add_argument("--no-counts", action="store_true", help="do not read every record to count classes")
    args = parser.parse_args(argv)

    def show() -> None:
        for line in _lines(args):
            print(line)

    return exit_status(show, args.shards)


def _lines(args: argparse.Namespace) -> Iterator[str]:
    """Yields the lines to print; writes the record's files.

    Raises:
      DataError: there are no such shards, split or record, or the record cannot be read.
      MediaError: the video cannot be written.
      PreparationError: the plan cannot be read.
    """
    features, splits, sizes = (_one_shard if args.shards.is_file() else _finished)(args.shards)
    for name, split in splits.items():
        yield f"{name}: {len(split):,} records, {sizes[name] / 2**20:.1f} MiB"
        if not args.no_counts:
            yield from _classes(features, split)
    chosen = args.split or next(iter(splits))
    if chosen not in splits:
        raise DataError(f"{args.shards} has no split {chosen!r}", f"it has {', '.join(splits)}")
    if args.record >= len(splits[chosen]):
        raise DataError(f"--record {args.record}: split {chosen!r} has records 0 … {len(splits[chosen]) - 1}")
    args.output.mkdir(parents=True, exist_ok=True)
    stem = args.output / f"{chosen}-{args.record}"
    yield from _shown(features, splits[chosen].record(args.record), stem)


def _finished(folder: Path) -> tuple[tfds.features.FeaturesDict, dict, dict[str, int]]:
    """(features, splits by name, their bytes) of a finished folder."""
    if not (folder / "dataset_info.json").exists():
        raise DataError(f"{folder} holds no finished shards (no dataset_info.json)", "give data_prep's --output")
    info = tfds.builder_from_directory(str(folder)).info
    open_split = sources.open_clips if "frames" in info.features else sources.open_faces
    splits = {name: open_split(str(folder), name) for name in info.splits}
    return info.features, splits, {name: info.splits[name].num_bytes for name in splits}


def _one_shard(path: Path) -> tuple[tfds.features.FeaturesDict, dict, dict[str, int]]:
    """The same for one file of records, as if it were a split; its features are in the plan beside it."""
    plan = read_plan(path.parent)
    if plan is None:
        raise DataError(f"{path}: no plan.json lies beside it to describe its records", "leave it in its folder")
    features = importlib.import_module(plan.source).features(plan)
    name = path.name.replace(f"{plan.dataset}-", "", 1).replace(".array_record", "")
    return features, {name: _Shard(path, name, features)}, {name: path.stat().st_size}


class _Shard:
    """The records of one file, with the interface of a split in `sources`."""

    def __init__(self, path: Path, split: str, features: tfds.features.FeaturesDict):
        self.path, self.split, self._features = path, split, features
        if not path.stat().st_size:  # the reader takes it for a shard without records
            raise DataError(f"{path}: is empty (0 bytes)", "make it again with data_prep")
        try:
            self._reader = ArrayRecordReader(str(path))
        except Exception as error:  # the reader's kinds differ by version
            raise DataError(f"{path}: is not a complete shard", "make it again with data_prep") from error

    def __len__(self) -> int:
        return self._reader.num_records()

    def record(self, i: int) -> dict:
        try:
            return self._features.deserialize_example_np(self._reader.read([i])[0])
        except Exception as error:
            remedy = "make the shard again with data_prep"
            raise DataError(f"{self.path}: record {i} cannot be read", remedy) from error


def _classes(features: tfds.features.FeaturesDict, split) -> Iterator[str]:
    """Reads every record of a split; yields a line for each kind of label."""
    counts = {name: Counter() for name in LABELS if name in features}
    for i in progress(range(len(split)), unit="record", desc=split.split, leave=False):
        record = split.record(i)
        for name, counter in counts.items():
            counter[int(record[name])] += 1
    for name, counter in counts.items():
        known = {label: count for label, count in counter.items() if label >= 0}
        if not known:
            yield f"  {name}: unknown"
            continue
        common = sorted(known.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN]
        listed = ", ".join(f"{features[name].names[label]} {count:,}" for label, count in common)
        rest = f", and {len(known) - SHOWN:,} more" if len(known) > SHOWN else ""
        yield f"  {name}: {len(known):,} of {features[name].num_classes:,} classes: {listed}{rest}"


def _shown(features: tfds.features.FeaturesDict, record: dict, stem: Path) -> Iterator[str]:
    """Writes STEM.png and, for a clip, STEM.mp4; yields the lines that describe the record."""
    name = sources.text(record["clip_id" if "frames" in record else "face_id"])
    labels = {n: int(record[n]) for n in LABELS if n in features}
    classes = ", ".join(f"{n} {features[n].names[v] if v >= 0 else 'unknown'}" for n, v in labels.items())
    jpegs = record["frames"] if "frames" in record else [record["image"]]
    frames = [sources.decode(jpeg, name) for jpeg in jpegs]
    yield f"{name}: {classes}, {len(frames)} images of {frames[0].shape[1]} × {frames[0].shape[0]}"
    rows = [frames[i : i + PER_ROW] for i in range(0, len(frames), PER_ROW)]
    image = stem.with_name(f"{stem.name}.png")
    image.write_bytes(plots.png(plots.sheet(rows)))
    yield f"  {image}"
    if "frames" not in record:
        return
    for measure, value in json.loads(sources.text(record["measures"])).items():
        if measure != "points":  # ten numbers per frame
            yield f"  {measure}: {value}"
    video = stem.with_name(f"{stem.name}.mp4")
    with Writer(video, samples=record["audio"].astype(np.float32) / 2**15) as writer:
        for frame in frames:
            writer.write(frame)
    yield f"  {video}"


if __name__ == "__main__":
    sys.exit(main())

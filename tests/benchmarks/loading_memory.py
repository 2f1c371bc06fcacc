"""Memory that reading, and the report of a preparation, take as the corpus grows: it should stay the same.

    PYTHONPATH=tests python tests/benchmarks/loading_memory.py [--counts 100 1000 10000]

Each figure is the most that a process of its own has held. The records are one tiny clip under many numbers.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter

from configs import common
from data_prep import report
from data_prep.plan import Plan
from davs_jax.data import pipeline, records
from support.tiny_data import SPEAKERS, WORDS, clip_record, tiny

BATCHES = 30


def make(folder: Path, count: int) -> None:
    """A TFDS folder of `count` records in one shard."""
    features = records.clip_features(WORDS, SPEAKERS)
    encoded = [features.serialize_example(features.encode_example(clip_record(i))) for i in range(8)]
    writer = ArrayRecordWriter(str(folder / "clips-train.array_record-00000-of-00001"), "group_size:1")
    for i in range(count):
        writer.write(encoded[i % len(encoded)])
    writer.close()
    info = {"name": "train", "shard_lengths": [count], "num_bytes": 0, "filename_template": None}
    tfds.folder_dataset.write_metadata(
        data_dir=str(folder),
        features=features,
        split_infos=[tfds.core.SplitInfo(**info)],
        filename_template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
        check_data=False,
    )
    (folder / "rejected.jsonl").touch()


def read(folder: Path) -> None:
    """BATCHES training batches."""
    config = tiny(common.get_config("word"), str(folder), "")
    config.model.num_words = len(WORDS)
    batches = iter(pipeline.host_batches(config, ("frames", "speech", "word")))
    for _ in range(BATCHES):
        next(batches)


def tell(folder: Path) -> None:
    """The report, which reads every record."""
    plan = Plan("clips", "data_prep.lrw", "in", {}, {"word": WORDS, "speaker": SPEAKERS}, {})
    report.make(plan, folder, {"train": report.Counter(records=1)})


def peak() -> float:
    """Most memory that this process has held, MiB. (`ru_maxrss` begins with that of the process that started it.)"""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


WORK = {"start": lambda folder: None, "read": read, "report": tell}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000, 10_000], help="of records")
    parser.add_argument("--work", choices=WORK, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        WORK[args.work](args.folder)
        print(peak())
        return
    print(f"{'records':>8}{'':>4}" + "".join(f"{name:>12}" for name in WORK) + "   MiB")
    for count in args.counts:
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), count)
            command = [sys.executable, __file__, "--folder", folder, "--work"]
            held = [
                float(subprocess.run([*command, name], capture_output=True, text=True, check=True).stdout.split()[-1])
                for name in WORK
            ]
        print(f"{count:>8,}{'':>4}" + "".join(f"{mib:>12,.0f}" for mib in held))


if __name__ == "__main__":
    main()

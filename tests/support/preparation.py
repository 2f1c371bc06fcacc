"""Runs a preparation in this process, and reads what it made."""

import hashlib
import json
from pathlib import Path

import tensorflow_datasets as tfds


def prepare(source, folder: Path, *flags: str, output: Path | None = None) -> tuple[int, Path]:
    """Prepares a folder for 64 px with one process; later flags win.

    Args:
      source: module, such as `data_prep.lrw`.
      output: default: `out` beside the folder.

    Returns:
      (exit status, output folder).
    """
    output = output or folder.parent / "out"
    common = ("--input", str(folder), "--output", str(output), "--image-size", "64", "--workers", "1")
    return source.main([*common, *flags]), output


def dataset(output: Path) -> tfds.core.DatasetBuilder:
    return tfds.builder_from_directory(str(output))


def records(output: Path) -> list[dict]:
    """All records of all splits, by their id."""
    builder = dataset(output)
    found = [record for split in builder.info.splits for record in builder.as_data_source(split)]
    return sorted(found, key=lambda record: record.get("clip_id") or record["face_id"])


def rejections(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path there."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

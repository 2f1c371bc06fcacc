"""MS-Celeb-1M in the forms in which it is distributed: aligned TSV, RecordIO, WebDataset tars, folders `MID/*.jpg`.

The photos of the original table are loose crops, so their faces are detected. RecordIO and tars hold the training
crops of recognition networks, 112 pixels in ArcFace's template. `--crops` overrides this.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

import tensorflow_datasets as tfds

from data_prep import archives, command, folders, photos
from data_prep.clips import UNKNOWN
from data_prep.faces import PHOTOS_PER_SHARD, listed
from data_prep.folders import AnyPath
from data_prep.plan import Plan, PreparationError, into_shards, split_by_share
from data_prep.shards import Rejection, Unusable, rejected_item
from davs_jax import command_line
from davs_jax.data.records import face_features

PACKED = (".tgz", *(f"{kind}.gz" for kind in archives.KINDS))
DEFAULT_CROPS = {".tsv": "detect", ".rec": "arcface", ".tar": "arcface", "": "detect"}


def make_plan(args: argparse.Namespace) -> Plan:
    """Lists the photos. An item is `[name, file, offset, size, identity]`.

    Raises:
      PreparationError: the folder holds no photo, or files of more than one form.
    """
    found = folders.files(args.input)
    files = [file for file in found if archives.kind(file)]
    forms = sorted({archives.kind(file) for file in files})
    if len(forms) > 1:
        reason = f"{args.input}: holds {' and '.join(forms)} files"
        raise PreparationError(reason, "give each form a folder of its own")
    items = [*_packed(found), *(_contained(args.input, files) if files else _loose(args.input))]
    good = [item for item in items if isinstance(item, list)]
    if not good:
        why = f"; {items[0]['file']}: {items[0]['reason']}" if items else ""
        reason = f"{args.input}: no photo in any .tsv, .rec or .tar of it, nor any MID/*.jpg{why}"
        raise PreparationError(reason, "check the path")
    shares = {"train": 1 - args.val_fraction, "val": args.val_fraction}
    split_of = split_by_share((_name(item) for item in items), shares, args.seed)
    splits = {split: [item for item in items if split_of[_name(item)] == split] for split in shares}
    return Plan(
        dataset="ms_celeb",
        source="data_prep.ms_celeb",
        input=folders.absolute(args.input),
        options=photos.options(args, DEFAULT_CROPS[forms[0] if forms else ""]),
        labels={"identity": sorted({item[4] for item in good}, key=_numbers_first)},
        splits={split: into_shards(items, PHOTOS_PER_SHARD, args.seed) for split, items in splits.items() if items},
    )


def features(plan: Plan) -> tfds.features.FeaturesDict:
    return face_features(plan.labels["identity"])


def examples(plan: Plan, item: list) -> Iterator[dict | Rejection]:
    """Yields the record of one photo, or its rejection."""
    name, file, offset, size, identity = item
    path = folders.folder(plan.input) / file
    try:
        data = archives.photo_bytes(path, offset, size) if archives.kind(file) else None
        photo = photos.read(path, data).image
        label = _labels(plan).get(identity, UNKNOWN)
        yield photos.face_record(name, photo, label, plan.options)
    except Unusable as error:
        yield error.rejection(name)


@command_line.command
def main(argv: Sequence[str] | None = None) -> int:
    parser = command.parser(
        "Prepares MS-Celeb-1M (.tsv, .rec with .idx, .tar, or folders) for training on identities.",
        "python -m data_prep.ms_celeb --input faces_emore --output data/ms_celeb --image-size 256",
    )
    photos.add_flags(parser, default="arcface for .rec and .tar, detect for .tsv and folders")
    return command.run(parser.parse_args(argv), make_plan)


def _contained(folder: AnyPath, files: Sequence[str]) -> Iterator[list | dict]:
    for file in files:
        for entry in archives.entries(folder / file, file):
            if entry.trouble or not entry.identity:
                trouble = entry.trouble or "its label is not a number"
                yield rejected_item(entry.name, "read", trouble, "copy the file again, or correct it")
            else:
                yield [entry.name, file, entry.offset, entry.size, entry.identity]


def _packed(files: Sequence[str]) -> Iterator[dict]:
    for file in files:
        if file.lower().endswith(PACKED):
            reason = "is compressed, so its photos cannot be read one by one"
            yield rejected_item(file, "read", reason, "uncompress it")


def _loose(folder: AnyPath) -> Iterator[list | dict]:
    files, strays = listed(folder)
    yield from ([file, file, 0, 0, file.split("/")[0]] for file in files)
    yield from strays


def _name(item: list | dict) -> str:
    return item["file"] if isinstance(item, dict) else item[0]


def _numbers_first(identity: str) -> tuple[int, str]:
    """Sort key by which numbered identities keep their order: 2 comes before 10."""
    return (int(identity), "") if identity.isdecimal() else (sys.maxsize, identity)


_known: tuple[Plan | None, dict[str, int]] = (None, {})


def _labels(plan: Plan) -> dict[str, int]:
    """Label by identity, kept between photos: there are 85,000."""
    global _known
    if _known[0] is not plan:
        _known = plan, {name: label for label, name in enumerate(plan.labels["identity"])}
    return _known[1]


if __name__ == "__main__":
    sys.exit(main())

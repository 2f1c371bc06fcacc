"""A folder of identities, `NAME/*.jpg` or `.png`, one photo per file.

A JSON file of the same name beside a photo may give its `points`, `[5, 2]`; no face is then detected in it.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np
import tensorflow_datasets as tfds

from data_prep import command, folders, photos
from data_prep.folders import AnyPath
from data_prep.plan import Plan, PreparationError, into_shards, split_by_share
from data_prep.shards import Rejection, Unusable, rejected_item
from davs_jax import command_line
from davs_jax.data.records import face_features
from davs_jax.media.faces import alignment

PHOTO_KINDS = (".jpg", ".jpeg", ".png")
PHOTOS_PER_SHARD = 4096


def make_plan(args: argparse.Namespace) -> Plan:
    """Lists the photos. An item is a photo's path in the input folder.

    Raises:
      PreparationError: no folder in the input holds a photo.
    """
    files, strays = listed(args.input)
    if not files:
        raise PreparationError(f"{args.input}: holds no NAME/*.jpg or .png", "give one folder for each identity")
    split_of = split_by_share(files, {"train": 1 - args.val_fraction, "val": args.val_fraction}, args.seed)
    splits = {split: [file for file in files if split_of[file] == split] for split in ("train", "val")}
    splits["train"] += strays
    return Plan(
        dataset="faces",
        source="data_prep.faces",
        input=folders.absolute(args.input),
        options=photos.options(args, "detect"),
        labels={"identity": sorted({file.split("/")[0] for file in files})},
        splits={split: into_shards(items, PHOTOS_PER_SHARD, args.seed) for split, items in splits.items() if items},
    )


def features(plan: Plan) -> tfds.features.FeaturesDict:
    return face_features(plan.labels["identity"])


def examples(plan: Plan, item: str) -> Iterator[dict | Rejection]:
    """Yields the record of one photo, or its rejection."""
    path = folders.folder(plan.input) / item
    identity = plan.labels["identity"].index(item.split("/")[0])
    try:
        still, points = photos.read(path), _known_points(path.with_suffix(".json"))
        points = None if points is None else still.points(points)
        yield photos.face_record(item.rpartition(".")[0], still.image, identity, plan.options, points)
    except Unusable as error:
        yield error.rejection(item)


@command_line.command
def main(argv: Sequence[str] | None = None) -> int:
    parser = command.parser(
        "Prepares photos sorted into one folder per person for training on identities.",
        "python -m data_prep.faces --input lfw --output data/faces --image-size 64",
    )
    photos.add_flags(parser, default="detect")
    return command.run(parser.parse_args(argv), make_plan)


def listed(folder: AnyPath) -> tuple[list[str], list[dict]]:
    """(the photos `NAME/*` of a folder, rejections of the other files in it)."""
    photos, strays = [], {}
    for file in folders.files(folder):
        kind, depth = PurePosixPath(file).suffix.lower(), file.count("/")
        if depth == 0:
            if kind in PHOTO_KINDS:
                strays[file] = "label", "lies in no identity's folder", "move it into one"
        elif depth > 1:
            within = "/".join(file.split("/")[:2])
            strays[within] = "read", "is a folder within an identity's", "move its photos up, or leave it out"
        elif kind in PHOTO_KINDS:
            photos.append(file)
        elif kind != ".json":
            strays[file] = "read", f"is none of {', '.join(PHOTO_KINDS)}", "convert it, or leave it out"
    return photos, [rejected_item(file, *why) for file, why in strays.items()]


def _known_points(path: AnyPath) -> np.ndarray | None:
    """The points in the JSON file beside a photo; None where there is no such file."""
    if (data := folders.read(path)) is None:
        return None
    try:
        points = np.array(json.loads(data)["points"], np.float64)
        alignment.similarity(points)
        return points
    except (ValueError, TypeError, KeyError) as error:
        raise Unusable("label", f"{path.name}: {error}", "correct it, or delete it") from error


if __name__ == "__main__":
    sys.exit(main())

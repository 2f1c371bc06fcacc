"""A folder of identities, `NAME/*.jpg` or `.png`, one photo per file.

A JSON file of the same name may stand beside a photo and give its `points`, `[5, 2]`, instead of detection.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from data_prep import command
from data_prep.clips import Unusable, encode_jpeg
from data_prep.plan import Plan, PreparationError, into_shards, split_by_share
from data_prep.shards import Rejection
from davs_jax.media import face
from davs_jax.media.photo import PhotoError, read_picture
from davs_jax.records import face_features, stored_size

PHOTO_KINDS = (".jpg", ".jpeg", ".png")
PHOTOS_PER_SHARD = 4096


def make_plan(args: argparse.Namespace) -> Plan:
    """Lists the photos. An item is a photo's path in the input folder.

    Raises:
      PreparationError: no folder in the input holds a photo.
    """
    photos = sorted(
        path.relative_to(args.input).as_posix()
        for path in args.input.glob("*/*")
        if path.suffix.lower() in PHOTO_KINDS and not path.name.startswith(".")
    )
    if not photos:
        raise PreparationError(f"{args.input}: no NAME/*.jpg or .png in it; give one folder for each identity")
    split_of = split_by_share(photos, {"train": 1 - args.val_fraction, "val": args.val_fraction}, args.seed)
    splits = {split: [photo for photo in photos if split_of[photo] == split] for split in ("train", "val")}
    return Plan(
        dataset="faces",
        source="data_prep.faces",
        input=str(args.input.resolve()),
        options={"image_size": args.image_size, "seed": args.seed, "val_fraction": args.val_fraction},
        labels={"identity": sorted({photo.split("/")[0] for photo in photos})},
        splits={split: into_shards(items, PHOTOS_PER_SHARD, args.seed) for split, items in splits.items() if items},
    )


def features(plan: Plan) -> tfds.features.FeaturesDict:
    return face_features(plan.labels["identity"])


def examples(plan: Plan, item: str) -> Iterator[dict | Rejection]:
    """The record of one photo, or why it has none."""
    path = Path(plan.input, item)
    try:
        photo = _read(path)
        points = _points(path.with_suffix(".json"), photo)
    except Unusable as error:
        yield Rejection(item, *error.args)
        return
    yield {
        "face_id": item.rpartition(".")[0],
        "image": encode_jpeg(face.align(photo, points, stored_size(plan.options["image_size"]))),
        "identity": plan.labels["identity"].index(item.split("/")[0]),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = command.parser(
        "Prepares photos sorted into one folder per person for training on identities.",
        "python -m data_prep.faces --input lfw --output data/faces --image-size 64",
    )
    parser.add_argument(
        "--val-fraction", type=_fraction, default=0.0, help="share of the photos for a val split (default 0)"
    )
    return command.run(parser.parse_args(argv), make_plan)


def _read(path: Path) -> np.ndarray:
    try:
        return read_picture(path)
    except PhotoError as error:
        raise Unusable.because("read", path, error) from error


def _points(known: Path, photo: np.ndarray) -> np.ndarray:
    if known.exists():
        try:
            points = np.array(json.loads(known.read_text(encoding="utf-8"))["points"], np.float64)
            face.similarity(points)
            return points
        except (ValueError, TypeError, KeyError) as error:
            raise Unusable("label", f"{known.name}: {error}", "correct it, or delete it") from error
    try:
        return face.track(photo[None]).points[0]
    except face.NoFace as error:
        raise Unusable("face", "no face was found in it", "leave the photo out, or give its points") from error


def _fraction(text: str) -> float:
    if not 0 <= (value := float(text)) < 1:
        raise argparse.ArgumentTypeError(f"{value} is not in 0…1")
    return value


if __name__ == "__main__":
    sys.exit(main())

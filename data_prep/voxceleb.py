"""VoxCeleb2 (Chung et al. 2018): `dev/mp4/id00012/VIDEO/00001.mp4`, with known speakers and no word labels.

The audio is in the video, or in an `.m4a` of the same name: beside it, or in the folder `aac` that mirrors `mp4` (as
the corpus is distributed). Each utterance is cut into consecutive clips, evenly spread over it.
"""

import argparse
import functools
import sys
from collections.abc import Iterator, Sequence

import tensorflow_datasets as tfds

from data_prep import clips, command, folders
from data_prep.clips import UNKNOWN, Cut, Recording, clip_records
from data_prep.cutting import consecutive
from data_prep.photos import add_val_fraction
from data_prep.plan import Plan, PreparationError, into_shards, split_by_share
from data_prep.shards import Rejection, rejected_item
from davs_jax import command_line
from davs_jax.command_line import whole
from davs_jax.data.records import clip_features

UTTERANCES_PER_SHARD = 100
SPLITS = ("train", "val", "test")


def make_plan(args: argparse.Namespace) -> Plan:
    """Lists the utterances. An item is `{"video", "sound", "speaker"}`: paths in the input folder, or "".

    Utterances in a folder `test` are the test split. A share of the other source videos is val, so that no source video
    is in two splits.

    Raises:
      PreparationError: the folder is not in the corpus's layout.
    """
    files = folders.files(args.input)
    audio = {file for file in files if file.endswith(".m4a")}
    items = [_item(file, audio) for file in files if _is_utterance(file)]
    if not items:
        raise PreparationError(f"{args.input}: holds no SPEAKER/VIDEO/*.mp4", "give the folder that holds dev or mp4")
    shares = {"train": 1 - args.val_fraction, "val": args.val_fraction}
    of_others = {_source(item) for item in items if not _is_test(item)}
    split_of = split_by_share(of_others, shares, args.seed) if of_others else {}
    splits = {split: [] for split in SPLITS}
    for item in items:
        splits["test" if _is_test(item) else split_of[_source(item)]].append(item)
    splits["train"] += _strays(files, {item["sound"] for item in items})
    return Plan(
        dataset="voxceleb",
        source="data_prep.voxceleb",
        input=folders.absolute(args.input),
        options={
            **clips.options(args),
            "val_fraction": args.val_fraction,
            "clips": args.clips or "all",
        },
        labels={"word": [], "speaker": sorted({item["speaker"] for item in items})},
        splits={split: into_shards(items, UTTERANCES_PER_SHARD, args.seed) for split, items in splits.items() if items},
    )


def features(plan: Plan) -> tfds.features.FeaturesDict:
    return clip_features(plan.labels["word"], plan.labels["speaker"])


def examples(plan: Plan, item: dict[str, str]) -> Iterator[dict | Rejection]:
    """Yields the records and rejections of one utterance."""
    wanted, corpus = plan.options["clips"], folders.folder(plan.input)
    recording = Recording(
        corpus / item["video"],
        item["video"],
        functools.partial(cuts, item["video"].removesuffix(".mp4"), None if wanted == "all" else wanted),
        plan.labels["speaker"].index(item["speaker"]),
        audio=corpus / item["sound"] if item["sound"] else None,
    )
    yield from clip_records(recording, plan.options)


def cuts(name: str, most: int | None, frames: int) -> list[Cut]:
    """Consecutive clips of an utterance, at most `most`, spread evenly over it.

    Args:
      name: of the utterance, which the clips' names begin with.
      frames: of the utterance, at least CLIP_FRAMES.
    """
    middles = consecutive(range(frames), most)
    return [Cut(f"{name}/{i}", UNKNOWN, middle) for i, middle in enumerate(middles)]


@command_line.command
def main(argv: Sequence[str] | None = None) -> int:
    parser = command.parser(
        "Prepares VoxCeleb2 for training: known speakers, no word labels.",
        "python -m data_prep.voxceleb --input VoxCeleb2 --output data/voxceleb2 --image-size 256",
    )
    parser.add_argument("--clips", type=whole(1), metavar="N", help="at most N clips per utterance (default: all)")
    add_val_fraction(parser, 0.02, "source videos")
    clips.add_flags(parser)
    return command.run(parser.parse_args(argv), make_plan)


def _is_utterance(file: str) -> bool:
    return file.endswith(".mp4") and file.count("/") >= 2


def _item(video: str, audio: set[str]) -> dict[str, str]:
    beside = video.removesuffix(".mp4") + ".m4a"
    mirrored = "/".join("aac" if part == "mp4" else part for part in beside.split("/"))
    file = next((file for file in (beside, mirrored) if file in audio), "")
    return {"video": video, "sound": file, "speaker": video.split("/")[-3]}


def _strays(files: Sequence[str], used: set[str]) -> Iterator[dict]:
    """Rejects videos outside the layout and audio files without a video."""
    for file in files:
        if file.endswith(".m4a") and file not in used:
            yield rejected_item(file, "read", "its video is missing", "copy it from the corpus")
        elif file.endswith(".mp4") and not _is_utterance(file):
            yield rejected_item(file, "label", "lies in no SPEAKER/VIDEO folder", "move it into one, or leave it out")


def _is_test(item: dict[str, str]) -> bool:
    return "test" in item["video"].split("/")[:-3]


def _source(item: dict[str, str]) -> str:
    return item["video"].rpartition("/")[0]


if __name__ == "__main__":
    sys.exit(main())

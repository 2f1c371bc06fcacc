"""A folder of videos of one's own, of any length and in any tree, with or without a table of timed words.

Each labelled word gives a clip, with the word in its middle. Where a recording has no labelled word, it is cut into
consecutive clips without a label, which training reads as unlabelled speech. No clip crosses a shot border. `labels.py`
describes the table.
"""

import re
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import tensorflow_datasets as tfds

from data_prep import clips, command, cutting, folders, labels, recordings, screening, synchrony
from data_prep.clips import UNKNOWN
from data_prep.cutting import Word
from data_prep.folders import AnyPath
from data_prep.labels import SPLITS, Labels, Table
from data_prep.plan import Plan, PreparationError, into_shards, split_by_share
from data_prep.shards import Rejection, Unusable, rejected_item
from davs_jax import command_line
from davs_jax.command_line import real, whole
from davs_jax.constants import CLIP_FRAMES
from davs_jax.data.records import clip_features
from davs_jax.display.progress import progress
from davs_jax.errors import MediaError
from davs_jax.media.video.read import stated_frames

# Suffixes of what PyAV reads.
VIDEO = re.compile(r"\.(mp4|m4v|mov|3gp|f4v|flv|mkv|webm|ogv|avi|wmv|mpe?g|m2v|vob|m?ts|m2ts|mxf|dv)", re.IGNORECASE)
TABLE = "labels.csv"  # in the input folder, unless --labels names another
RECORDINGS_PER_SHARD = 100
SPLIT_BY = ("table", "speaker", "recording")
OFF_MIDDLE = 5.0  # frames: words of up to 0.56 s are then still whole in the frames 2 … 26 that the networks see


def make_plan(args: Namespace) -> Plan:
    """Lists the videos. An item is `{"video", "speaker", "words"}`: its path, a name or "", the fields of `Word`s.

    Raises:
      PreparationError: there is no video in the folder, or an option or the table does not fit it.
    """
    videos = [file for file in folders.files(args.input) if VIDEO.fullmatch(PurePosixPath(file).suffix)]
    if not videos:
        raise PreparationError(f"{args.input}: holds no video", "give a folder of mp4, mov, mkv, avi, … files")
    path = _table_path(args)
    table = labels.read(path, videos, args.min_confidence) if path else Table({}, frozenset(), [], 0)
    known = {video: table.videos.get(video, Labels()) for video in videos}
    judged = synchrony.options(args)
    vocabulary = _vocabulary(args, known)
    split_by = _split_by(args, table)
    split_of = _splits(args, split_by, known)
    splits = {split: [] for split in SPLITS}
    for video, said in known.items():
        splits[split_of[video]].append(_item(args, video, said, vocabulary))
    splits["train"] += table.strays
    return Plan(
        dataset="folder",
        source="data_prep.folder",
        input=folders.absolute(args.input),
        options={
            **clips.options(args),
            **screening.options(args),
            **judged,
            "labels": folders.absolute(path) if path else "none",
            "words": args.words or "all",
            **{name: getattr(args, name) for name in ("min_count", "min_confidence", "off_middle", "labelled_only")},
            "words_below_min_confidence": table.unsure,
            "split_by": split_by,
            "val_fraction": args.val_fraction,
            "test_fraction": args.test_fraction,
        },
        labels={"word": vocabulary, "speaker": sorted({said.speaker for said in known.values()} - {""})},
        splits={split: into_shards(items, RECORDINGS_PER_SHARD, args.seed) for split, items in splits.items() if items},
    )


def features(plan: Plan) -> tfds.features.FeaturesDict:
    return clip_features(plan.labels["word"], plan.labels["speaker"])


def examples(plan: Plan, item: Mapping[str, Any]) -> Iterator[dict | Rejection]:
    """Yields the records and rejections of one recording."""
    video, speakers, outcome = item["video"], plan.labels["speaker"], None
    label = {word: index for index, word in enumerate(plan.labels["word"])}
    speaker = speakers.index(item["speaker"]) if item["speaker"] else UNKNOWN
    words = [Word(*word) for word in item["words"]]
    try:
        with folders.local(folders.folder(plan.input) / video) as path:
            for outcome in recordings.clip_records(path, video, words, label, speaker, plan.options):
                yield outcome
    except Unusable as error:
        yield error.rejection(video)
        return
    if outcome is None and plan.options["labelled_only"]:
        yield Rejection(video, "unlabelled", *_UNLABELLED)
    elif outcome is None:
        yield Rejection(video, "length", f"no shot of it has {CLIP_FRAMES} frames with audio", "leave it out")


@command_line.command
def main(argv: Sequence[str] | None = None) -> int:
    parser = command.parser(
        "Prepares a folder of videos of any length, with or without a table of timed words, for training.",
        "python -m data_prep.folder --input videos --output data/mine --image-size 64",
    )
    _add_labels(parser)
    _add_splits(parser)
    clips.add_flags(parser)
    screening.add_flags(parser)
    synchrony.add_flags(parser)
    return command.run(parser.parse_args(argv), make_plan)


def _add_labels(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("labels")
    group.add_argument(
        "--labels",
        metavar="CSV",
        help="table with a header: the column clip (path below --input, or the file's name where it is unique), and "
        "any of word, start, end (s), confidence, speaker, split; a row for each timed word (default: "
        f"{TABLE} in --input, where it exists)",
    )
    words = group.add_mutually_exclusive_group()
    words.add_argument("--words", type=lambda text: text.split(","), metavar="A,B", help="the vocabulary")
    words.add_argument(
        "--min-count",
        type=whole(1),
        default=1,
        metavar="N",
        help="the vocabulary is the words with at least N usable clips (default 1), counted by the lengths that the "
        "files state. A clip of any other word becomes unlabelled",
    )
    group.add_argument(
        "--min-confidence",
        type=real(0, 1000),
        default=0.5,
        metavar="C",
        help="ignore words whose confidence is below C, where the table has that column (default 0.5)",
    )
    group.add_argument(
        "--off-middle",
        type=real(0, CLIP_FRAMES / 2),
        default=OFF_MIDDLE,
        metavar="FRAMES",
        help="a word's middle may be so far off the middle of its clip, where the edge of the recording or of the shot "
        f"leaves no better place (default {OFF_MIDDLE:g}). A word that is further off, or less central than another in "
        "the same frames, gets no clip: the report counts it, and its frames become unlabelled clips where no other "
        "clip has them",
    )
    group.add_argument("--labelled-only", action="store_true", help="leave out unlabelled clips")


def _add_splits(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("splits")
    group.add_argument(
        "--split-by",
        choices=SPLIT_BY,
        help="the table's column split (a recording without one is in train); whole speakers (a recording without one "
        "is in train); or recordings (default: the first of these that the table has)",
    )
    for split in ("val", "test"):
        text = f"share of the speakers or recordings in {split} (default 0.1)"
        group.add_argument(f"--{split}-fraction", type=real(0, 1), default=0.1, metavar="F", help=text)


def _table_path(args: Namespace) -> AnyPath | None:
    if args.labels:
        return folders.folder(args.labels)
    path = args.input / TABLE
    return path if path.exists() else None


def _vocabulary(args: Namespace, known: Mapping[str, Labels]) -> list[str]:
    """The words of `--words`, or those with `--min-count` usable clips, sorted."""
    spoken = {word.text for said in known.values() for word in said.words}
    if args.words:
        for word in args.words:
            if word not in spoken:
                some = ", ".join(sorted(spoken)[:5]) or "none"
                raise PreparationError(f"--words {word}: the table has no such word", f"it has {some}, …")
        return sorted(set(args.words))
    usable = Counter()
    with_words = {video: said.words for video, said in known.items() if said.words}
    for video, words in progress(with_words.items(), unit="file", desc="lengths", leave=False):
        frames = _stated_frames(args.input / video)
        placed, _ = cutting.around_words(words, [range(frames)], args.off_middle)
        usable.update(clip.word.text for clip in placed)
    vocabulary = sorted(word for word, count in usable.items() if count >= args.min_count)
    if spoken and not vocabulary:
        most = max(usable.values(), default=0)
        raise PreparationError(
            f"--min-count {args.min_count}: no word of the table has so many usable clips",
            f"the most frequent one has {most}; lower it" if most else "check the times of the words: they are seconds",
        )
    return vocabulary


def _stated_frames(path: AnyPath) -> int:
    """0 where the file cannot be read, which its item reports later."""
    with folders.local(path) as file:
        try:
            return stated_frames(file)
        except MediaError:
            return 0


def _split_by(args: Namespace, table: Table) -> str:
    """One of SPLIT_BY: the option, or the first that the table has."""
    known = {
        "table": any(said.split for said in table.videos.values()),
        "speaker": any(said.speaker for said in table.videos.values()),
        "recording": True,
    }
    if args.split_by and not known[args.split_by]:
        column = {"table": "split"}.get(args.split_by, args.split_by)
        raise PreparationError(
            f"--split-by {args.split_by}: no video has a {column}", f"add the column {column} to the table"
        )
    return args.split_by or next(by for by in SPLIT_BY if known[by])


def _splits(args: Namespace, split_by: str, known: Mapping[str, Labels]) -> dict[str, str]:
    """The split of each video."""
    if split_by == "table":
        return {video: said.split or "train" for video, said in known.items()}
    unit = {video: said.speaker if split_by == "speaker" else video for video, said in known.items()}
    shares = {"val": args.val_fraction, "test": args.test_fraction}
    shares = {"train": 1 - sum(shares.values()), **shares}
    if shares["train"] <= 0:
        raise PreparationError("--val-fraction and --test-fraction leave nothing for train", "lower one of them")
    split_of = {"": "train"} | split_by_share(set(unit.values()) - {""}, shares, args.seed)
    return {video: split_of[name] for video, name in unit.items()}


_UNLABELLED = "has no clip of a word of the vocabulary", "leave it out, or prepare without --labelled-only"


def _item(args: Namespace, video: str, said: Labels, vocabulary: Sequence[str]) -> dict:
    if args.labelled_only and not any(word.text in vocabulary for word in said.words):
        return rejected_item(video, "unlabelled", *_UNLABELLED)
    return {"video": video, "speaker": said.speaker, "words": [list(word) for word in said.words]}


if __name__ == "__main__":
    sys.exit(main())

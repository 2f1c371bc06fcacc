"""LRW (Chung and Zisserman 2016), or a corpus in its layout: `WORD/{train,val,test}/WORD_00001.mp4` with a `.txt`.

The word is in the middle of its clip. A JSON file of the same name beside a video may give its `speaker` (name), its
`points` (`[T, 5, 2]`, taken as exact; no face is then detected) and its `mouth_opening` (`[T]`). LRW itself has none.
"""

import difflib
import json
import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow_datasets as tfds

from data_prep import clips, command, folders
from data_prep.clips import UNKNOWN, Cut, Recording, clip_records
from data_prep.folders import AnyPath
from data_prep.plan import Plan, PreparationError, into_shards
from data_prep.shards import Rejection, Unusable, rejected_item
from davs_jax import command_line
from davs_jax.data.records import clip_features
from davs_jax.files import decoded

SPLITS = ("train", "val", "test")
CLIPS_PER_SHARD = 512
DURATION = re.compile(r"^Duration:\s*(\d+\.?\d*)\s*seconds", re.MULTILINE)


def make_plan(args: Namespace) -> Plan:
    """Lists the clips. An item is a video's path in the input folder, e.g. `ABOUT/train/ABOUT_00001.mp4`.

    Raises:
      PreparationError: the folder is not in LRW's layout, or lacks a word of `--words`.
    """
    words = _words(args.input, args.words)
    videos = {split: list(_files(args.input, words, split, "mp4")) for split in SPLITS}
    if not any(videos.values()):
        raise PreparationError(f"{args.input}: its word folders hold no .mp4 in {', '.join(SPLITS)}", "check the path")
    speakers = {
        _speaker(path)
        for split in SPLITS
        for path in map(args.input.joinpath, _files(args.input, words, split, "json"))
    }
    listed = {split: items + list(_strays(args.input, words, split)) for split, items in videos.items()}
    return Plan(
        dataset="lrw",
        source="data_prep.lrw",
        input=folders.absolute(args.input),
        options={
            **clips.options(args),
            "words": "all" if args.words is None else words,
        },
        labels={"word": words, "speaker": sorted(speakers - {""})},
        splits={split: into_shards(items, CLIPS_PER_SHARD, args.seed) for split, items in listed.items() if items},
    )


def features(plan: Plan) -> tfds.features.FeaturesDict:
    return clip_features(plan.labels["word"], plan.labels["speaker"])


def examples(plan: Plan, item: str) -> Iterator[dict | Rejection]:
    """Yields the record of one video, or its rejection."""
    try:
        recording = _recording(plan, item)
    except Unusable as error:
        yield error.rejection(item)
    else:
        yield from clip_records(recording, plan.options)


@command_line.command
def main(argv: Sequence[str] | None = None) -> int:
    parser = command.parser(
        "Prepares LRW (or a corpus in its layout) for training.",
        "python -m data_prep.lrw --input LRW/lipread_mp4 --output data/lrw --image-size 256",
    )
    parser.add_argument(
        "--words",
        type=lambda text: text.split(","),
        metavar="A,B",
        help="only these words (default: all)",
    )
    clips.add_flags(parser)
    return command.run(parser.parse_args(argv), make_plan)


def _words(folder: AnyPath, wanted: Sequence[str] | None) -> list[str]:
    """The vocabulary: the sorted names of the word folders."""
    found = sorted(path.name for path in folder.iterdir() if any((path / split).is_dir() for split in SPLITS))
    if not found:
        reason = f"{folder}: holds no WORD/train, WORD/val or WORD/test"
        raise PreparationError(reason, "give the folder lipread_mp4")
    for word in wanted or ():
        if word not in found:
            near = difflib.get_close_matches(word.upper(), found, 3) or found[:3]
            raise PreparationError(f"--words {word}: {folder} has no such word", f"it has {', '.join(near)}, …")
    return sorted(set(wanted)) if wanted else found


def _files(folder: AnyPath, words: Sequence[str], split: str, kind: str) -> Iterator[str]:
    for word in words:
        for path in sorted((folder / word / split).glob(f"[!.]*.{kind}")):
            yield path.relative_to(folder).as_posix()


def _strays(folder: AnyPath, words: Sequence[str], split: str) -> Iterator[dict]:
    """Rejects files without an .mp4 of the same name."""
    for word in words:
        files = sorted((folder / word / split).glob("[!.]*"))
        videos = {path.stem for path in files if path.suffix == ".mp4"}
        for path in files:
            if path.stem not in videos:
                reason, remedy = "there is no .mp4 of its name", "copy it from the corpus, or convert the video"
                yield rejected_item(path.relative_to(folder).as_posix(), "read", reason, remedy)


def _recording(plan: Plan, item: str) -> Recording:
    path = folders.folder(plan.input) / item
    known = _known(path.with_suffix(".json"))
    speakers = plan.labels["speaker"]
    word = plan.labels["word"].index(item.split("/")[0])
    cut = Cut(item.removesuffix(".mp4"), word, measures={"duration": _duration(path.with_suffix(".txt"))})
    return Recording(
        path,
        item,
        [cut],
        speakers.index(known["speaker"]) if known.get("speaker") else UNKNOWN,
        known.get("points"),
        known.get("mouth_opening"),
    )


def _duration(path: AnyPath) -> float:
    """Duration of the word in seconds, from LRW's text file."""
    if (data := folders.read(path)) is None:
        raise Unusable("label", f"{path.name} is missing", "copy it from the corpus")
    if not (found := DURATION.search(decoded(data, errors="replace"))):
        raise Unusable("label", f"{path.name} has no line `Duration: x.xx seconds`", "copy it from the corpus again")
    return float(found[1])


def _known(path: AnyPath) -> dict:
    """The labels in the JSON file beside a video; {} where there is no such file."""
    if (data := folders.read(path)) is None:
        return {}
    try:
        known = json.loads(data)
        arrays = {name: np.asarray(known[name], np.float32) for name in ("points", "mouth_opening") if name in known}
        if "points" in arrays and (arrays["points"].ndim != 3 or arrays["points"].shape[1:] != (5, 2)):
            raise ValueError(f"points are {list(arrays['points'].shape)}, not [T, 5, 2]")
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("a number in it is not finite")
        return {**arrays, "speaker": str(known.get("speaker") or "")}
    except (ValueError, TypeError, AttributeError) as error:
        raise Unusable("label", f"{path.name} cannot be read ({error})", "correct it, or delete it") from error


def _speaker(path: AnyPath) -> str:
    try:
        return _known(path).get("speaker", "")
    except Unusable:
        return ""  # its clip will be rejected, with the reason


if __name__ == "__main__":
    sys.exit(main())

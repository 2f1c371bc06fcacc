"""Makes a corpus of drawn people who speak, in LRW's own layout: data to try everything on, every fact known.

Beside each clip lies what real recordings cannot give: who speaks, the five points of the face and how far
the mouth is open, frame by frame. People and voices of val and test occur nowhere else.

    lipread_mp4/WORD/{train,val,test}/WORD_00001.{mp4,txt,json}    clips
    faces/NAME/000.{jpg,json}      identity images of the training people and of further ones
    photos/NAME.{png,json}         portraits of people of the test split
    speech/NAME.{wav,txt}          sentences in their voices, made of the vocabulary only
    driving/NAME.{mp4,txt}         the same, said to a camera
    corpus.json                    the settings, the people and their voices, the counts
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import re
import signal
import sys
import wave
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from data_prep.drawing import Picture
from data_prep.people import Person, random_person
from data_prep.performance import Speech, perform, photograph, portrait, speak_sentence, speak_word
from data_prep.speech import SpeechError, Voice, say
from davs_jax.media.video import MediaError, Writer
from davs_jax.records import SAMPLE_RATE

WORDS = (
    "ABOUT", "AFTERNOON", "BECAUSE", "FAMILY", "GROUP", "MOMENT", "PEOPLE", "SEVEN", "WELCOME", "YESTERDAY",
)  # fmt: skip
PORTRAITS, SENTENCES, DRIVINGS = 4, 3, 2  # how many of the test people are photographed, recorded and filmed
PORTRAIT_SIZE = 512
TASK_SIZE = 10  # files that a worker makes in one go; the person is painted once for all of them
GENERATED = "synthetic: a drawn face and an artificial voice"


@dataclass(frozen=True)
class Settings:
    """All that the corpus depends on."""

    words: tuple[str, ...] = WORDS
    people: int = 32
    val_people: int = 6
    test_people: int = 8
    further_people: int = 16
    clips_per_word: int = 4
    images: int = 20
    context: float = 0.25
    size: int = 256
    seed: int = 0

    def names(self) -> dict[str, list[str]]:
        """People's names by what they are there for; the letter tells it."""
        counts = {
            "train": self.people,
            "val": self.val_people,
            "test": self.test_people,
            "further": self.further_people,
        }
        letters = {"train": "p", "val": "v", "test": "t", "further": "f"}
        return {
            role: [f"{letters[role]}{index:03d}" for index in range(count)] for role, count in counts.items()
        }

    def person(self, name: str) -> Person:
        return random_person(self.random("person", name), unseen=name[0] in "vt")

    def random(self, *of_what) -> np.random.Generator:
        """Randomness that depends on the seed and on what it is for, not on who comes first."""
        digest = hashlib.sha256("/".join(map(str, (self.seed, *of_what))).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@dataclass(frozen=True)
class Task:
    """Files of one person: `make` is a function of this module, `items` its further arguments per file."""

    make: str
    name: str
    items: tuple[tuple, ...]


class CorpusError(Exception):
    """The corpus cannot be made as asked. The message says what to change."""


def plan(settings: Settings) -> list[Task]:
    """Lists everything that the corpus consists of."""
    names, tasks = settings.names(), []
    for split in ("train", "val", "test"):
        each = settings.clips_per_word if split == "train" else max(1, settings.clips_per_word // 2)
        for place, name in enumerate(names[split]):
            items = [(split, w, place * each + n + 1) for w in settings.words for n in range(each)]
            tasks += _tasks("make_clip", name, items)
    for name in names["train"] + names["further"]:
        tasks += _tasks("make_image", name, [(index,) for index in range(settings.images)])
    for make, count in (
        ("make_portrait", PORTRAITS),
        ("make_sentence", SENTENCES),
        ("make_driving", DRIVINGS),
    ):
        tasks += [Task(make, name, ((),)) for name in names["test"][:count]]
    return tasks


def _tasks(make: str, name: str, items: list[tuple]) -> list[Task]:
    return [Task(make, name, tuple(items[at : at + TASK_SIZE])) for at in range(0, len(items), TASK_SIZE)]


def run_task(output: Path, settings: Settings, task: Task) -> int:
    """Makes the files of a task that are not there yet; returns how many it looked after."""
    person = settings.person(task.name)
    for item in task.items:
        globals()[task.make](output, settings, task.name, person, *item)
    return len(task.items)


def make_clip(
    output: Path, settings: Settings, name: str, person: Person, split: str, word: str, number: int
) -> None:
    """A word, the video first and the facts last: where the facts are, the clip is complete."""
    path = output / "lipread_mp4" / word / split / f"{word}_{number:05d}.mp4"
    if path.with_suffix(".json").exists():
        return
    rng = settings.random("clip", split, word, number)
    speech = speak_word(person, word, rng.random() < settings.context, rng)
    pictures = _film(path, person, speech, settings.size, rng)
    path.with_suffix(".txt").write_text(
        f"Disk reference: {name}\nChannel: synthetic\nProgram start: 1970-01-01 00:00:00 +0000\n"
        f"Clip start: 0.00 seconds\nDuration: {speech.duration:.2f} seconds\n"
    )
    facts = {
        "speaker": name,
        "points": [_points(picture) for picture in pictures],
        "mouth_opening": [round(picture.opening, 4) for picture in pictures],
    }
    _write_last(path.with_suffix(".json"), json.dumps(facts).encode())


def make_image(output: Path, settings: Settings, name: str, person: Person, index: int) -> None:
    """A snapshot for the identity set."""
    path = output / "faces" / name / f"{index:03d}.jpg"
    if not path.with_suffix(".json").exists():
        _write_picture(path, photograph(person, settings.size, settings.random("image", name, index)))


def make_portrait(output: Path, settings: Settings, name: str, person: Person) -> None:
    """A portrait to generate from."""
    path = output / "photos" / f"{name}.png"
    if not path.with_suffix(".json").exists():
        _write_picture(path, portrait(person, PORTRAIT_SIZE))


def make_sentence(output: Path, settings: Settings, name: str, person: Person) -> None:
    """A sentence to drive a photo with."""
    path = output / "speech" / f"{name}.wav"
    if path.with_suffix(".txt").exists():
        return
    rng = settings.random("sentence", name)
    text = _sentence(settings, rng)
    speech = speak_sentence(person, text, rng)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes((speech.samples * 32_767).astype("<i2").tobytes())
    _write_last(path.with_suffix(".txt"), f"{text}\n".encode())


def make_driving(output: Path, settings: Settings, name: str, person: Person) -> None:
    """A film of somebody saying a sentence."""
    path = output / "driving" / f"{name}.mp4"
    if path.with_suffix(".txt").exists():
        return
    rng = settings.random("driving", name)
    text = _sentence(settings, rng)
    _film(path, person, speak_sentence(person, text, rng), settings.size, rng)
    _write_last(path.with_suffix(".txt"), f"{text}\n".encode())


def _sentence(settings: Settings, rng: np.random.Generator) -> str:
    count = min(len(settings.words), int(rng.integers(5, 8)))
    return " ".join(word.lower() for word in rng.choice(settings.words, count, replace=False))


def _film(path: Path, person: Person, speech: Speech, size: int, rng: np.random.Generator) -> list[Picture]:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.part")
    pictures = []
    tags = {"comment": GENERATED}
    with Writer(draft, samples=speech.samples, metadata=tags, preset="ultrafast", threads=1) as writer:
        for picture in perform(person, speech, size, rng):
            writer.write(picture.image)
            pictures.append(picture)
    draft.replace(path)
    return pictures


def _write_picture(path: Path, picture: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, picture.image[..., ::-1])[1].tobytes())  # JPEGs at quality 95
    facts = {"points": _points(picture), "mouth_opening": round(picture.opening, 4)}
    _write_last(path.with_suffix(".json"), json.dumps(facts).encode())


def _points(picture: Picture) -> list:
    return np.round(picture.points, 3).tolist()


def _write_last(path: Path, content: bytes) -> None:
    """Writes a file that says that those before it are complete: all of it, or nothing."""
    draft = path.with_name(f"{path.name}.part")
    draft.write_bytes(content)
    draft.replace(path)


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
    with tqdm(total=sum(len(task.items) for task in tasks), unit="file", smoothing=0.05) as bar:
        for done in _run_all(output, settings, tasks, workers):
            bar.update(done)
    return description


def _describe(settings: Settings) -> dict:
    people = {
        name: {"role": role, **asdict(settings.person(name))}
        for role, names in settings.names().items()
        for name in names
    }
    clips: dict[str, int] = {}
    for task in plan(settings):
        if task.make == "make_clip":
            split = task.items[0][0]
            clips[split] = clips.get(split, 0) + len(task.items)
    return json.loads(json.dumps({"settings": asdict(settings), "clips": clips, "people": people}))


def _claim(output: Path, description: dict) -> None:
    path = output / "corpus.json"
    if path.exists():
        if json.loads(path.read_text()) != description:
            raise CorpusError(
                f"{output} holds a corpus of other settings; give another --output, or the same settings"
            )
        return
    output.mkdir(parents=True, exist_ok=True)
    _write_last(path, json.dumps(description, indent=1).encode())


def _run_all(output: Path, settings: Settings, tasks: list[Task], workers: int) -> Iterator[int]:
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=_start_worker) as pool:
        futures = [pool.submit(run_task, output, settings, task) for task in tasks]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise CorpusError(
                "a worker was killed (out of memory?); try again with fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the parent, which lets tasks in flight finish
    cv2.setNumThreads(1)


def main(argv: Sequence[str] | None = None) -> int:
    args = _parse(argv)
    settings = Settings(
        **{name: value for name, value in vars(args).items() if name not in ("output", "workers")}
    )
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
    parser.add_argument(
        "--workers", type=_whole(1), default=os.cpu_count(), help="processes (default: one per core)"
    )
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

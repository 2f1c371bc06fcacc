"""What the synthetic corpus consists of, file by file.

    lipread_mp4/WORD/{train,val,test}/WORD_00001.{mp4,txt,json}    clips
    faces/NAME/000.{jpg,json}      identity images of the training people and of further ones
    photos/NAME.{png,json}         portraits of people of the test split
    speech/NAME.{wav,txt}          sentences in their voices, made of the vocabulary only
    driving/NAME.{mp4,txt}         the same, said to a camera
    corpus.json                    the settings, the people and their voices, the counts

A file is made by one person's task, from randomness of its own, and the last file of each set (the facts, the
text) is written last: where it is, the set is complete.
"""

import hashlib
import json
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from data_prep.synthetic.drawing import Picture
from data_prep.synthetic.people import Person, random_person
from data_prep.synthetic.performance import Speech, perform, photograph, portrait, speak_sentence, speak_word
from davs_jax.constants import SAMPLE_RATE
from davs_jax.media.video.write import Writer

WORDS = (
    "ABOUT", "AFTERNOON", "BECAUSE", "FAMILY", "GROUP", "MOMENT", "PEOPLE", "SEVEN", "WELCOME", "YESTERDAY",
)  # fmt: skip
SPLITS = ("train", "val", "test")
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
        return {role: [f"{letters[role]}{index:03d}" for index in range(count)] for role, count in counts.items()}

    def person(self, name: str) -> Person:
        return random_person(self.random("person", name), unseen=name[0] in "vt")

    def random(self, *of_what) -> np.random.Generator:
        """Randomness that depends on the seed and on what it is for, not on who comes first."""
        digest = hashlib.sha256("/".join(map(str, (self.seed, *of_what))).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@dataclass(frozen=True)
class Task:
    """Files of one person: `make` is one of the functions below, `items` its last arguments, file by file."""

    make: Callable
    name: str
    items: tuple[tuple, ...]


def plan(settings: Settings) -> list[Task]:
    """Lists everything that the corpus consists of."""
    names, tasks = settings.names(), []
    for split in SPLITS:
        each = settings.clips_per_word if split == "train" else max(1, settings.clips_per_word // 2)
        for place, name in enumerate(names[split]):
            items = [(split, w, place * each + n + 1) for w in settings.words for n in range(each)]
            tasks += _tasks(make_clip, name, items)
    for name in names["train"] + names["further"]:
        tasks += _tasks(make_image, name, [(index,) for index in range(settings.images)])
    for make, count in ((make_portrait, PORTRAITS), (make_sentence, SENTENCES), (make_driving, DRIVINGS)):
        tasks += [Task(make, name, ((),)) for name in names["test"][:count]]
    return tasks


def _tasks(make: Callable, name: str, items: list[tuple]) -> list[Task]:
    return [Task(make, name, tuple(items[at : at + TASK_SIZE])) for at in range(0, len(items), TASK_SIZE)]


def run_task(output: Path, settings: Settings, task: Task) -> int:
    """Makes the files of a task that are not there yet; returns how many it looked after."""
    person = settings.person(task.name)
    for item in task.items:
        task.make(output, settings, task.name, person, *item)
    return len(task.items)


def make_clip(output: Path, settings: Settings, name: str, person: Person, split: str, word: str, number: int) -> None:
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
    write_last(path.with_suffix(".json"), json.dumps(facts).encode())


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
    write_last(path.with_suffix(".txt"), f"{text}\n".encode())


def make_driving(output: Path, settings: Settings, name: str, person: Person) -> None:
    """A film of somebody saying a sentence."""
    path = output / "driving" / f"{name}.mp4"
    if path.with_suffix(".txt").exists():
        return
    rng = settings.random("driving", name)
    text = _sentence(settings, rng)
    _film(path, person, speak_sentence(person, text, rng), settings.size, rng)
    write_last(path.with_suffix(".txt"), f"{text}\n".encode())


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
    write_last(path.with_suffix(".json"), json.dumps(facts).encode())


def _points(picture: Picture) -> list:
    return np.round(picture.points, 3).tolist()


def write_last(path: Path, content: bytes) -> None:
    """Writes a file that says that those before it are complete: all of it, or nothing."""
    draft = path.with_name(f"{path.name}.part")
    draft.write_bytes(content)
    draft.replace(path)

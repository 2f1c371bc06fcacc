"""The files of the synthetic corpus.

    lipread_mp4/WORD/{train,val,test}/WORD_00001.{mp4,txt,json}    clips
    faces/NAME/000.{jpg,json}      identity images of the training people and of further ones
    photos/NAME.{png,json}         portraits of people of the test split
    speech/NAME.{wav,txt}          sentences in their voices, made of the vocabulary only
    driving/NAME.{mp4,txt}         videos of people who say such sentences
    corpus.json                    the settings, the people and their voices, the counts

Each file has a random generator of its own. Of the files of one set, the labels (`.json`) or the text (`.txt`) are
written last: if they exist, the set is complete.
"""

import hashlib
import json
import wave
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from data_prep.synthetic.people import Person, random_person
from data_prep.synthetic.performance import Speech, perform, photograph, portrait, speak_sentence, speak_word
from data_prep.synthetic.rendering import LabelledImage
from davs_jax.constants import SAMPLE_RATE
from davs_jax.files import replacing, write_text
from davs_jax.media.video.write import Writer

WORDS = (
    "ABOUT", "AFTERNOON", "BECAUSE", "FAMILY", "GROUP", "MOMENT", "PEOPLE", "SEVEN", "WELCOME", "YESTERDAY",
)  # fmt: skip
SPLITS = ("train", "val", "test")
PORTRAITS, SENTENCES, DRIVINGS = 4, 3, 2  # test people with a portrait, with a sentence, with a driving video
PORTRAIT_SIZE = 512
TASK_SIZE = 10  # files per task; the person's appearance is painted once for all of them
# In every video; a change would change its bytes.
GENERATED = "synthetic: a drawn face and an artificial voice"
ANIMATED = "synthetic: a photo whose mouth was moved, and an artificial voice"


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
    photos: tuple[str, ...] = ()  # files; the people's faces, in their order, instead of drawn ones

    def names(self) -> dict[str, list[str]]:
        """People's names by role, which is their first letter."""
        counts = {
            "train": self.people,
            "val": self.val_people,
            "test": self.test_people,
            "further": self.further_people,
        }
        letters = {"train": "p", "val": "v", "test": "t", "further": "f"}
        return {role: [f"{letters[role]}{index:03d}" for index in range(count)] for role, count in counts.items()}

    def person(self, name: str) -> Person:
        person = random_person(self.random("person", name), unseen=name[0] in "vt")
        if not self.photos:
            return person
        order = [each for names in self.names().values() for each in names]
        return replace(person, photo=self.photos[order.index(name)])

    def random(self, *purpose) -> np.random.Generator:
        """A generator that depends only on the seed and its purpose, not on the order of the files."""
        digest = hashlib.sha256("/".join(map(str, (self.seed, *purpose))).encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@dataclass(frozen=True)
class Task:
    """Files of one person: `make` is one of the functions below, `items` its last arguments, file by file."""

    make: Callable
    name: str
    items: tuple[tuple, ...]


def plan(settings: Settings) -> list[Task]:
    """Lists all files of the corpus, as tasks."""
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


def run_task(output: Path, settings: Settings, task: Task, on_item: Callable[[], object] = lambda: None) -> None:
    """Makes the missing files of a task; `on_item` is called after each."""
    person = settings.person(task.name)
    for item in task.items:
        task.make(output, settings, task.name, person, *item)
        on_item()


def make_clip(output: Path, settings: Settings, name: str, person: Person, split: str, word: str, number: int) -> None:
    """A clip of one word, with the labels that real recordings lack."""
    path = output / "lipread_mp4" / word / split / f"{word}_{number:05d}.mp4"
    if path.with_suffix(".json").exists():
        return
    rng = settings.random("clip", split, word, number)
    speech = speak_word(person, word, rng.random() < settings.context, rng)
    images = _write_video(path, person, speech, settings.size, rng)
    path.with_suffix(".txt").write_text(
        f"Disk reference: {name}\nChannel: synthetic\nProgram start: 1970-01-01 00:00:00 +0000\n"
        f"Clip start: 0.00 seconds\nDuration: {speech.duration:.2f} seconds\n"
    )
    labels = {
        "speaker": name,
        "points": [_points(image) for image in images],
        "mouth_opening": [round(image.opening, 4) for image in images],
    }
    write_text(path.with_suffix(".json"), json.dumps(labels))


def make_image(output: Path, settings: Settings, name: str, person: Person, index: int) -> None:
    """An image for the identity set."""
    path = output / "faces" / name / f"{index:03d}.jpg"
    if not path.with_suffix(".json").exists():
        _write_image(path, photograph(person, settings.size, settings.random("image", name, index)))


def make_portrait(output: Path, settings: Settings, name: str, person: Person) -> None:
    """A portrait to generate videos from."""
    path = output / "photos" / f"{name}.png"
    if not path.with_suffix(".json").exists():
        _write_image(path, portrait(person, PORTRAIT_SIZE))


def make_sentence(output: Path, settings: Settings, name: str, person: Person) -> None:
    """Speech to drive a portrait with."""
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
    write_text(path.with_suffix(".txt"), f"{text}\n")


def make_driving(output: Path, settings: Settings, name: str, person: Person) -> None:
    """A video to drive a portrait with."""
    path = output / "driving" / f"{name}.mp4"
    if path.with_suffix(".txt").exists():
        return
    rng = settings.random("driving", name)
    text = _sentence(settings, rng)
    _write_video(path, person, speak_sentence(person, text, rng), settings.size, rng)
    write_text(path.with_suffix(".txt"), f"{text}\n")


def _sentence(settings: Settings, rng: np.random.Generator) -> str:
    count = min(len(settings.words), int(rng.integers(5, 8)))
    return " ".join(word.lower() for word in rng.choice(settings.words, count, replace=False))


def _write_video(
    path: Path, person: Person, speech: Speech, size: int, rng: np.random.Generator
) -> list[LabelledImage]:
    images, tags = [], {"comment": ANIMATED if person.photo else GENERATED}
    with (
        replacing(path) as draft,
        Writer(draft, samples=speech.samples, metadata=tags, preset="ultrafast", threads=1) as writer,
    ):
        for labelled in perform(person, speech, size, rng):
            writer.write(labelled.image)
            images.append(labelled)
    return images


def _write_image(path: Path, labelled: LabelledImage) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, labelled.image[..., ::-1])[1].tobytes())  # JPEGs at quality 95
    labels = {"points": _points(labelled), "mouth_opening": round(labelled.opening, 4)}
    write_text(path.with_suffix(".json"), json.dumps(labels))


def _points(labelled: LabelledImage) -> list:
    return np.round(labelled.points, 3).tolist()

"""One performance of the synthetic corpus: a person says something, and the ground truth is known."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from data_prep.synthetic.motion import FIELDS, REST, TARGETS, mouth_shapes, poses
from data_prep.synthetic.people import Person
from data_prep.synthetic.photo_face import PhotoFace
from data_prep.synthetic.rendering import Face, LabelledImage, Light, Pose
from data_prep.synthetic.speech import Phoneme, Voice, say
from davs_jax.constants import CLIP_FRAMES, FPS, SAMPLE_RATE, SAMPLES_PER_FRAME

# Words before and after the target word, where it is cut from continuous speech.
BEFORE = (
    "now", "then", "many", "some", "other", "good", "they", "we know", "he said", "today", "all her", "so",
)  # fmt: skip
AFTER = ("now", "then", "today", "came", "here", "said no", "there", "know", "works", "did", "looks", "again")
ROOM = 0.3  # s before and after a sentence

PORTRAIT_LIGHT = Light((-0.35, -0.5, 1.0), 0.6, (1.0, 1.0, 1.0))


@dataclass(frozen=True)
class Speech:
    """Speech in sync with the frames."""

    samples: np.ndarray  # float32 [T · 640], 16 kHz
    phonemes: list[Phoneme]
    duration: float  # s, of the word or sentence without neighbours and silence


def speak_word(person: Person, word: str, context: bool, rng: np.random.Generator) -> Speech:
    """A word in the middle of the 1.16 s of an LRW clip.

    Args:
      context: whether other words precede and follow it, else silence.
      rng: chooses these words, loudness, tempo, pitch and noise.

    Raises:
      SpeechError: as `say`.
    """
    voice = _varied(person.voice, rng)
    before, after = (rng.choice(BEFORE), rng.choice(AFTER)) if context else ("", "")
    samples, phonemes = say(f"{before} {word.lower()} {after}".strip(), voice)
    spoken = [phoneme for phoneme in phonemes if phoneme.word == len(before.split())]
    if not spoken:  # some accents merge two words into one
        samples, phonemes = say(word.lower(), voice)
        spoken = phonemes
    start, end = spoken[0].start, spoken[-1].end
    length = CLIP_FRAMES * SAMPLES_PER_FRAME
    lead = length / SAMPLE_RATE / 2 - (start + end) / 2
    return Speech(_recorded(samples, lead, length, rng), _shifted(phonemes, lead), end - start)


def speak_sentence(person: Person, text: str, rng: np.random.Generator) -> Speech:
    """A whole sentence, with a short silence before and after.

    Raises:
      SpeechError: as `say`.
    """
    samples, phonemes = say(text.lower(), _varied(person.voice, rng))
    duration = phonemes[-1].end - phonemes[0].start
    length = round((len(samples) / SAMPLE_RATE + 2 * ROOM) * FPS) * SAMPLES_PER_FRAME
    return Speech(_recorded(samples, ROOM, length, rng), _shifted(phonemes, ROOM), duration)


def perform(person: Person, speech: Speech, size: int, rng: np.random.Generator) -> Iterator[LabelledImage]:
    """Yields the frames of a person who speaks, 25 per second; each shows the middle of its 40 ms."""
    times = (np.arange(len(speech.samples) // SAMPLES_PER_FRAME) + 0.5) / FPS
    face = _face(person, size, _random_light(rng))
    for shape, pose in zip(mouth_shapes(speech.phonemes, times), poses(rng, times), strict=True):
        yield face.render(_articulated(person, shape), pose)


def photograph(person: Person, size: int, rng: np.random.Generator) -> LabelledImage:
    """An image of a person in random light and pose, with a mouth shape between two of those of speech."""
    targets = np.array([REST, REST, *TARGETS.values()])
    shape = rng.dirichlet((1, 1)) @ targets[rng.integers(len(targets), size=2)]
    pose = Pose(
        x=rng.normal(0, 0.12),
        y=rng.normal(0, 0.1),
        scale=rng.uniform(0.86, 1.12),
        roll=rng.normal(0, 5),
        blink=float(rng.random() < 0.06),
        brows=rng.uniform(-1, 1),
    )
    return _face(person, size, _random_light(rng)).render(_articulated(person, shape), pose)


def portrait(person: Person, size: int) -> LabelledImage:
    """A person at rest, upright, in soft light."""
    return _face(person, size, PORTRAIT_LIGHT).render(np.array(REST), Pose())


def _face(person: Person, size: int, light: Light) -> Face | PhotoFace:
    return (PhotoFace if person.photo else Face)(person, size, light)


def _varied(voice: Voice, rng: np.random.Generator) -> Voice:
    """The voice with random changes of rate, pitch and range, as between two recordings."""
    return replace(
        voice,
        rate=round(voice.rate * rng.uniform(0.92, 1.1)),
        pitch=int(np.clip(voice.pitch + rng.integers(-5, 6), 0, 99)),
        range=int(np.clip(voice.range + rng.integers(-10, 11), 0, 99)),
    )


def _recorded(speech: np.ndarray, lead: float, length: int, rng: np.random.Generator) -> np.ndarray:
    """Places speech `lead` seconds after the start of `length` samples, with random loudness and noise."""
    first = round(lead * SAMPLE_RATE)
    cut = max(0, -first)
    speech = speech[cut : cut + length - (first + cut)]
    samples = np.pad(speech, (first + cut, length - (first + cut) - len(speech)))
    samples *= rng.uniform(0.25, 0.8) / max(np.abs(samples).max(), 1e-3)
    level = np.std(samples) * 10 ** (-rng.uniform(28, 45) / 20)
    return np.clip(samples + rng.normal(0, level, length), -1, 1).astype(np.float32)


def _shifted(phonemes: list[Phoneme], lead: float) -> list[Phoneme]:
    return [replace(phoneme, start=phoneme.start + lead, end=phoneme.end + lead) for phoneme in phonemes]


def _articulated(person: Person, shape: np.ndarray) -> np.ndarray:
    """A mouth shape scaled for this person."""
    own = np.array(shape, np.float64)
    own[FIELDS.index("opening")] *= person.energy
    own[FIELDS.index("width")] *= person.spread
    return own


def _random_light(rng: np.random.Generator) -> Light:
    direction = rng.uniform(-0.7, 0.7), rng.uniform(-0.8, -0.1), 1.0
    gains = rng.uniform(0.86, 1.06) * (1 + np.array([1, 0, -1]) * rng.normal(0, 0.022))
    return Light(direction, rng.uniform(0.35, 0.85), tuple(gains))

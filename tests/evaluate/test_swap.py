import numpy as np
import pytest

from davs_jax.data.sources import ClipSource
from davs_jax.errors import NotMeasurable
from davs_jax.evaluate import swap
from davs_jax.evaluate.recognition import Vectors
from davs_jax.evaluate.swap import swap_test
from davs_jax.face_geometry import mouth_box
from support.tiny_data import IMAGE_SIZE, WORDS, face, jpeg

PEOPLE, TIMES = 4, 4
TALES = [np.sin(np.arange(29) * (word + 1) / 3) / 2 + 0.5 for word in range(len(WORDS))]


@pytest.fixture(scope="module")
def source() -> ClipSource:
    """Every person says every word four times, each word with a motion of its own."""
    rng, clips = np.random.default_rng(0), []
    for i in range(PEOPLE * len(WORDS) * TIMES):
        person, word = i % PEOPLE, i // PEOPLE % len(WORDS)
        frames = [jpeg(face(rng, person, opening)) for opening in TALES[word]]
        clips.append(
            {"clip_id": str(i), "frames": frames, "mfcc": np.zeros((132, 12)), "word": word, "speaker": person}
        )
    return ClipSource("clips", "test", clips, WORDS, tuple("abcd"), IMAGE_SIZE)


def vectors_of(source: ClipSource) -> Vectors:
    """wid is the word alone, at every word frame."""
    words, people = (np.array([clip[key] for clip in source.data]) for key in ("word", "speaker"))
    wid = np.eye(len(WORDS))[words][:, None].repeat(12, 1)
    return Vectors(np.arange(len(words)), words, people, np.zeros((len(words), 29)), audio=wid, video=wid)


class Puppeteer:
    """Paints the word's motion into the photo's mouth: a perfect separation."""

    class config:
        class model:
            word_frames = 12

    word_frames = np.arange(2, 25, 2)

    def encode_person(self, photo):
        return photo

    def driving(self, encoder, wid):
        return wid

    def decode(self, photo, wid):
        rows, columns = mouth_box(len(photo))
        frames = np.repeat(photo[None], len(wid), 0)
        told = [TALES[vector.argmax()][2 + 2 * (i % self.config.model.word_frames)] for i, vector in enumerate(wid)]
        painted = np.stack([face(np.random.default_rng(0), 0, moment) for moment in told])
        frames[:, rows, columns] = painted[:, :-1, :-1][:, rows, columns]
        return frames


class Copyist(Puppeteer):
    """Returns the photo: the person stays, no word is said."""

    def decode(self, photo, wid):
        return np.repeat(photo[None], len(wid), 0)


def test_a_perfect_separation_keeps_the_person_and_takes_the_word(source):
    figures = swap_test(Puppeteer(), source, vectors_of(source), seed=0)
    assert figures.clips == 32
    assert figures.pairs == swap.PAIRS
    assert figures.word_video.real > 0.9
    for name, chance in (("person", 1 / PEOPLE), ("word_video", 1 / 4), ("word_audio", 1 / 4)):
        assert getattr(figures, name).accuracy > 0.8
        assert getattr(figures, name).other < 0.2
        assert getattr(figures, name).chance == chance


def test_a_copied_photo_keeps_the_person_and_says_nothing(source):
    figures = swap_test(Copyist(), source, vectors_of(source), seed=0)
    assert figures.person.accuracy > 0.9
    assert figures.word_video.accuracy < 0.5


def test_what_is_not_known_cannot_be_swapped(source):
    vectors = vectors_of(source)
    vectors.speaker[0] = -1
    with pytest.raises(NotMeasurable, match="not known"):
        swap_test(Copyist(), source, vectors, seed=0)
    vectors.speaker[:] = 0
    with pytest.raises(NotMeasurable, match="two persons who say two words"):
        swap_test(Copyist(), source, vectors, seed=0)


def test_classifiers_that_would_see_one_person_only_are_not_fitted(source):
    vectors = vectors_of(source)
    fitted, unseen = np.array_split(np.random.default_rng(0).permutation(len(source)), 2)
    vectors.speaker[fitted], vectors.speaker[unseen] = 0, np.arange(len(unseen)) % 2
    with pytest.raises(NotMeasurable, match="one person or one word only"):
        swap_test(Copyist(), source, vectors, seed=0)

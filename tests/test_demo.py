"""The demo model of the package works on a synthetic person with synthetic speech, both made for the test."""

import numpy as np
import pytest

from data_prep.synthetic.corpus import WORDS, Settings
from data_prep.synthetic.performance import perform, speak_word
from data_prep.synthetic.speech import SpeechError, Voice, say
from davs_jax import inference
from davs_jax.constants import CLIP_FRAMES
from davs_jax.face_geometry import mouth_box
from davs_jax.media.faces.alignment import aligned_crop


@pytest.fixture(scope="module")
def model():
    return inference.load()


@pytest.fixture(scope="module")
def clips(model):
    """A person of another seed than the training's says every word: frames [10, 29, S, S, 3], windows, openings."""
    try:
        say("hello", Voice("en"))
    except SpeechError as error:
        pytest.skip(str(error))
    settings = Settings(seed=7)
    person, clips = settings.person("t000"), []
    for word in WORDS:
        rng = settings.random("demo", word)
        speech = speak_word(person, word, False, rng)
        images = list(perform(person, speech, 256, rng))
        frames = np.stack([aligned_crop(p.image, p.points, model.image_size) for p in images])
        heard = model.file_audio(speech.samples, CLIP_FRAMES)
        clips.append((frames, heard, np.array([p.opening for p in images])))
    return tuple(np.stack(part) for part in zip(*clips, strict=True))


@pytest.mark.parametrize("modality", ["audio", "video"])
def test_it_reads_most_words_of_an_unseen_person(model, clips, modality):
    frames, heard, _ = (part[:, model.word_frames] for part in clips)
    wid = model.wid_from_audio(heard) if modality == "audio" else model.wid_from_video(frames)
    read = model.word_logits(wid).argmax(1)
    assert np.sum(read == [model.config.words.index(word) for word in WORDS]) >= 7


def test_its_mouth_moves_when_the_voice_does(model, clips):
    frames, heard, opening = clips
    rows, columns = mouth_box(model.image_size)
    changes, wanted = [], []
    for i in range(3):
        wid = model.driving("audio_encoder", model.wid_from_audio(heard[i]))
        talking = model.decode(model.encode_person(frames[i, 0]), wid).astype(float)
        # How much the mouth differs from the photo, beside how much its true opening does.
        changes.append(np.abs(talking - frames[i, 0])[:, rows, columns].mean((1, 2, 3)))
        wanted.append(np.abs(opening[i] - opening[i, 0]))
    assert np.corrcoef(np.concatenate(changes), np.concatenate(wanted))[0, 1] > 0.4

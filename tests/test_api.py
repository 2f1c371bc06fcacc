import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

import davs_jax
from davs_jax.api import Model
from davs_jax.errors import MediaError
from davs_jax.generate.drivers import Live, Speech, read_speech
from davs_jax.generate.follow import GenerationError
from davs_jax.media import video
from support import talking_files
from support.tiny_model import random_model

EXAMPLES = re.findall(r"```python\n(.*?)```", Path(__file__).parents[1].joinpath("docs/python.md").read_text(), re.S)


@pytest.fixture
def model(joint_config) -> Model:
    return Model(random_model(joint_config, batch=4))


def blocks(samples: np.ndarray, size: int):
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def test_importing_the_package_loads_nothing_heavy():
    code = "import davs_jax, sys; assert callable(davs_jax.load); assert not {'jax', 'numpy', 'av'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def example_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    Image.fromarray(talking_files.portrait()).save(folder / "me.jpg")
    wavfile.write(folder / "speech.wav", 16_000, talking_files.sound(0.4))
    with video.Writer(folder / "talk.mp4", samples=talking_files.sound(1.4)) as writer:
        for i in range(35):
            writer.write(np.roll(talking_files.portrait(), i // 4, 1))
    return folder


@pytest.mark.parametrize("example", EXAMPLES, ids=["talk", "live", "read_lips", "match"])
def test_the_examples_of_the_documentation_run(example, example_files, monkeypatch, capsys):
    monkeypatch.chdir(example_files)
    exec(compile(example, "docs/python.md", "exec"), {})
    assert capsys.readouterr().out


@pytest.mark.parametrize("size", [160, 333, 4_000])
def test_word_vectors_of_streamed_sound_are_to_the_bit_those_of_the_file(model, folder, size):
    recording = read_speech(folder / "speech.wav")
    whole = np.concatenate(list(recording.wid(model.davs)))
    live = Live(blocks(video.read_audio(folder / "speech.wav"), size))
    np.testing.assert_array_equal(np.concatenate(list(live.wid(model.davs))), whole)
    assert len(whole) == recording.frames == 26


def test_live_frames_come_as_soon_as_their_sound_is_there_and_are_those_of_the_array(model, folder):
    samples, heard = talking_files.sound(0.5), []

    def microphone():
        for block in blocks(samples, 160):
            heard.append(len(block))
            yield block

    frames, late = [], []
    for frame in model.talk(talking_files.portrait(), microphone(), crop=True):
        late.append(sum(heard) - 640 * len(frames))
        frames.append(frame)
    assert max(late[:9]) <= 2_160 + 160 and len(frames) == 13
    whole = list(model.talk(folder / "photo.png", samples, crop=True))
    assert np.abs(np.stack(frames).astype(int) - np.stack(whole)).max() <= 1


def test_sound_at_another_rate_is_resampled_as_it_comes(model):
    sound = talking_files.sound(0.5, 44_100)
    wids = []
    for audio in (sound, (sound * 32_767).astype(np.int16), blocks(sound, 441)):
        frames = list(model.talk(talking_files.portrait(), audio, sample_rate=44_100, crop=True))
        assert len(frames) == 13
        wids.append(np.stack(frames).astype(int))
    assert np.abs(wids[0] - wids[2]).max() <= 1 and np.abs(wids[0] - wids[1]).max() <= 8


def test_the_whole_picture_is_given_unless_the_crop_is_wanted(model, folder):
    picture = talking_files.portrait()
    (whole,) = model.talk(picture, np.zeros(640, np.float32), points=talking_files.POINTS)
    (crop,) = model.talk(picture, np.zeros(640, np.float32), points=talking_files.POINTS, crop=True)
    assert whole.shape == (300, 300, 3) and crop.shape == (64, 64, 3)
    assert (whole[-3:] == picture[-3:]).all() and (whole != picture).any()


def test_mistakes_are_told_at_once(model, folder):
    with pytest.raises(GenerationError, match="one of audio and video"):
        model.talk("me.jpg")
    with pytest.raises(MediaError, match="no such file"):
        model.talk(folder / "photo.png", "none.wav")
    with pytest.raises(GenerationError, match=r"driver\.mp4: has 17 frames at 25 fps; reading takes 29"):
        model.read_lips(folder / "driver.mp4")


def test_a_sound_matches_the_video_that_it_was_moved_against_by_that_much(model, folder, monkeypatch):
    """With word vectors that say what they hear and see, the offset comes out as it was put in."""
    read = davs_jax.api.read_performance(folder / "driver.mp4")
    vectors = np.random.default_rng(0).normal(size=(17, 256)).astype(np.float32)
    monkeypatch.setattr(davs_jax.api, "read_performance", lambda path: read)
    monkeypatch.setattr(model.davs, "wid_from_audio", lambda windows: np.roll(vectors, 2, 0))
    monkeypatch.setattr(model.davs, "wid_from_video", lambda crops: vectors[: len(crops)])
    found = model.match(folder / "driver.mp4")
    assert found.offset == 2 and found.distance < 0.01 and found.confidence > 1


def test_a_speech_of_no_samples_gives_no_frame(model):
    assert list(Speech(np.zeros(0, np.float32)).wid(model.davs)) == []

import itertools
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

import davs_jax
from davs_jax.api import Model
from davs_jax.errors import CheckpointError, MediaError
from davs_jax.generate.drivers import Live, Speech
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.read import read_speech
from davs_jax.media import video
from support import talking_files
from support.audio_files import write_tracks
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
def test_mfcc_windows_of_live_audio_are_bit_identical_to_those_of_the_file(model, folder, size):
    recording = read_speech(folder / "speech.wav")
    whole = np.concatenate(list(recording.inputs(model.davs)))
    live = Live(blocks(video.read_audio(folder / "speech.wav"), size))
    np.testing.assert_array_equal(np.concatenate(list(live.inputs(model.davs))), whole)
    assert len(whole) == recording.frames == 26


@pytest.mark.parametrize("size", [160, 4_000])
def test_with_batch_1_live_audio_gives_bit_identical_word_vectors_and_frames(joint_config, folder, size):
    """Every frame is a call of its own, so the same program gets the same input."""
    model = Model(random_model(joint_config, batch=1))
    samples = video.read_audio(folder / "speech.wav")[:8_000]
    (whole, whole_frames), (live, live_frames) = (
        (
            np.concatenate(list(driver.wid(model.davs))),
            np.stack(list(model.talk(talking_files.portrait(), audio, points=talking_files.POINTS, crop=True))),
        )
        for driver, audio in (
            (Speech(samples), samples),
            (Live(blocks(samples, size)), blocks(samples, size)),
        )
    )
    np.testing.assert_array_equal(live, whole)
    np.testing.assert_array_equal(live_frames, whole_frames)


def test_with_larger_batches_word_vectors_of_live_audio_agree_to_float32_rounding(model, folder):
    """Compilers may round the last bit of a row by its place in the batch, which blocks change."""
    samples = video.read_audio(folder / "speech.wav")
    live, whole = (np.concatenate(list(d.wid(model.davs))) for d in (Live(blocks(samples, 333)), Speech(samples)))
    np.testing.assert_allclose(live, whole, rtol=1e-5, atol=1e-5 * np.abs(whole).max())


def test_live_frames_come_as_soon_as_their_audio_is_there_and_are_those_of_the_array(model, folder):
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
    # One gray level, as each frame has another place in its batch.
    assert np.abs(np.stack(frames).astype(int) - np.stack(whole)).max() <= 1


def test_audio_at_another_rate_is_resampled_as_it_comes(model):
    sound = talking_files.sound(0.5, 44_100)
    wids = []
    for audio in (sound, (sound * 32_767).astype(np.int16), blocks(sound, 441)):
        frames = list(model.talk(talking_files.portrait(), audio, sample_rate=44_100, crop=True))
        assert len(frames) == 13
        wids.append(np.stack(frames).astype(int))
    assert np.abs(wids[0] - wids[2]).max() <= 1 and np.abs(wids[0] - wids[1]).max() <= 8


def test_the_whole_image_is_yielded_unless_the_crop_is_wanted(model, folder):
    photo = talking_files.portrait()
    (whole,) = model.talk(photo, np.zeros(640, np.float32), points=talking_files.POINTS)
    (crop,) = model.talk(photo, np.zeros(640, np.float32), points=talking_files.POINTS, crop=True)
    assert whole.shape == (300, 300, 3) and crop.shape == (64, 64, 3)
    assert (whole[-3:] == photo[-3:]).all() and (whole != photo).any()


def test_lips_are_read_in_the_words_that_the_weights_were_saved_with(model, example_files):
    count = model.davs.config.model.num_words
    assert {guess.word for guess in model.read_lips(example_files / "talk.mp4")} == set(range(count))
    model.davs.config.words = names = tuple(f"WORD{i}" for i in range(count))
    assert {guess.word for guess in model.read_lips(example_files / "talk.mp4")} == set(names)
    with pytest.raises(GenerationError, match=f"1 words, but the weights tell {count} apart; give a name for each"):
        model.read_lips(example_files / "talk.mp4", words=["yes"])


def test_invalid_arguments_are_refused_at_the_call(model, folder):
    with pytest.raises(GenerationError, match="one of audio and video"):
        model.talk("me.jpg")
    with pytest.raises(MediaError, match="no such file"):
        model.talk(folder / "photo.png", "none.wav")
    with pytest.raises(GenerationError, match=r"driver\.mp4: has 17 frames at 25 fps, fewer than 29"):
        model.read_lips(folder / "driver.mp4")
    with pytest.raises(CheckpointError, match="nowhere holds no weights"):
        davs_jax.load(folder / "nowhere")


def test_remedies_name_arguments_not_flags(model, folder):
    with pytest.raises(GenerationError, match=r"silent\.mp4: no face .*speech as audio=$"):
        model.talk(folder / "photo.png", video=folder / "silent.mp4")
    with pytest.raises(GenerationError, match=r"5 frames per second: must be from 10 to 60; change fps=;"):
        model.talk(folder / "photo.png", folder / "speech.wav", fps=5)


def test_remedies_of_errors_while_frames_are_generated_name_arguments_too(model, monkeypatch):
    def broken(*_):
        yield np.zeros((64, 64, 3), np.uint8)
        raise GenerationError("the audio ended", "use --flag", python="use argument=")

    monkeypatch.setattr(davs_jax.api, "generate", broken)
    frames = model.talk(talking_files.portrait(), np.zeros(640, np.float32), points=talking_files.POINTS, crop=True)
    next(frames)
    with pytest.raises(GenerationError, match=r"the audio ended; use argument=$"):
        next(frames)


def test_audio_that_was_moved_against_its_video_matches_at_that_offset(model, folder, monkeypatch):
    """With word vectors that identify their frames, the measured offset is the true one."""
    read = davs_jax.api.read_driving_video(folder / "driver.mp4")
    vectors = np.random.default_rng(0).normal(size=(17, 256)).astype(np.float32)
    monkeypatch.setattr(davs_jax.api, "read_driving_video", lambda path, or_speech: read)
    monkeypatch.setattr(model.davs, "raw_wid_from_audio", lambda windows: np.roll(vectors, 2, 0))
    monkeypatch.setattr(model.davs, "raw_wid_from_video", lambda crops: vectors[: len(crops)])
    found = model.match(folder / "driver.mp4")
    assert found.offset == 2 and found.distance < 0.01 and found.confidence > 1


@pytest.fixture
def second_track_heard(folder, tmp_path) -> Path:
    """The driver's video with two audio tracks, the first of them silent."""
    speech = talking_files.sound(0.68)
    tracks = write_tracks(tmp_path / "tracks.mka", [0 * speech, speech], "aac", 16_000, "mono")
    with (
        av.open(str(folder / "driver.mp4")) as images,
        av.open(str(tracks)) as audio,
        av.open(str(tmp_path / "two.mkv"), "w") as written,
    ):
        streams = [*images.streams.video, *audio.streams.audio]
        copies = {stream: written.add_stream_from_template(stream) for stream in streams}
        for packet in itertools.chain(images.demux(streams[0]), audio.demux(*streams[1:])):
            if packet.dts is not None:
                packet.stream = copies[packet.stream]
                written.mux(packet)
    return tmp_path / "two.mkv"


def test_the_choice_of_audio_is_logged(model, second_track_heard, folder, caplog):
    path, photo = second_track_heard, talking_files.portrait()
    said = f"{path}: audio track 2 is used, because what comes before it is silent"
    options = {"points": talking_files.POINTS, "crop": True}
    for call in (
        lambda: model.match(path),
        lambda: model.match(folder / "driver.mp4", path),
        lambda: model.talk(photo, path, **options),
        lambda: model.talk(photo, video=path, **options),
    ):
        caplog.clear()
        call()
        assert caplog.messages == [said]
    caplog.clear()
    model.match(path, audio_track=2)
    assert not caplog.messages


def test_a_speech_of_no_samples_gives_no_frame(model, monkeypatch):
    silence = Speech(np.zeros(0, np.float32))
    assert list(silence.wid(model.davs)) == []
    monkeypatch.setattr(model.davs, "wid_norm", "mean")
    assert list(silence.wid(model.davs)) == []

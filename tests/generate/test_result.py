"""Results: every output format, as long as its audio, under any name, and playable even when interrupted."""

import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from davs_jax.errors import MediaError
from davs_jax.generate import result
from davs_jax.generate.__main__ import main
from davs_jax.generate.drivers import DrivingVideo, Speech
from davs_jax.generate.read import read_speech
from davs_jax.generate.result import write_result
from davs_jax.inference import Davs
from davs_jax.media import video
from davs_jax.media.images import read_image
from davs_jax.media.photo import photo_of
from support import talking_files
from support.tiny_model import random_model


@pytest.fixture
def model(joint_config) -> Davs:
    return random_model(joint_config, batch=4)


@pytest.fixture
def photo(folder, model):
    return photo_of(read_image(folder / "photo.png"), model.image_size, np.array(talking_files.POINTS, float))


def ends(path) -> list[float]:
    """Seconds at which video and audio end."""
    with av.open(f"file:{path}") as container:
        return [float(stream.duration * stream.time_base) for stream in container.streams]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("seconds", [0.61, 1.0])
def test_video_and_audio_end_within_a_frame_at_every_sample_rate(model, photo, tmp_path, rate, seconds):
    wavfile.write(tmp_path / "a.wav", rate, talking_files.sound(seconds, rate))
    driver = read_speech(tmp_path / "a.wav")
    write_result(model, photo, driver, tmp_path / "a.mp4", crop=True)
    video_end, audio_end = ends(tmp_path / "a.mp4")
    assert abs(video_end - audio_end) <= 0.04 and abs(video_end - seconds) <= 0.04
    assert video.probe(tmp_path / "a.mp4").sample_rate == (rate if rate == 44_100 else 48_000)


@pytest.mark.parametrize("fps", [24, 30])
def test_another_frame_rate_gives_as_many_frames(model, photo, folder, tmp_path, fps):
    made = write_result(model, photo, read_speech(folder / "speech.wav", fps), tmp_path / "a.mp4", crop=True)
    assert made.frames == int(np.ceil(1.03 * fps)) and video.probe(tmp_path / "a.mp4").fps == fps
    video_end, audio_end = ends(tmp_path / "a.mp4")
    assert abs(video_end - audio_end) <= 1 / fps and abs(video_end - 1.03) <= 1 / fps


def test_a_gif_moves_and_says_that_it_is_generated(model, photo, folder, tmp_path):
    write_result(model, photo, read_speech(folder / "speech.wav"), tmp_path / "a.gif", crop=True)
    with Image.open(tmp_path / "a.gif") as image:
        assert (image.n_frames, image.size, image.info["duration"]) == (26, (64, 64), 40)
    assert b"AI-generated" in (tmp_path / "a.gif").read_bytes()


def test_a_folder_holds_the_frames_as_they_were_made(model, photo, folder, tmp_path):
    driver = read_speech(folder / "speech.wav")
    write_result(model, photo, driver, tmp_path / "frames", crop=True, steady=False)
    files = sorted((tmp_path / "frames").iterdir())
    assert [f.name for f in files][:2] == ["000000.png", "000001.png"] and len(files) == 26
    windows = np.concatenate(list(driver.inputs(model)))
    # To the bit: 26 windows in one piece, and in groups of 8, have the same places in calls of 4.
    expected = model.decode(model.encode_person(photo.crop), model.wid_from_audio(windows))
    np.testing.assert_array_equal(np.stack([np.asarray(Image.open(f)) for f in files]), expected)
    assert "AI-generated" in Image.open(files[5]).text["comment"]
    with pytest.raises(MediaError, match="holds files already"):
        write_result(model, photo, driver, tmp_path / "frames")


def test_side_by_side_shows_the_driver_on_the_left(model, photo, folder, tmp_path):
    points = np.tile(np.array(talking_files.POINTS, np.float32), (17, 1, 1))
    write_result(model, photo, DrivingVideo(folder / "driver.mp4", points, True), tmp_path / "a.mp4", beside=True)
    frame, driver = next(video.read_frames(tmp_path / "a.mp4")), next(video.read_frames(folder / "driver.mp4"))
    assert frame.shape == (300, 600, 3)
    assert np.abs(frame[:, :300].astype(int) - driver).mean() < 4
    write_result(model, photo, Speech(np.zeros(640, np.float32)), tmp_path / "b.mp4", beside=True)
    frame = next(video.read_frames(tmp_path / "b.mp4"))
    assert np.abs(frame[:, :300].astype(int) - photo.image).mean() < 4


@pytest.mark.parametrize(
    "name", ["a b.mp4", 'it\'s "q".mp4', "line\nbreak.mp4", "grüße-日本.mp4", "-x.mp4", "a%03d.gif"]
)
def test_any_name_is_a_name(tmp_path, name):
    Image.fromarray(talking_files.portrait()).save(photo := tmp_path / f"{name[:-4]}.png", format="PNG")
    wavfile.write(sound := tmp_path / f"{name[:-4]}.wav", 16_000, talking_files.sound(0.2))
    output = tmp_path / "out" / name
    output.parent.mkdir()
    assert main([f"--photo={photo}", f"--audio={sound}", f"--output={output}", "--crop"]) == 0
    assert video.probe(output).has_video


def test_ctrl_c_leaves_a_file_that_plays(tmp_path):
    Image.fromarray(talking_files.portrait()).save(tmp_path / "p.png")
    wavfile.write(tmp_path / "long.wav", 16_000, talking_files.sound(120))
    command = [sys.executable, "-m", "davs_jax.generate", "--photo", tmp_path / "p.png", "--audio"]
    process = subprocess.Popen(
        [*command, tmp_path / "long.wav", "--output", tmp_path / "o.mp4"], stderr=subprocess.PIPE, text=True
    )
    try:
        said = ""
        while "generating" not in said:
            said += (character := process.stderr.read(1))
            assert character, said
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130 and "stopping" in said and "Traceback" not in said
    frames = sum(1 for _ in video.read_frames(tmp_path / "o.mp4"))
    assert 0 < frames < 3_000
    video_end, audio_end = ends(tmp_path / "o.mp4")
    assert abs(video_end - audio_end) <= 0.04


def test_the_time_of_every_stage_is_measured(model, photo, folder, tmp_path):
    made = write_result(model, photo, read_speech(folder / "speech.wav"), tmp_path / "a.mp4", longest=64)
    assert set(made.stages.seconds) == {"decode", "network", "paste", "encode"}
    assert made.steady.after < made.steady.before
    assert result.METADATA["comment"] in av.open(str(tmp_path / "a.mp4")).metadata["comment"]


def test_an_error_in_the_network_thread_ends_generation(model, photo, folder, tmp_path, monkeypatch):
    def fail(person, wid):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model, "decode_and_field", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        write_result(model, photo, read_speech(folder / "speech.wav"), tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()


def test_the_label_is_on_the_generated_image_not_on_the_one_beside_it(model, photo, tmp_path):
    speech = Speech(np.zeros(640, np.float32))
    plain, marked = (
        next(video.read_frames(write_and_name(model, photo, speech, tmp_path / f"{mark}.mp4", mark))).astype(int)
        for mark in (False, True)
    )
    changed = np.abs(plain - marked).max(-1)
    assert changed[:, :290].max() < 30  # the encoder's noise
    assert changed[-30:, 300:390].max() > 60


def write_and_name(model, photo, driver, path, mark):
    write_result(model, photo, driver, path, beside=True, mark=mark)
    return path

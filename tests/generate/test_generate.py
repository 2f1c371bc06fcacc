import subprocess
import sys

import av
import numpy as np
import pytest
from PIL import Image

from davs_jax.checkpoint.export import save_weights
from davs_jax.constants import SAMPLES_PER_FRAME
from davs_jax.generate import jobs, result
from davs_jax.generate.__main__ import main
from davs_jax.generate.drivers import DrivingVideo, Speech
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.prefetch import Stages
from davs_jax.generate.read import read_driving_video
from davs_jax.generate.result import Result
from davs_jax.generate.talk import generate
from davs_jax.inference import Davs
from davs_jax.media import audio, video
from davs_jax.media.faces import detectors
from davs_jax.media.faces.alignment import aligned_crop
from davs_jax.media.images import read_image
from davs_jax.media.photo import photo_of
from davs_jax.provenance import signing, verification
from support import talking_files
from support.tiny_model import random_model, random_weights

POINTS = tuple(f"{x},{y}" for x, y in talking_files.POINTS)


@pytest.fixture
def model(joint_config) -> Davs:
    return random_model(joint_config)


@pytest.fixture
def photo(folder, model):
    return photo_of(read_image(folder / "photo.png"), model.image_size)


def test_every_frame_is_driven_by_its_own_window(model, photo, folder):
    samples = video.read_audio(folder / "speech.wav")
    windows = audio.windows(audio.clip_mfcc(samples, 26), np.arange(26))
    # To the bit: generation's groups are of as many frames as a call, so every frame has the same place in both.
    expected = model.decode(model.encode_person(photo.crop), model.wid_from_audio(windows))
    np.testing.assert_array_equal(np.stack(list(generate(model, photo, Speech(samples)))), expected)


def test_a_video_drives_by_its_aligned_frames(model, photo, folder):
    driver, track = read_driving_video(folder / "driver.mp4")
    assert driver.frames == 17 and not track.lost.any()
    assert sum(map(len, driver.audio())) == pytest.approx(17 * driver.rate / 25, abs=driver.rate / 25)
    frames = video.read_clip(folder / "driver.mp4").frames
    crops = np.stack([aligned_crop(f, p, 64) for f, p in zip(frames, driver.points, strict=True)])
    expected = model.decode(model.encode_person(photo.crop), model.wid_from_video(crops))
    np.testing.assert_array_equal(np.stack(list(generate(model, photo, driver))), expected)


def test_word_vectors_are_multiplied_by_the_gain_of_their_driver(joint_config, photo):
    joint_config.audio_gain = 1.5
    model, speech = random_model(joint_config), Speech(np.sin(np.arange(1920, dtype=np.float32)))
    wid = np.concatenate(list(speech.wid(model)))
    person = model.encode_person(photo.crop)
    frames = np.stack(list(generate(model, photo, speech)))
    # To the bit: the speech is shorter than one look-ahead, so all its windows come in one call here and there.
    np.testing.assert_array_equal(frames, model.decode(person, 1.5 * wid))
    assert (frames != model.decode(person, wid)).any()
    assert model.gains["visual_encoder"] == 1


def test_the_weights_must_hold_what_is_needed(model, photo):
    partial = Davs(model.config, {name: {} for name in ("person_encoder", "visual_encoder", "decoder")}, {})
    with pytest.raises(GenerationError, match="no audio_encoder"):
        next(generate(partial, photo, Speech(np.zeros(640, np.float32))))


@pytest.fixture
def checkpoint(joint_config, tmp_path) -> str:
    params, batch_stats = random_weights(joint_config)
    save_weights(str(tmp_path / "weights"), joint_config, params, batch_stats, "float32")
    return str(tmp_path / "weights")


def run(folder, checkpoint, *arguments) -> int:
    fixed = ("--checkpoint", checkpoint, "--output", str(folder / "out.mp4"))
    return main([*fixed, *(str(folder / a[1:]) if a.startswith("@") else a for a in arguments)])


@pytest.mark.parametrize(
    ("driver", "frames", "seconds"), [(("--audio", "@speech.wav"), 26, 1.03), (("--video", "@driver.mp4"), 17, 0.68)]
)
def test_the_result_is_as_long_as_its_driver_and_says_that_it_is_generated(folder, checkpoint, driver, frames, seconds):
    sheet = folder / "sheet.png"
    assert run(folder, checkpoint, "--photo", "@photo.png", *driver, "--contact-sheet", "@sheet.png") == 0
    with av.open(str(folder / "out.mp4")) as container:
        assert "generated" in container.metadata["comment"]
        video_stream, audio_stream = container.streams.video[0], container.streams.audio[0]
        assert (video_stream.codec_context.name, video_stream.width, video_stream.height) == ("h264", 300, 300)
        assert float(video_stream.average_rate) == 25
        assert float(video_stream.duration * video_stream.time_base) == pytest.approx(seconds, abs=0.04)
        assert float(audio_stream.duration * audio_stream.time_base) == pytest.approx(seconds, abs=0.04)
        assert sum(1 for _ in container.decode(video=0)) == frames
    assert Image.open(sheet).size[0] > 8 * 64


def test_a_driver_without_audio_gives_a_silent_video(folder, checkpoint, model, photo, tmp_path):
    driver = DrivingVideo(folder / "silent.mp4", np.array([[[20, 22], [44, 22], [32, 34], [24, 46], [40, 46]]]), False)
    result.write_result(model, photo, driver, tmp_path / "out.mp4")
    assert not video.probe(tmp_path / "out.mp4").has_audio


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--photo", "@none.jpg", "--audio", "@speech.wav"), r"none\.jpg: no such file"),
        (("--photo", "@speech.wav", "--audio", "@speech.wav"), "cannot be read as an image"),
        (("--photo", "@photo.png", "--audio", "@photo.png"), r"photo\.png: is an image, without audio"),
        (("--photo", "@photo.png", "--video", "@photo.png"), r"photo\.png: is an image that does not move"),
        (("--photo", "@photo.png", "--audio", "@."), "is a folder; name a file in it"),
        (("--photo", "@.", "--audio", "@speech.wav"), "is a folder; name a file in it"),
        (("--photo", "@photo.png", "--audio", "@none.wav"), r"none\.wav: no such file"),
        (("--photo", "@photo.png", "--video", "@silent.mp4"), r"silent\.mp4: no face.*--audio"),
        (("--photo", "@photo.png", "--audio", "@speech.wav", "--points", "1,2"), "points 1,2: cannot be read"),
        (("--photo", "@photo.png", "--audio", "@speech.wav", "--output", "@out.avi"), "end its name in .mp4"),
        (
            ("--photo", "@photo.png", "--audio", "@speech.wav", "--audio-gain", "0"),
            "0.0 is not above 0; give --audio-gain",
        ),
        (("--photo", "@photo.png", "--video", "@driver.mp4", "--output", "@driver.mp4"), "would be overwritten"),
        (("--photo", "@photo.png", "--audio", "@speech.wav", "--checkpoint", "@nowhere"), "nowhere holds no weights"),
        (
            ("--photo", "@photo.png", "--audio", "@speech.wav", "--output", "@photo.png/o.mp4"),
            "o.mp4: cannot be written",
        ),
    ],
)
def test_invalid_input_is_refused_in_one_sentence(folder, checkpoint, arguments, message):
    with pytest.raises(SystemExit, match=message) as stopped:
        run(folder, checkpoint, *arguments)
    assert str(stopped.value).startswith("davs-generate: ")
    assert "\n" not in str(stopped.value)


def test_gains_are_given_on_the_command_line(folder, checkpoint, monkeypatch):
    gains, made = [], Result(1, np.zeros((1, 1, 3), np.uint8), Stages(), None, False)
    monkeypatch.setattr(jobs, "write_result", lambda model, *_: gains.append(model.gains) or made)
    monkeypatch.setattr(jobs.signing, "sign", lambda *_: None)  # there is no file to sign
    drive = ("--photo", "@photo.png", "--audio", "@speech.wav", "--points", *POINTS)
    run(folder, checkpoint, *drive)
    run(folder, checkpoint, *drive, "--audio-gain", "2", "--video-gain", "0.5")
    assert gains == [{"audio_encoder": 1, "visual_encoder": 1}, {"audio_encoder": 2, "visual_encoder": 0.5}]


def test_a_photo_with_given_points_needs_no_detector(folder, checkpoint, monkeypatch):
    monkeypatch.setattr(detectors, "detector", lambda: pytest.fail("looked for a face"))
    assert run(folder, checkpoint, "--photo", "@photo.png", "--audio", "@speech.wav", "--points", *POINTS) == 0


def test_the_crop_alone_is_written_on_request(folder, checkpoint):
    assert run(folder, checkpoint, "--photo", "@photo.png", "--audio", "@speech.wav", "--crop") == 0
    media = video.probe(folder / "out.mp4")
    assert (media.width, media.height) == (64, 64)


def test_a_large_photo_is_reduced_to_what_players_decode(model, photo, tmp_path, monkeypatch):
    speech = Speech(np.zeros(2 * SAMPLES_PER_FRAME, np.float32))
    result.write_result(model, photo, speech, tmp_path / "out.mp4", longest=150)
    assert video.probe(tmp_path / "out.mp4").width == 150


def test_a_photo_that_seems_not_to_be_aligned_is_warned_about(folder, checkpoint, capsys):
    assert run(folder, checkpoint, "--photo", "@photo.png", "--audio", "@speech.wav", "--aligned") == 0
    assert "leave out --aligned" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["@signed.mp4", "@signed.gif", "@signed"])
def test_every_kind_of_result_is_signed(folder, checkpoint, output):
    pytest.importorskip("c2pa", reason=f"signing needs {signing.INSTALL}")
    drive = ("--photo", "@photo.png", "--audio", "@speech.wav", "--points", *POINTS)
    assert run(folder, checkpoint, *drive, "--output", output) == 0
    result = folder / output[1:]
    for file in sorted(result.iterdir()) if result.is_dir() else [result]:
        state, text = verification.verify(file)
        assert state == verification.State.SIGNED
        assert "that it is AI-generated" in text and "photo, speech" in text


def test_a_given_certificate_is_tried_before_the_work(folder, checkpoint):
    drive = ("--photo", "@photo.png", "--audio", "@speech.wav", "--output", "@never.mp4")
    with pytest.raises(SystemExit, match="--certificate"):
        run(folder, checkpoint, *drive, "--certificate", "@photo.png")
    assert not (folder / "never.mp4").exists()


INTERRUPTED_IMPORT = """
import os, runpy, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "jax._src.core":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
sys.meta_path.insert(0, Interrupts())
runpy.run_module("davs_jax.generate", run_name="__main__")
"""


def test_ctrl_c_while_jax_is_imported_ends_in_one_sentence():
    options = ("--photo", "p.png", "--audio", "a.wav", "--output", "o.mp4")
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED_IMPORT, *options], capture_output=True, text=True)
    assert ended.returncode == 130
    assert ended.stderr == "davs-generate: interrupted; an output that was being written is incomplete\n"

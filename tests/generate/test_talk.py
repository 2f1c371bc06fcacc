"""Videos as sources, faces that go out of sight, and pipelining."""

import dataclasses
import itertools
import threading
import time

import numpy as np
import pytest

from davs_jax.generate import footage
from davs_jax.generate.drivers import DrivingVideo, Live, Speech
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.face_track import describe
from davs_jax.generate.footage import Footage, read_source
from davs_jax.generate.prefetch import Stages, ahead
from davs_jax.generate.talk import each_frame, generate, whole_images
from davs_jax.media import video
from davs_jax.media.faces import tracking
from davs_jax.media.faces.alignment import aligned_crop
from davs_jax.media.images import PhotoError
from davs_jax.media.photo import Photo
from support import talking_files
from support.tiny_model import random_model

POINTS = np.array(talking_files.POINTS, np.float32)


@pytest.fixture
def model(joint_config):
    return random_model(joint_config, batch=4)


def moving(path, frames: int, lost=()) -> Footage:
    """A video that gets darker, and where its face is."""
    with video.Writer(path) as writer:
        for i in range(frames):
            writer.write(talking_files.portrait() // (1 + i))
    gone = np.isin(np.arange(frames), lost)
    return Footage(path, tracking.Track(np.tile(POINTS, (frames, 1, 1)), 1.0, 0.0, 0.0, gone), 64, 1920)


def brightness(photos) -> list[float]:
    return [float(p.image.mean()) for p in photos]


def test_a_videos_frames_run_back_and_forth(tmp_path):
    source = moving(tmp_path / "a.mp4", 4)
    there = brightness(source.photos(4))
    assert there == sorted(there, reverse=True)
    again = brightness(source.photos(12))
    expected = [there[i] for i in (0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1)]
    np.testing.assert_allclose(again, expected, atol=1.5)
    assert len(list(moving(tmp_path / "b.mp4", 1).photos(3))) == 3


def test_a_model_may_choose_the_order_of_a_videos_frames(model, tmp_path):
    source, asked = moving(tmp_path / "a.mp4", 3), []
    plain = brightness(source.photos(5))
    model.pace = lambda motion, paused: asked.append((motion(4), paused)) or np.array([0, 2, 2, 4, 4])
    speech = Speech(np.concatenate([talking_files.sound(0.12), np.zeros(1280, np.float32)]))
    shown = brightness(frame.photo for frame in each_frame(model, source, speech))
    np.testing.assert_allclose(shown, [plain[i] for i in (0, 2, 2, 4, 4)], atol=1.5)
    ((motion, paused),) = asked
    assert list(motion) == [0, 0, 0, 0]  # the points do not move
    assert list(paused) == [False, False, False, True, True]


def test_a_videos_motion_runs_back_and_forth_as_its_frames_do(tmp_path):
    source, points = moving(tmp_path / "a.mp4", 3), np.tile(POINTS, (3, 1, 1))
    points[1:, :, 0] += 2
    points[2:, :, 1] += 5
    track = source.track._replace(points=points)
    found = dataclasses.replace(source, track=track).motion(6)
    np.testing.assert_allclose(found, [0, 2, 5, 5, 2, 2], atol=1e-5)


def test_a_reduced_videos_points_lie_where_its_face_is_on_the_way_back_too(tmp_path):
    source = moving(tmp_path / "a.mp4", 2)
    small = Footage(source.path, source.track, 64, 150)
    for photo in small.photos(5):
        assert photo.image.shape == (150, 150, 3)
        np.testing.assert_allclose(photo.points, (POINTS + 0.5) / 2 - 0.5, atol=1e-4)


def test_every_frame_of_a_video_is_generated_with_its_own_word_vector(model, tmp_path):
    source, speech = moving(tmp_path / "a.mp4", 3), Speech(talking_files.sound(0.2))
    wid = np.concatenate(list(speech.wid(model)))
    photos = list(source.photos(5))
    one_by_one = [model.decode(model.encode_person(s.crop), w[None])[0] for s, w in zip(photos, wid, strict=True)]
    made = np.stack(list(generate(model, source, speech)))
    assert np.abs(made.astype(int) - np.stack(one_by_one)).max() <= 1
    assert [p.shape for p in whole_images(model, source, speech)] == [(300, 300, 3)] * 5


@pytest.mark.parametrize("kind", ["mean", "mean_variance"])
def test_word_vectors_are_normalised_over_the_whole_file_and_live_over_what_has_come(joint_config, kind):
    joint_config.model.wid_norm = kind
    model, samples = random_model(joint_config, batch=4), talking_files.sound(0.4)
    speech = Speech(samples)
    raw = model.raw_wid_from_audio(np.concatenate(list(speech.inputs(model))))
    (wid,) = speech.wid(model)
    np.testing.assert_allclose(wid, model.normalised(raw), rtol=1e-4, atol=1e-4)
    live = np.concatenate(list(Live([samples]).wid(model)))
    np.testing.assert_allclose(live[-1], wid[-1], rtol=1e-3, atol=1e-3)
    assert not np.allclose(live[1], wid[1], atol=0.1)
    crop = talking_files.portrait()[:64, :64]
    source = Photo(crop, None, crop)
    made = np.stack(list(generate(model, source, speech)))
    expected = model.decode(model.encode_person(source.crop), wid)
    assert np.abs(made.astype(int) - expected).max() <= 1


def test_a_frame_without_its_face_stays_as_it_is(model, tmp_path):
    source = moving(tmp_path / "a.mp4", 3, lost=[1])
    made = list(whole_images(model, source, Speech(talking_files.sound(0.12))))
    changed = [bool((p != s.image).any()) for p, s in zip(made, source.photos(3), strict=True)]
    assert changed == [True, False, True]


def test_while_a_driving_face_is_out_of_sight_its_last_image_is_held(model, tmp_path):
    moving(tmp_path / "a.mp4", 6)
    lost = np.array([1, 0, 1, 1, 0, 0], bool)
    driver = DrivingVideo(tmp_path / "a.mp4", np.tile(POINTS, (6, 1, 1)), False, lost)
    crops = [aligned_crop(f, POINTS, 64) for f in video.read_frames(tmp_path / "a.mp4")]
    np.testing.assert_array_equal(np.concatenate(list(driver.inputs(model))), [crops[i] for i in (1, 1, 1, 1, 4, 5)])


def test_the_times_at_which_a_face_is_out_of_sight_are_reported():
    lost = np.isin(np.arange(100), [*range(25, 50), *range(95, 100)])
    track = tracking.Track(np.tile(POINTS, (100, 1, 1)), 0.5, 0.4, 0.8, lost)
    said = describe(track)
    assert said[0] == "jitter of the alignment 0.80 → 0.40 % of the eye distance"
    assert "out of sight at 1.0–2.0 s, 3.8–4.0 s" in said[1]


@pytest.mark.parametrize(
    ("quarters", "remedy"), [(1, "90° clockwise first (FFmpeg: -vf transpose=1)"), (2, "180° "), (3, "270° ")]
)
def test_a_video_whose_face_lies_is_refused_with_the_turn_that_it_needs(tmp_path, quarters, remedy):
    with video.Writer(tmp_path / "a.mp4") as writer:
        for _ in range(3):
            writer.write(np.ascontiguousarray(np.rot90(talking_files.portrait(), quarters)))
    with pytest.raises(GenerationError) as refused:
        read_source(tmp_path / "a.mp4", 64, 1920)
    assert f"a.mp4: its face is not upright, and nothing in the file says so; turn it by {remedy}" in str(refused.value)


def test_a_source_is_a_photo_or_a_video(folder, tmp_path):
    assert isinstance(read_source(folder / "photo.png", 64, 1920), Photo)
    assert isinstance(read_source(folder / "driver.mp4", 64, 1920), Footage)
    with pytest.raises(GenerationError, match=r"driver\.mp4: is a video, in which the face is found"):
        read_source(folder / "driver.mp4", 64, 1920, face=2)
    with pytest.raises(PhotoError, match=r"silent\.mp4: no human face"):  # its one frame is a photo
        read_source(folder / "silent.mp4", 64, 1920)
    points = np.array(talking_files.POINTS) / 4
    assert isinstance(read_source(folder / "silent.mp4", 64, 1920, points), Photo)
    with pytest.raises(PhotoError, match=r"photo\.png: there is no face 2 among the 1 found"):
        read_source(folder / "photo.png", 64, 1920, face=2)
    with pytest.raises(PhotoError, match=r"speech\.wav: cannot be read as an image"):
        read_source(folder / "speech.wav", 64, 1920)


def test_only_frames_that_are_used_again_are_stored(tmp_path, monkeypatch):
    source = moving(tmp_path / "a.mp4", 3)
    monkeypatch.setattr(footage.cv2, "imencode", lambda *_: pytest.fail("stored"))
    assert len(list(source.photos(3))) == 3


def test_items_from_the_thread_come_in_order_and_its_error_comes_last():
    def items():
        yield from range(5)
        raise ValueError("broken")

    found = []
    with pytest.raises(ValueError, match="broken"):
        for item in ahead(items(), 2):
            found.append(item)
    assert found == [0, 1, 2, 3, 4]


def test_closing_stops_the_thread_that_runs_ahead():
    made = []
    running = ahead((made.append(i) or i for i in itertools.count()), 2)
    assert next(running) == 0
    running.close()
    count = len(made)
    time.sleep(0.05)
    assert len(made) == count <= 5
    assert not [t for t in threading.enumerate() if t.name == "ahead"]


def test_stages_count_the_time_of_their_own_work_only():
    stages = Stages()
    for _ in stages.each("make", (time.sleep(0.02) for _ in range(3))):
        with stages.spent("use"):
            time.sleep(0.01)
    assert 0.06 <= stages.seconds["make"] < 0.2 and 0.03 <= stages.seconds["use"] < 0.15
    assert str(stages).startswith("make ")

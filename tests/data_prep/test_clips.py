"""From a recording to its records, and the reasons for which some recordings give none."""

import json

import cv2
import numpy as np
import pytest

from data_prep import clips
from data_prep.clips import Cut, Recording
from data_prep.shards import Rejection
from davs_jax.media.audio import clip_mfcc
from davs_jax.media.faces import tracking
from support.audio_files import write_audio
from support.talking_files import sound

pytestmark = pytest.mark.usefixtures("one_face")


def outcomes(path, *cuts, **known):
    recording = Recording(path, path.name, cuts or [Cut("clip", 3)], **known)
    return list(clips.clip_records(recording, {"image_size": 64}))


def gray_levels(record):
    return [cv2.imdecode(np.frombuffer(data, np.uint8), 1)[32, 32].mean() for data in record["frames"]]


def test_a_record_holds_29_aligned_frames_their_audio_and_its_mfcc(tmp_path, write_video):
    (record,) = outcomes(write_video(tmp_path / "a.mp4"), Cut("ABOUT/1", 3, measures={"duration": 0.4}), speaker=2)
    assert (record["clip_id"], record["word"], record["speaker"]) == ("ABOUT/1", 3, 2)
    assert {cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape for data in record["frames"]} == {(65, 65, 3)}
    np.testing.assert_allclose(gray_levels(record), 40 + 2 * np.arange(29), atol=3)
    assert record["audio"].dtype == np.int16
    assert record["audio"].shape == (29 * 640,)
    np.testing.assert_array_equal(record["mfcc"], clip_mfcc(record["audio"], 29))
    assert record["mouth_opening"].shape == (0,)
    measures = json.loads(record["measures"])
    shown, together = measures.pop("points"), measures.pop("lip_sound")
    assert (np.shape(shown), np.shape(together)) == ((29, 5, 2), (11,))
    assert measures.pop("offset_strength") == max(together) == together[measures.pop("offset_hint") + 5]
    assert measures == {
        "duration": 0.4,
        "eye_distance": 40.0,
        "face_size": pytest.approx(134, abs=1),
        "found": 1.0,
        "jitter": 0.0,
        "loudness": pytest.approx(20 * np.log10(0.3 / np.sqrt(2)), abs=0.5),
        "sharpness": pytest.approx(0, abs=5),
        "shift": 0,
    }


def test_channels_that_cancel_give_audio_and_a_note(tmp_path, write_video, caplog):
    phases = np.stack([sound(2), -sound(2)])
    audio = write_audio(tmp_path / "a.wav", phases, "pcm_s16le", layout="stereo")
    (record,) = outcomes(write_video(tmp_path / "a.mp4", sound="none"), audio=audio)
    assert json.loads(record["measures"])["loudness"] > -20
    assert "channel 1 alone is used" in caplog.text


def test_cuts_are_centred_and_moved_inwards_at_the_ends(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", frames=60)
    first, middle, last = outcomes(path, Cut("a", 0, 5.0), Cut("b", 1, 30.5), Cut("c", 2, 58.0))
    for record, start, shift in ((first, 0, 9), (middle, 16, 0), (last, 31, -13)):
        assert json.loads(record["measures"])["shift"] == shift
        np.testing.assert_allclose(gray_levels(record), 40 + 2 * (start + np.arange(29)), atol=3)
    whole = np.concatenate([first["audio"][: 16 * 640], middle["audio"]])
    np.testing.assert_array_equal(first["audio"][16 * 640 :], whole[16 * 640 : 29 * 640])  # all on one clock


def test_a_longer_recording_gives_its_middle(tmp_path, write_video):
    (record,) = outcomes(write_video(tmp_path / "a.mp4", frames=39))
    np.testing.assert_allclose(gray_levels(record), 40 + 2 * (5 + np.arange(29)), atol=3)


def test_known_points_and_opening_are_taken_as_they_are(tmp_path, write_video, points, monkeypatch):
    monkeypatch.setattr(tracking, "track", None)  # must not be called
    points = points + np.random.default_rng(0).normal(0, 2, (39, 5, 2)).astype(np.float32)
    opening = np.arange(39, dtype=np.float32)
    path = write_video(tmp_path / "a.mp4", frames=39)
    (record,) = outcomes(path, points=points, mouth_opening=opening)
    np.testing.assert_array_equal(record["mouth_opening"], opening[5:34])
    assert json.loads(record["measures"])["jitter"] == pytest.approx(tracking.jitter(points), abs=1e-3)


@pytest.mark.parametrize(
    ("made", "stage", "reason"),
    [
        ({"frames": 28}, "length", "28 frames, 29 are needed"),
        ({"sound": "none"}, "sound", "no audio track"),
        ({"sound": "zeros"}, "sound", "digital silence"),
    ],
)
def test_a_recording_that_lacks_something_is_rejected_with_the_reason(tmp_path, write_video, made, stage, reason):
    (rejection,) = outcomes(write_video(tmp_path / "a.mp4", **made))
    assert rejection.file.startswith("a.mp4")
    assert (rejection.stage, rejection.remedy != "") == (stage, True)
    assert reason in rejection.reason


@pytest.mark.parametrize("kept", [0, 200, 0.6])
def test_a_damaged_file_is_rejected(tmp_path, write_video, kept):
    path = write_video(tmp_path / "a.mp4", frames=75)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if kept < 1 else kept])
    (rejection,) = outcomes(path)
    assert (rejection.file, rejection.stage) == ("a.mp4", "read")
    assert str(tmp_path) not in rejection.reason  # the same on every machine
    assert rejection.remedy


def test_a_missing_file_is_rejected(tmp_path):
    (rejection,) = outcomes(tmp_path / "a.mp4")
    assert rejection == Rejection("a.mp4", "read", "no such file", "check the path")


def test_a_recording_without_a_face_is_rejected(tmp_path, write_video, one_face):
    one_face(0)
    (rejection,) = outcomes(write_video(tmp_path / "a.mp4"))
    assert (rejection.stage, rejection.reason) == ("face", "no face in any of the 7 frames searched (of 29)")


def test_a_cut_in_which_the_face_is_lost_is_rejected_and_the_others_are_kept(tmp_path, write_video, one_face):
    one_face(7)  # in frames 0, 5 … 30 of those looked at
    kept, rejection = outcomes(write_video(tmp_path / "a.mp4", frames=75), Cut("a", 0, 15.0), Cut("b", 1, 40.0))
    assert kept["clip_id"] == "a"
    reason = "no face is found for a while, in 24 of its 29 frames"
    assert (rejection.file, rejection.stage, rejection.reason) == ("a.mp4 (b)", "face", reason)


def test_points_of_another_number_of_frames_are_rejected(tmp_path, write_video):
    (rejection,) = outcomes(write_video(tmp_path / "a.mp4"), points=np.zeros((30, 5, 2)))
    assert (rejection.stage, rejection.reason) == ("label", "points of 30 frames, the video has 29")


def test_points_that_do_not_form_a_face_are_rejected(tmp_path, write_video):
    (rejection,) = outcomes(write_video(tmp_path / "a.mp4"), points=np.zeros((29, 5, 2)))
    assert rejection.stage == "face"
    assert "do not form a face" in rejection.reason


def test_a_cut_beyond_the_recordings_end_is_rejected_and_the_others_are_kept(tmp_path, write_video):
    path = write_video(tmp_path / "a.mp4", frames=40)
    kept, rejection = outcomes(path, Cut("a", 0, 20.0), Cut("b", 1, 70.0))
    assert kept["clip_id"] == "a"
    assert (rejection.file, rejection.stage) == ("a.mp4 (b)", "length")

import numpy as np
import pytest

from davs_jax.checkpoint.export import save_weights
from davs_jax.evaluate.lip_sync import Score
from davs_jax.generate.drivers import DrivingVideo
from davs_jax.media import video
from davs_jax.media.offsets import SURE, Offset
from davs_jax.sync import audio_offset
from davs_jax.sync.__main__ import main
from davs_jax.sync.audio_offset import SyncError, describe, doubts, measure
from davs_jax.sync.command import syncnet_scores
from support.tiny_model import random_model, random_weights


@pytest.fixture
def vectors():
    return np.random.default_rng(0).normal(size=(80, 8))


def test_the_blocks_in_which_a_long_file_is_measured_do_not_change_the_result(vectors, monkeypatch):
    images, audio = vectors[4:], vectors[:-4]
    whole = measure(images, audio)
    assert whole.frames == 4
    monkeypatch.setattr(audio_offset, "BLOCK", 7)
    assert measure(images, audio) == pytest.approx(whole, abs=1e-6)


def test_a_short_file_is_refused(vectors):
    with pytest.raises(SyncError, match=r"30 frames are too few for offsets of ±15, which take 31.*smaller --reach"):
        measure(vectors[:30], vectors[:30])


@pytest.mark.parametrize(
    ("frames", "words"),
    [(0, "is in time;"), (2, "is 2 frames (0.08 s) late;"), (-5, "is 5 frames (0.20 s) early;")],
)
def test_an_offset_is_described_in_words(frames, words):
    assert words in describe(Offset(frames, 0.5, 0.25))


@pytest.fixture
def talk(tmp_path):
    """A flash in frame 20, and a click three frames after it."""
    samples = np.zeros(50 * 640, np.float32)
    samples[23 * 640 : 23 * 640 + 64] = 0.9
    with video.Writer(tmp_path / "talk.mp4", samples=samples) as writer:
        for i in range(50):
            writer.write(np.full((64, 64, 3), 255 if i == 20 else 0, np.uint8))
    return tmp_path / "talk.mp4"


@pytest.fixture
def checkpoint(joint_config, tmp_path) -> str:
    save_weights(str(tmp_path / "weights"), joint_config, *random_weights(joint_config), "float32")
    return str(tmp_path / "weights")


def lateness(path) -> float:
    """Frames from the flash to the click."""
    clip = video.read_clip(path)
    return np.abs(clip.samples).argmax() / 640 - clip.frames.mean((1, 2, 3)).argmax()


@pytest.mark.parametrize("late", [3, -3])
def test_a_repaired_file_has_its_audio_moved_and_nothing_re_encoded(talk, checkpoint, monkeypatch, capsys, late):
    monkeypatch.setattr(audio_offset, "measure_file", lambda model, path, reach, track: Offset(late, 0.5, 0.25))
    mended = talk.with_name("mended.mp4")
    assert main([str(talk), "--checkpoint", checkpoint, "--fix", str(mended)]) == 0
    assert lateness(talk) == pytest.approx(3, abs=0.2)
    assert lateness(mended) == pytest.approx(3 - late, abs=0.2)
    np.testing.assert_array_equal(video.read_clip(mended).frames[:45], video.read_clip(talk).frames[:45])
    assert f"audio moved by {-late} frames" in capsys.readouterr().out


def test_an_uncertain_offset_moves_nothing_without_force(talk, checkpoint, monkeypatch, capsys):
    monkeypatch.setattr(audio_offset, "measure_file", lambda model, path, reach, track: Offset(3, 0.5, 0.05))
    mended = talk.with_name("mended.mp4")
    arguments = [str(talk), "--checkpoint", checkpoint]
    with pytest.raises(SystemExit, match=rf"confidence 0\.050 is below {SURE}, so nothing was moved; give .*--force"):
        main([*arguments, "--fix", str(mended)])
    assert not mended.exists()
    assert main([*arguments, "--fix", str(mended), "--force"]) == 0
    assert lateness(mended) == pytest.approx(0, abs=0.2)
    capsys.readouterr()
    assert main(arguments) == 0
    assert "uncertain: audio of another video reaches this confidence too" in capsys.readouterr().out


@pytest.mark.parametrize(("frames", "announced"), [(14, False), (15, True), (-15, True)])
def test_an_offset_at_the_edge_of_the_search_is_announced(frames, announced):
    assert bool(doubts(Offset(frames, 0.5, 0.25), 15)) == announced


def test_an_offset_of_few_frames_is_not_believed_however_confident_it_looks(
    talk, checkpoint, monkeypatch, capsys, vectors
):
    assert measure(vectors, vectors).compared == 50
    assert measure(vectors[:31], vectors[:31]).compared == 1
    few = Offset(3, 0.5, 0.4, compared=44)
    assert "only 44 frames could be compared" in doubts(few, 15)[0] and "75 frames" in doubts(few, 15)[0]
    assert not doubts(few._replace(compared=45), 15)
    monkeypatch.setattr(audio_offset, "measure_file", lambda model, path, reach, track: few)
    mended = talk.with_name("mended.mp4")
    with pytest.raises(SystemExit, match="only 44 frames could be compared, so nothing was moved; give a longer video"):
        main([str(talk), "--checkpoint", checkpoint, "--fix", str(mended)])
    assert not mended.exists()
    assert main([str(talk), "--checkpoint", checkpoint, "--fix", str(mended), "--force"]) == 0
    capsys.readouterr()


def test_a_file_is_measured_by_its_tracked_face(talk, joint_config, monkeypatch):
    points = np.tile(np.array([[20, 22], [44, 22], [32, 34], [24, 46], [40, 46]], np.float32), (50, 1, 1))
    monkeypatch.setattr(audio_offset, "read_driving_video", lambda path, **_: (DrivingVideo(path, points, True), None))
    offset = audio_offset.measure_file(random_model(joint_config), talk)
    assert -15 <= offset.frames <= 15
    monkeypatch.setattr(audio_offset, "read_driving_video", lambda path, **_: (DrivingVideo(path, points, False), None))
    with pytest.raises(SyncError, match="has no audio"):
        audio_offset.measure_file(random_model(joint_config), talk)


def test_syncnet_scores_a_file_in_every_variant(talk):
    found = Score(8.0, 2.0, 1, 45, 1000, 240)

    class FixedScorer:
        def __call__(self, frames, samples):
            assert samples.dtype == np.int16
            return {"whole-frame": found, "valid-only": found}

        def face_track(self, frames, samples):
            return found

    lines = syncnet_scores(FixedScorer(), talk)
    assert [line.split()[0] for line in lines] == ["whole-frame", "face-track", "valid-only"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.mp4",), r"none\.mp4: no such file"),
        (("talk.mp4", "--fix", "talk.mp4"), "would be overwritten"),
        (("talk.mp4",), r"talk\.mp4: no face.*give a video that shows a face$"),
        (("talk.mp4", "--checkpoint", "nowhere"), "nowhere holds no weights"),
    ],
)
def test_invalid_input_is_refused_in_one_sentence(talk, checkpoint, monkeypatch, arguments, message):
    monkeypatch.chdir(talk.parent)
    with pytest.raises(SystemExit, match=message) as stopped:
        main(["--checkpoint", checkpoint, *arguments])
    assert str(stopped.value).startswith("davs-sync: ")
    assert "\n" not in str(stopped.value)

"""VoxCeleb2: audio in the video, beside it or in the mirrored folder; known speakers, no words."""

import json

import av
import numpy as np
import pytest

import support.preparation
from data_prep import clips, voxceleb
from support.preparation import dataset, records, rejections

pytestmark = pytest.mark.usefixtures("one_face")


def prepare(corpus, *flags):
    return support.preparation.prepare(voxceleb, corpus, "--val-fraction", "0", *flags)


def write_audio(path, frames=60):
    """A tone that rises, in AAC alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(frames * 640) / 16_000
    tone = (0.3 * np.sin(2 * np.pi * (200 + 50 * time) * time)).astype(np.float32)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts = 16_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return tone


def test_an_utterance_is_cut_into_consecutive_clips_of_a_known_speaker_and_no_word(tmp_path, write_video):
    write_video(tmp_path / "vox" / "dev" / "mp4" / "id00012" / "abc" / "00001.mp4", frames=60)
    write_video(tmp_path / "vox" / "test" / "mp4" / "id00017" / "def" / "00001.mp4", frames=30)
    status, output = prepare(tmp_path / "vox")
    assert status == 0
    found = [(r["clip_id"].decode(), r["word"], r["speaker"]) for r in records(output)]
    assert found == [
        ("dev/mp4/id00012/abc/00001/0", -1, 0),
        ("dev/mp4/id00012/abc/00001/1", -1, 0),
        ("test/mp4/id00017/def/00001/0", -1, 1),
    ]
    builder = dataset(output)
    assert builder.info.features["speaker"].names == ["id00012", "id00017"]
    assert {split: builder.info.splits[split].num_examples for split in builder.info.splits} == {"train": 2, "test": 1}


@pytest.mark.parametrize("place", ["dev/aac/id1/abc/00001.m4a", "dev/mp4/id1/abc/00001.m4a"])
def test_audio_of_a_separate_file_is_in_sync_with_the_video(tmp_path, write_video, place):
    write_video(tmp_path / "vox" / "dev" / "mp4" / "id1" / "abc" / "00001.mp4", frames=60, sound="none")
    tone = write_audio(tmp_path / "vox" / place)
    _, output = prepare(tmp_path / "vox")
    first, second = records(output)
    heard = np.concatenate([first["audio"], second["audio"]]) / 2**15
    # 60 frames are two shares of 30, with middles 15 and 45: frames 1 … 29 and 31 … 59.
    assert [json.loads(r["measures"])["shift"] for r in (first, second)] == [0, 0]
    piece = heard[2000:6000]
    errors = {lag: np.abs(tone[640 + 2000 + lag :][:4000] - piece).mean() for lag in range(-80, 81)}
    assert abs(min(errors, key=errors.get)) <= 2
    assert min(errors.values()) < 0.03


def test_a_limit_of_clips_spreads_them_over_the_utterance(tmp_path):
    assert [cut.middle for cut in voxceleb.cuts("a", 2, 120)] == [30, 90]
    assert [cut.middle for cut in voxceleb.cuts("a", None, 29)] == [14.5]
    assert len(voxceleb.cuts("a", 9, 70)) == 2


def test_a_damaged_audio_file_is_the_reason_of_the_rejection(tmp_path, write_video):
    write_video(tmp_path / "vox" / "id1" / "abc" / "1.mp4", frames=30, sound="none")
    write_video(tmp_path / "vox" / "id1" / "abc" / "2.mp4", frames=30)
    (tmp_path / "vox" / "id1" / "abc" / "1.m4a").write_bytes(b"")
    status, output = prepare(tmp_path / "vox")
    assert status == 0
    (rejection,) = rejections(output)
    assert (rejection["file"], rejection["stage"], rejection["reason"]) == (
        "id1/abc/1.mp4",
        "sound",
        "is empty (0 bytes)",
    )


def test_videos_without_a_speaker_and_audio_without_a_video_are_rejected(tmp_path, write_video):
    write_video(tmp_path / "vox" / "id1" / "abc" / "1.mp4", frames=30)
    write_video(tmp_path / "vox" / "id1" / "2.mp4", frames=30)
    write_audio(tmp_path / "vox" / "id1" / "abc" / "3.m4a", frames=30)
    _, output = prepare(tmp_path / "vox")
    assert {(line["file"], line["reason"]) for line in rejections(output)} == {
        ("id1/2.mp4", "lies in no SPEAKER/VIDEO folder"),
        ("id1/abc/3.m4a", "its video is missing"),
    }


def test_no_source_video_is_in_two_splits(tmp_path):
    for speaker in range(3):
        for video in range(4):
            for utterance in range(2):
                path = tmp_path / f"id{speaker}" / f"v{video}" / f"{utterance}.mp4"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    flags = {"input": tmp_path, "image_size": 64, "seed": 0, "clips": None}
    plan = voxceleb.make_plan(voxceleb.argparse.Namespace(val_fraction=0.25, **clips.TRACKING, **flags))
    splits = [{voxceleb._source(item) for shard in shards for item in shard} for shards in plan.splits.values()]
    assert [len(sources) for sources in splits] == [9, 3]
    assert not splits[0] & splits[1]


def test_another_layout_is_an_error(tmp_path, capsys):
    (tmp_path / "vox").mkdir()
    assert prepare(tmp_path / "vox")[0] == 1
    assert "no SPEAKER/VIDEO/*.mp4" in capsys.readouterr().err

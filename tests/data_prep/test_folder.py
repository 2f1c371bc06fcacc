"""A folder of one's own videos: words in the middle of clips, the rest unlabelled; splits, filters, offsets."""

import json
import shutil

import cv2
import numpy as np
import pytest

import support.preparation
from data_prep import folder, judge, speaker
from data_prep.plan import read_plan
from davs_jax.media.faces import detectors
from davs_jax.media.offsets import SURE, Offset
from davs_jax.media.video.write import Writer
from support.preparation import contents, dataset, records, rejections
from support.recordings import RECORDINGS

pytestmark = pytest.mark.usefixtures("one_face")
NEWS = RECORDINGS / "news"


@pytest.fixture
def corpus(tmp_path, write_video):
    """`corpus(table, a=100, b=29)` makes a.mp4 of 100 frames and b.mp4 of 29, and labels.csv."""

    def make(table="", **frames):
        for name, count in frames.items():
            write_video(tmp_path / "in" / f"{name}.mp4", frames=count)
        if table:
            (tmp_path / "in" / "labels.csv").write_text(table)
        return tmp_path / "in"

    return make


def prepare(corpus, *flags, **options):
    return support.preparation.prepare(folder, corpus, *flags, **options)


def words(output):
    """Clip id and word, "" where unlabelled."""
    names = dataset(output).info.features["word"].names
    return [(r["clip_id"].decode(), names[r["word"]] if r["word"] >= 0 else "") for r in records(output)]


def measures(output, name):
    return [json.loads(record["measures"]).get(name) for record in records(output)]


def split_of(output):
    """The split of each video."""
    splits = dataset(output).info.splits
    found = {name: dataset(output).as_data_source(name) for name in splits}
    return {r["clip_id"].decode().split("/")[0]: name for name, source in found.items() for r in source}


def test_videos_in_any_tree_are_cut_into_consecutive_clips_and_other_files_are_ignored(corpus, write_video, tmp_path):
    source = corpus(a=60)
    shutil.copy(write_video(tmp_path / "made.mp4", frames=30), source / "B.MOV")
    write_video(source / "deep" / "er" / "c.mp4", frames=29)
    write_video(source / ".hidden" / "d.mp4", frames=29)
    (source / "notes.txt").write_text("x")
    (source / "broken.mkv").write_bytes(b"no video")
    write_video(source / "mute.mp4", frames=30, sound="none")
    write_video(source / "short.mp4", frames=20)
    status, output = prepare(source)
    assert status == 0
    assert words(output) == [("B.MOV/1", ""), ("a.mp4/1", ""), ("a.mp4/31", ""), ("deep/er/c.mp4/0", "")]
    stages = {line["file"]: line["stage"] for line in rejections(output)}
    assert stages == {"broken.mkv": "read", "mute.mp4": "sound", "short.mp4": "length"}


TALK = "clip,word,start,end,speaker\na,hello,1.9,2.1,anna\n"  # middle: frame 50


def test_a_word_is_in_the_middle_of_its_clip_and_the_rest_is_unlabelled(corpus):
    _, output = prepare(corpus(TALK, a=100))
    assert words(output) == [("a.mp4/36_hello", "hello"), ("a.mp4/4", ""), ("a.mp4/68", "")]
    record = next(r for r in records(output) if r["word"] == 0)
    shown = [cv2.imdecode(np.frombuffer(data, np.uint8), 1)[32, 32].mean() for data in record["frames"]]
    np.testing.assert_allclose(shown, 40 + 2 * (36 + np.arange(29)), atol=3)
    measured = json.loads(record["measures"])
    assert (measured["word_start"], measured["word_end"], measured["shift"]) == (47.5, 52.5, 0)
    assert dataset(output).info.features["speaker"].names == ["anna"]
    assert len(words(prepare(corpus(), "--labelled-only", output=output.with_name("labelled"))[1])) == 1


def test_one_label_for_the_same_frames_and_a_word_off_the_middle_is_counted(corpus, capsys):
    table = "clip,word,start,end\na,one,0,0.4\na,two,0.4,0.8\na,three,0.8,1.1\nb,late,0.9,1.1\n"
    status, output = prepare(corpus(table, a=29, b=29), "--words", "one,two,late")
    assert status == 0
    assert words(output) == [("a.mp4/0_two", "two"), ("b.mp4/0", "")]
    lines = {line["file"]: (line["stage"], line["reason"]) for line in rejections(output)}
    assert lines == {
        "a.mp4 (word 'one', line 2 of the table)": (
            "off middle",
            "it would be 9.5 frames off the middle of its clip, 5 may be",
        ),
        "b.mp4 (word 'late', line 5 of the table)": (
            "off middle",
            "it would be 10.5 frames off the middle of its clip, 5 may be",
        ),
    }
    assert "rejected: off middle" in capsys.readouterr().out
    assert "rejected: off middle" in (output / "report.html").read_text()


def test_the_vocabulary_is_the_words_with_enough_usable_clips(corpus, tmp_path):
    rows = ["a,yes,0.5,0.7", "b,yes,0.5,0.7", "b,no,0.0,0.2", "c,no,0.5,0.7"]  # one `no` is at an edge
    source = corpus("clip,word,start,end\n" + "\n".join(rows) + "\n", a=29, b=29, c=29)
    _, output = prepare(source, "--min-count", "2")
    assert dataset(output).info.features["word"].names == ["yes"]
    assert words(output) == [("a.mp4/0_yes", "yes"), ("b.mp4/0_yes", "yes"), ("c.mp4/0", "")]
    _, only = prepare(source, "--min-count", "2", "--labelled-only", output=tmp_path / "only")
    assert [name for name, _ in words(only)] == ["a.mp4/0_yes", "b.mp4/0_yes"]
    assert [(line["file"], line["stage"]) for line in rejections(only)] == [("c.mp4", "unlabelled")]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--min-count", "3"], "--min-count 3: no word of the table has so many usable clips; the most frequent one"),
        (["--words", "bye"], "--words bye: the table has no such word; it has hello"),
        (["--split-by", "table"], "--split-by table: no video has a split; add the column split"),
        (["--val-fraction", "0.5", "--test-fraction", "0.5"], "leave nothing for train"),
        (["--labels", "absent.csv"], "absent.csv: no such file; check --labels"),
        (["--judge", "runs/word"], "--judge runs/word: no offset is measured; add --fix-offset"),
        (["--fix-offset", "--judge", "absent"], "absent"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(corpus, capsys, flags, says):
    status, output = prepare(corpus(TALK, a=60), *flags)
    error = capsys.readouterr().err.splitlines()[-1]
    assert (status, output.exists()) == (1, False)
    assert says in error


def test_a_folder_without_videos_is_an_error(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    assert prepare(tmp_path / "in")[0] == 1
    assert "holds no video; give a folder of" in capsys.readouterr().err


def test_whole_speakers_are_in_one_split_and_the_summary_names_them(corpus, capsys):
    names = [f"v{i}" for i in range(8)]
    table = "clip,speaker\n" + "".join(f"{name},p{i // 2}\n" for i, name in enumerate(names[:-1]))
    source = corpus(table, **dict.fromkeys(names, 29))
    _, output = prepare(source)
    found = split_of(output)
    by_speaker = {f"p{i}": {found[f"v{k}.mp4"] for k in range(2 * i, min(2 * i + 2, 7))} for i in range(4)}
    assert sorted(split for (split,) in by_speaker.values()) == ["test", "train", "train", "val"]
    assert found["v7.mp4"] == "train"  # its speaker is unknown
    trained = " ".join(name for name, splits in by_speaker.items() if splits == {"train"})
    assert f"train  2         {trained}" in capsys.readouterr().out


def test_splits_come_from_the_table_or_from_the_recordings(corpus, tmp_path):
    table = "clip,speaker,split\na,anna,test\nb,anna,val\nc,ben,\n"
    source = corpus(table, a=29, b=29, c=29)
    _, output = prepare(source)
    assert split_of(output) == {"a.mp4": "test", "b.mp4": "val", "c.mp4": "train"}
    _, other = prepare(source, "--split-by", "recording", "--val-fraction", "0", output=tmp_path / "other")
    assert sorted(split_of(other).values()) == ["test", "train", "train"]


def test_no_clip_crosses_a_shot_border(tmp_path):
    (tmp_path / "in").mkdir()
    with Writer(tmp_path / "in" / "a.mp4", samples=np.full(100 * 640, 0.1, np.float32)) as writer:
        for i in range(100):
            writer.write(np.full((140, 160, 3), 60 if i < 40 else 200, np.uint8))
    (tmp_path / "in" / "labels.csv").write_text("clip,word,start,end\na,hello,1.44,1.48\n")  # middle: frame 36.5
    _, output = prepare(tmp_path / "in", "--off-middle", "14")
    assert words(output) == [("a.mp4/11_hello", "hello"), ("a.mp4/41", ""), ("a.mp4/71", "")]
    for record in records(output):
        levels = [cv2.imdecode(np.frombuffer(data, np.uint8), 1)[32, 32].mean() for data in record["frames"]]
        assert np.ptp(levels) < 10


@pytest.mark.parametrize(
    ("flags", "stage", "reason"),
    [
        (["--min-sharpness", "50"], "sharpness", "below --min-sharpness 50"),
        (["--min-face", "41"], "small face", "its eye distance is 40 px, below --min-face 41"),
        (["--min-loudness", "-5"], "loudness", "dBFS, below --min-loudness -5"),
        (["--single-face"], "second face", "a second face is in 100% of its searched frames"),
    ],
)
def test_a_filter_sets_clips_aside_with_its_reason(corpus, capsys, monkeypatch, one_face, flags, stage, reason):
    detector = detectors.detector()
    both = [detectors.Face(p, box, 0.9) for p, box in ((detector.detect(None)[0].points, np.array([45, 30, 70, 80])),)]
    both.append(detectors.Face(both[0].points * 0.6, np.array([5, 5, 42, 48]), 0.9))
    detector.detect = lambda image: both
    monkeypatch.setattr(detectors, "detector", lambda name=detectors.DEFAULT: detector)
    source = corpus(a=29)
    assert prepare(source, output=source.with_name("kept"))[0] == 0
    assert measures(source.with_name("kept"), "second_face") == [1.0]
    status, output = prepare(source, *flags)
    (line,) = rejections(output)
    assert (status, line["file"], line["stage"]) == (1, "a.mp4 (a.mp4/0)", stage)
    assert reason in line["reason"] and "every input was rejected" in capsys.readouterr().err


def test_a_small_second_face_does_not_accompany_the_speaker(points):
    large = detectors.Face(points, np.zeros(4), 0.9)
    small = detectors.Face(points * 0.4, np.zeros(4), 0.9)
    assert speaker._comparable([large, small], points) == 1


@pytest.mark.parametrize("late", [4, -4])
def test_a_certain_offset_is_removed_and_words_move_with_their_audio(corpus, monkeypatch, tmp_path, late, capsys):
    source = corpus(TALK, a=100)
    plain = {r["clip_id"]: r["audio"] for r in records(prepare(source, "--labelled-only", output=tmp_path / "p")[1])}
    monkeypatch.setattr(judge, "measure", lambda *_: Offset(late, 0.5, SURE + 0.01))
    _, output = prepare(source, "--fix-offset")
    assert f"a.mp4/{36 - late}_hello" in dict(words(output))  # the image of the word is earlier than its late audio
    record = next(r for r in records(output) if r["word"] == 0)
    np.testing.assert_array_equal(record["audio"], plain[b"a.mp4/36_hello"])
    starts = [int(name.split("/")[1].split("_")[0]) for name, _ in words(output)]
    assert min(starts) >= max(0, -late) and max(starts) + 29 <= 100 - max(0, late)  # where there is audio
    assert set(measures(output, "offset_removed")) == {late}
    assert "audio offsets, by clips: removed 3" in capsys.readouterr().out
    assert "offset removed, frames" in (output / "report.html").read_text()


@pytest.mark.parametrize(
    ("offset", "outcome"),
    [
        (Offset(4, 0.5, SURE - 0.01), "left: uncertain"),
        (Offset(15, 0.5, 0.5), "left: uncertain"),
        (Offset(4, 0.5, 0.5, compared=1), "left: uncertain"),
        (None, "left: too short to measure"),
        (Offset(0, 0.5, 0.5), "in time"),
    ],
)
def test_an_uncertain_offset_is_left_and_reported(corpus, monkeypatch, offset, outcome):
    monkeypatch.setattr(judge, "measure", lambda *_: offset)
    _, output = prepare(corpus(TALK, a=100), "--fix-offset")
    assert "a.mp4/36_hello" in dict(words(output))
    assert set(measures(output, "offset_outcome")) == {outcome}
    assert set(measures(output, "offset_removed")) == {0}


def test_the_demo_model_measures_a_recording(corpus):
    _, output = prepare(corpus(a=60, b=29), "--fix-offset")
    offsets, outcomes = measures(output, "audio_offset"), measures(output, "offset_outcome")
    assert [isinstance(offset, int) for offset in offsets] == [True, True, False]
    assert outcomes[2] == "left: too short to measure"


def test_tasks_and_a_resumed_run_make_the_same_bytes(corpus, tmp_path):
    source = corpus(TALK, **{"a": 60, **{f"v{i}": 29 for i in range(11)}})
    (source / "broken.mp4").write_bytes(b"no video")
    flags = ["--val-fraction", "0", "--split-by", "recording"]
    _, one = prepare(source, *flags, output=tmp_path / "one")
    array = tmp_path / "array"
    for task in ("1/2", "0/2"):
        prepare(source, *flags, "--shard", task, output=array)
    prepare(source, *flags, output=array)
    assert len(read_plan(one).shards()) > 2
    assert contents(one) == contents(array)
    for path in sorted((one / "shards").iterdir())[:2]:  # as after a kill
        path.unlink()
    prepare(source, *flags, output=one)
    assert contents(one) == contents(array)


@pytest.mark.skipif(not NEWS.is_dir(), reason=f"real recordings are not there: {NEWS}")
def test_real_news_clips_give_one_clip_each_with_the_word_in_its_middle(tmp_path, monkeypatch):
    monkeypatch.undo()  # the real detector
    (tmp_path / "in" / "clips").mkdir(parents=True)
    wanted = ("00158", "00161", "00169")
    for name in wanted:
        (tmp_path / "in" / "clips" / f"{name}.mp4").symlink_to(NEWS / "clips" / f"{name}.mp4")
    lines = (NEWS / "labels.csv").read_text(encoding="utf-8").splitlines()
    kept = [lines[0], *(line for line in lines if line.startswith(wanted))]
    (tmp_path / "in" / "labels.csv").write_text("\n".join(kept), encoding="utf-8")
    status, output = prepare(tmp_path / "in", "--val-fraction", "0", "--test-fraction", "0")
    assert status == 0
    assert len(words(output)) == 3
    assert {word for _, word in words(output)} == {"ان"}  # of three words each, the middle one
    assert all(found == 1 for found in measures(output, "found"))

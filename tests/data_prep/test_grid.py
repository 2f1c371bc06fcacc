"""GRID's sentences, from videos and .align files in any folders to clips of words."""

import json

import numpy as np
import pytest

from data_prep import clips, grid
from support.preparation import dataset, prepare, records, rejections
from support.recordings import RECORDINGS

GRID = RECORDINGS / "grid"
ALIGN = """0 17250 sil
17250 22500 bin
22500 26500 blue
26500 28500 at
28500 33000 f
33000 33500 sp
33500 38000 two
38000 44000 now
44000 50000 sil
"""


@pytest.fixture
def corpus(tmp_path, write_video, one_face):
    """`corpus(video folder, align folder)` makes a sentence of 50 frames."""

    def make(video="s1", align="s1", text=ALIGN):
        path = write_video(tmp_path / "grid" / video / "bbaf2n.mp4", frames=50)
        if text is not None:
            (tmp_path / "grid" / align).mkdir(parents=True, exist_ok=True)
            (tmp_path / "grid" / align / "bbaf2n.align").write_text(text)
        return tmp_path / "grid", path

    return make


def test_the_vocabulary_is_the_grammars_51_words_sorted():
    assert len(set(grid.WORDS)) == 51
    assert list(grid.WORDS) == sorted(grid.WORDS)
    assert "w" not in grid.WORDS


def test_every_spoken_word_becomes_a_clip_centred_on_it(corpus):
    status, output = prepare(grid, corpus()[0])
    assert status == 0
    clips = records(output)
    assert [grid.WORDS[clip["word"]] for clip in clips] == ["bin", "blue", "at", "f", "two", "now"]
    assert [clip["clip_id"] for clip in clips][:2] == [b"s1/bbaf2n/1_bin", b"s1/bbaf2n/2_blue"]
    measures = [json.loads(clip["measures"]) for clip in clips]
    assert (measures[1]["word_start"], measures[1]["word_end"]) == (22.5, 26.5)
    # Middles 19.875, 24.5, 27.5, 30.75, 35.75, 41: the last one's 29 frames would leave the 50 there are.
    assert [measure["shift"] for measure in measures] == [0, 0, 0, 0, 0, -6]
    starts = [5, 10, 13, 16, 21, 21]
    for clip, start in zip(clips, starts, strict=True):
        np.testing.assert_array_equal(clip["audio"][: 5 * 640], clips[0]["audio"][(start - 5) * 640 :][: 5 * 640])


@pytest.mark.parametrize(
    ("video", "align", "speaker"),
    [
        ("s1", "s1", "s1"),
        ("s20/video/mpg_6000", "s20/align", "s20"),
        ("video/s3", "align/s3", "s3"),
        ("with spaces", "with spaces", "with spaces"),
    ],
)
def test_video_and_align_are_found_in_any_layout(corpus, video, align, speaker):
    folder, _ = corpus(video, align)
    status, output = prepare(grid, folder)
    assert status == 0
    assert len(records(output)) == 6
    assert dataset(output).info.features["speaker"].names == [speaker]


def test_sentences_of_one_name_belong_to_their_own_speakers(corpus):
    corpus("s1", "s1", ALIGN.replace("blue", "green"))
    folder, _ = corpus("s2", "s2")
    _, output = prepare(grid, folder)
    colours = {(clip["speaker"], grid.WORDS[clip["word"]]) for clip in records(output) if b"/2_" in clip["clip_id"]}
    assert colours == {(0, "green"), (1, "blue")}


def test_no_sentence_and_if_wanted_no_speaker_is_in_two_splits(tmp_path):
    for speaker in range(1, 11):
        for sentence in range(4):
            path = tmp_path / f"s{speaker}" / f"{sentence}.mp4"
            path.parent.mkdir(exist_ok=True)
            path.touch()
    flags = {"input": tmp_path, "image_size": 64, "seed": 0}
    for by, sizes in (("sentence", [32, 4, 4]), ("speaker", [32, 4, 4])):
        plan = grid.make_plan(grid.Namespace(split_by=by, **clips.TRACKING, **flags))
        splits = {name: [item for shard in shards for item in shard] for name, shards in plan.splits.items()}
        assert [len(items) for items in splits.values()] == sizes
        assert len({item["video"] for items in splits.values() for item in items}) == 40
        speakers = [{item["speaker"] for item in items} for items in splits.values()]
        assert (sum(map(len, speakers)) == 10) == (by == "speaker")


def test_invalid_labels_are_rejected_and_the_other_words_are_kept(corpus):
    invalid = {  # by speaker: text of the .align file, rejected file, reason, words that remain
        "s1": (None, "s1/bbaf2n.mp4", "its .align file is missing", 0),
        "s2": ("", "s2/bbaf2n.align", "holds no words", 0),
        "s3": ("0 50000 sil\n", "s3/bbaf2n.align", "holds no words", 0),
        "s4": (ALIGN.replace("blue", "purple"), "s4/bbaf2n.align (line 3)", "'purple' is none of the corpus's 51", 5),
        "s5": (ALIGN.replace("22500 bin", "bin"), "s5/bbaf2n.align (line 2)", "is not `start end word`", 5),
        "s6": (ALIGN.replace("22500 bin", "17000 bin"), "s6/bbaf2n.align (line 2)", "before it starts", 5),
        "s7": (ALIGN.replace("44000 now", "74000 now"), "s7/bbaf2n.mp4 (s7/bbaf2n/7_now)", "the video has 50", 5),
    }
    for speaker, (text, *_) in invalid.items():
        folder, _ = corpus(speaker, speaker, text)
    status, output = prepare(grid, folder)
    assert status == 0
    reasons = {rejection["file"]: rejection["reason"] for rejection in rejections(output)}
    assert reasons.keys() == {file for _, file, _, _ in invalid.values()}
    assert all(reason in reasons[file] for _, file, reason, _ in invalid.values())
    speakers = [dataset(output).info.features["speaker"].names[record["speaker"]] for record in records(output)]
    assert {name: speakers.count(name) for name in invalid} == {name: left for name, (*_, left) in invalid.items()}


def test_a_second_file_of_a_sentence_and_a_label_without_its_video_are_rejected(corpus, write_video):
    folder, path = corpus()
    write_video(path.parent / "again" / path.name, frames=50)
    (path.parent / "lost1n.align").write_text(ALIGN)
    _, output = prepare(grid, folder)
    assert len(records(output)) == 6
    assert {(line["file"], line["reason"]) for line in rejections(output)} == {
        ("s1/bbaf2n.mp4", "is the same sentence as s1/again/bbaf2n.mp4"),
        ("s1/lost1n.align", "its video is missing"),
    }


def test_a_folder_without_videos_is_an_error(tmp_path, capsys):
    (tmp_path / "grid").mkdir()
    status, _ = prepare(grid, tmp_path / "grid")
    assert status == 1
    assert "holds no .mp4 or .mpg" in capsys.readouterr().err


@pytest.mark.skipif(not GRID.is_dir(), reason=f"real recordings are not there: {GRID}")
def test_a_real_sentence_in_its_original_mpg(tmp_path):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "s3").symlink_to(GRID / "s3")
    status, output = prepare(grid, tmp_path / "grid")
    assert status == 0
    clips = records(output)
    assert [grid.WORDS[clip["word"]] for clip in clips] == ["set", "blue", "in", "a", "one", "again"]
    for clip in clips:
        measures = json.loads(clip["measures"])
        assert measures["found"] == 1
        assert measures["jitter"] < 1
        assert clip["audio"].shape == (29 * 640,)
        assert measures["loudness"] > -50

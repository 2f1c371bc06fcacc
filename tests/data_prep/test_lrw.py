"""LRW's layout, from a folder to a TFDS dataset."""

import json

import numpy as np
import pytest

from data_prep import lrw
from support.preparation import dataset, prepare, records, rejections

pytestmark = pytest.mark.usefixtures("one_face")


@pytest.fixture(scope="module")
def make_clip(write_video):
    """`make_clip(path, duration, known)` writes a clip with its `.txt` and, if anything is known of it, its `.json`."""

    def make(path, duration="0.41", known=None):
        write_video(path)
        header = "Disk reference: 1\nChannel: x\nProgram start: 1\nClip start: 1\n"
        path.with_suffix(".txt").write_text(f"{header}Duration: {duration} seconds\n")
        if known:
            path.with_suffix(".json").write_text(json.dumps(known))

    return make


@pytest.fixture
def corpus(tmp_path, make_clip):
    """Two words; in train a clip with known labels and one without, and one clip each in val and test."""
    folder = tmp_path / "lipread_mp4"

    points = np.tile([[60, 50], [100, 50], [80, 72], [65, 88], [95, 88]], (29, 1, 1)).tolist()
    opening = np.linspace(0, 1, 29).tolist()
    known = {"speaker": "p003", "points": points, "mouth_opening": opening}
    make_clip(folder / "ABOUT/train/ABOUT_00001.mp4")
    make_clip(folder / "YOUNG/train/YOUNG_00001.mp4", "0.5", known)
    make_clip(folder / "ABOUT/val/ABOUT_00001.mp4")
    make_clip(folder / "YOUNG/test/YOUNG_00001.mp4", known={"speaker": "p001"})
    (folder / "ABOUT/val/._ABOUT_00001.mp4").touch()  # some systems leave such files; it is not a clip
    return folder


def test_a_corpus_becomes_a_dataset_with_its_splits_and_labels(corpus, capsys):
    status, output = prepare(lrw, corpus)
    assert status == 0
    builder = dataset(output)
    assert builder.info.features["word"].names == ["ABOUT", "YOUNG"]
    assert builder.info.features["speaker"].names == ["p001", "p003"]
    splits = {name: list(builder.as_data_source(name)) for name in ("train", "val", "test")}
    assert [len(records) for records in splits.values()] == [2, 1, 1]
    plain, known = sorted(splits["train"], key=lambda record: record["clip_id"])
    assert (plain["clip_id"], plain["word"], plain["speaker"]) == (b"ABOUT/train/ABOUT_00001", 0, -1)
    assert (known["clip_id"], known["word"], known["speaker"]) == (b"YOUNG/train/YOUNG_00001", 1, 1)
    assert plain["mouth_opening"].shape == (0,)
    np.testing.assert_allclose(known["mouth_opening"], np.linspace(0, 1, 29), atol=1e-6)
    assert json.loads(known["measures"])["duration"] == 0.5
    assert (splits["test"][0]["speaker"], splits["val"][0]["word"]) == (0, 0)
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert table[:5] == [["split", "records"], ["train", "2"], ["val", "1"], ["test", "1"], []]


def test_a_finished_preparation_makes_nothing_again(corpus):
    _, output = prepare(lrw, corpus)
    before = {path.name: path.stat().st_mtime_ns for path in output.glob("*array_record*")}
    assert prepare(lrw, corpus)[0] == 0
    assert before == {path.name: path.stat().st_mtime_ns for path in output.glob("*array_record*")}


def test_only_the_requested_words_are_prepared(corpus):
    status, output = prepare(lrw, corpus, "--words", "YOUNG")
    assert status == 0
    assert dataset(output).info.features["word"].names == ["YOUNG"]
    splits = dataset(output).info.splits
    assert {name: split.num_examples for name, split in splits.items()} == {"train": 1, "test": 1}


def test_clips_with_invalid_labels_are_rejected(tmp_path, make_clip, capsys):
    invalid = [
        (".txt", None, "YOUNG_00000.txt is missing"),
        (".txt", "Duration: long\n", "YOUNG_00001.txt has no line `Duration: x.xx seconds`"),
        (".json", "{", "YOUNG_00002.json cannot be read"),
        (".json", "[]", "YOUNG_00003.json cannot be read"),
        (".json", '{"points": [[1, 2]]}', "points are [1, 2], not [T, 5, 2]"),
        (".json", '{"mouth_opening": [NaN]}', "not finite"),
    ]
    folder = tmp_path / "lipread_mp4"
    for i in range(len(invalid) + 1):  # the last one is valid
        make_clip(folder / f"YOUNG/train/YOUNG_{i:05d}.mp4")
    for i, (suffix, content, _) in enumerate(invalid):
        path = folder / f"YOUNG/train/YOUNG_{i:05d}{suffix}"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
    status, output = prepare(lrw, folder)
    assert status == 0
    found = {rejection["file"]: rejection for rejection in rejections(output)}
    assert sorted(found) == [f"YOUNG/train/YOUNG_{i:05d}.mp4" for i in range(len(invalid))]
    assert {rejection["stage"] for rejection in found.values()} == {"label"}
    for (_, _, reason), file in zip(invalid, sorted(found), strict=True):
        assert reason in found[file]["reason"]
    assert len(records(output)) == 1
    assert "rejected: label" in capsys.readouterr().out


def test_files_without_a_video_are_rejected(corpus):
    (corpus / "ABOUT/val/ABOUT_00002.txt").write_text("Duration: 0.4 seconds\n")
    (corpus / "YOUNG/train/YOUNG_00002.MOV").write_bytes(b"video")
    status, output = prepare(lrw, corpus)
    assert status == 0
    lost = rejections(output)
    assert [rejection["file"] for rejection in lost] == ["YOUNG/train/YOUNG_00002.MOV", "ABOUT/val/ABOUT_00002.txt"]
    assert {rejection["reason"] for rejection in lost} == {"there is no .mp4 of its name"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--words", "YUONG"], "has no such word; it has YOUNG"),
        (["--input", "nowhere"], "--input nowhere: no such folder"),
        (["--input", "{}/ABOUT"], "give the folder lipread_mp4"),
        (["--output", "{}"], "is not empty"),
    ],
)
def test_invalid_folders_and_words_are_refused_in_one_sentence(corpus, capsys, arguments, message):
    status, _ = prepare(lrw, corpus, *(argument.format(corpus) for argument in arguments))
    error = capsys.readouterr().err.strip()
    assert status == 1
    assert message in error
    assert len(error.splitlines()) == 1


def test_other_options_on_the_same_output_are_refused(corpus, capsys):
    prepare(lrw, corpus)
    status, _ = prepare(lrw, corpus, "--image-size", "128")
    assert status == 1
    assert "image_size was 64, now is 128" in capsys.readouterr().err
    assert prepare(lrw, corpus, "--image-size", "128", "--overwrite")[0] == 0


@pytest.mark.parametrize("arguments", [["--workers", "0"], ["--image-size", "100"], []])
def test_invalid_flags_are_refused_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        lrw.main(["--output", "out", *arguments])
    assert "usage:" in capsys.readouterr().err

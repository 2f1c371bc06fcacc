"""LRW's layout, from a folder to a TFDS dataset."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep import lrw

pytestmark = pytest.mark.usefixtures("one_face")


@pytest.fixture
def corpus(tmp_path, write_video):
    """Two words; in train a clip with and one without what is known of it, one clip each in val and test."""

    def clip(name, duration="0.41", known=None):
        path = write_video(tmp_path / "lipread_mp4" / name)
        header = "Disk reference: 1\nChannel: x\nProgram start: 1\nClip start: 1\n"
        path.with_suffix(".txt").write_text(f"{header}Duration: {duration} seconds\n")
        if known:
            path.with_suffix(".json").write_text(json.dumps(known))

    points = np.tile([[60, 50], [100, 50], [80, 72], [65, 88], [95, 88]], (29, 1, 1)).tolist()
    opening = np.linspace(0, 1, 29).tolist()
    clip("ABOUT/train/ABOUT_00001.mp4")
    clip("YOUNG/train/YOUNG_00001.mp4", "0.5", {"speaker": "p003", "points": points, "mouth_opening": opening})
    clip("ABOUT/val/ABOUT_00001.mp4")
    clip("YOUNG/test/YOUNG_00001.mp4", known={"speaker": "p001"})
    (tmp_path / "lipread_mp4/ABOUT/val/._ABOUT_00001.mp4").touch()  # as some systems leave behind; no clip
    return tmp_path / "lipread_mp4"


def run(corpus, *more):
    output = corpus.parent / "out"
    arguments = [
        "--input",
        str(corpus),
        "--output",
        str(output),
        "--image-size",
        "64",
        "--workers",
        "1",
        *more,
    ]
    return lrw.main(arguments), output


def test_a_corpus_becomes_a_dataset_with_its_splits_labels_and_what_is_known(corpus, capsys):
    status, output = run(corpus)
    assert status == 0
    builder = tfds.builder_from_directory(str(output))
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


def test_run_again_it_makes_nothing_anew(corpus):
    _, output = run(corpus)
    before = {path.name: path.stat().st_mtime_ns for path in output.glob("*array_record*")}
    assert run(corpus)[0] == 0
    assert before == {path.name: path.stat().st_mtime_ns for path in output.glob("*array_record*")}


def test_only_the_words_asked_for(corpus):
    status, output = run(corpus, "--words", "YOUNG")
    assert status == 0
    builder = tfds.builder_from_directory(str(output))
    assert builder.info.features["word"].names == ["YOUNG"]
    assert {name: len(builder.as_data_source(name)) for name in builder.info.splits} == {
        "train": 1,
        "test": 1,
    }


@pytest.mark.parametrize(
    ("suffix", "content", "reason"),
    [
        (".txt", None, "YOUNG_00001.txt is missing"),
        (".txt", "Duration: long\n", "YOUNG_00001.txt has no line `Duration: x.xx seconds`"),
        (".json", "{", "YOUNG_00001.json cannot be read"),
        (".json", "[]", "YOUNG_00001.json cannot be read"),
        (".json", '{"points": [[1, 2]]}', "points are [1, 2], not [T, 5, 2]"),
        (".json", '{"mouth_opening": [NaN]}', "not finite"),
    ],
)
def test_a_clip_whose_labels_cannot_be_read_is_rejected(corpus, capsys, suffix, content, reason):
    path = corpus / f"YOUNG/train/YOUNG_00001{suffix}"
    path.unlink()
    if content is not None:
        path.write_text(content)
    status, output = run(corpus)
    assert status == 0
    (rejection,) = map(json.loads, (output / "rejected.jsonl").read_text().splitlines())
    assert (rejection["file"], rejection["stage"]) == ("YOUNG/train/YOUNG_00001.mp4", "label")
    assert reason in rejection["reason"]
    assert "rejected: label" in capsys.readouterr().out


def test_files_that_belong_to_no_video_are_rejected(corpus):
    (corpus / "ABOUT/val/ABOUT_00002.txt").write_text("Duration: 0.4 seconds\n")
    (corpus / "YOUNG/train/YOUNG_00002.MOV").write_bytes(b"video")
    status, output = run(corpus)
    assert status == 0
    lost = list(map(json.loads, (output / "rejected.jsonl").read_text().splitlines()))
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
def test_what_cannot_be_done_is_said_in_one_sentence(corpus, capsys, arguments, message):
    status, _ = run(corpus, *(argument.format(corpus) for argument in arguments))
    error = capsys.readouterr().err.strip()
    assert status == 1
    assert message in error
    assert len(error.splitlines()) == 1


def test_other_options_on_the_same_output_are_refused(corpus, capsys):
    run(corpus)
    status, _ = run(corpus, "--image-size", "128")
    assert status == 1
    assert "image_size was 64, now is 128" in capsys.readouterr().err
    assert run(corpus, "--image-size", "128", "--overwrite")[0] == 0


@pytest.mark.parametrize("arguments", [["--workers", "0"], ["--image-size", "100"], []])
def test_impossible_flags_are_refused_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        lrw.main(["--output", "out", *arguments])
    assert "usage:" in capsys.readouterr().err

"""Folders of identities to identity shards."""

import io
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from data_prep import faces
from support.recordings import RECORDINGS

LFW = RECORDINGS / "faces" / "lfw"

pytestmark = pytest.mark.usefixtures("one_face")


@pytest.fixture
def corpus(tmp_path):
    """Two identities with three photos each, of their own gray."""
    for name, level in (("Zoe", 200), ("Ada", 60)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(3):
            photo = Image.new("RGB", (160, 140), (level, level, level))
            photo.save(tmp_path / "photos" / name / f"{i}.{'png' if i else 'jpg'}")
    return tmp_path / "photos"


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
    return faces.main(arguments), output


def rejections(output):
    return [json.loads(line) for line in (output / "rejected.jsonl").read_text().splitlines()]


def pixels(record):
    return np.asarray(Image.open(io.BytesIO(record["image"])))


def test_photos_become_aligned_records_labelled_by_their_folder(corpus):
    status, output = run(corpus)
    assert status == 0
    builder = tfds.builder_from_directory(str(output))
    assert builder.info.features["identity"].names == ["Ada", "Zoe"]
    records = {record["face_id"]: record for record in builder.as_data_source("train")}
    assert sorted(records) == [b"Ada/0", b"Ada/1", b"Ada/2", b"Zoe/0", b"Zoe/1", b"Zoe/2"]
    for name, record in records.items():
        assert record["identity"] == (name[:3] == b"Zoe")
        assert pixels(record).shape == (65, 65, 3)
        assert abs(pixels(record)[32, 32].mean() - (200 if record["identity"] else 60)) < 3


def test_a_job_array_is_finished_by_the_command_without_a_part(corpus, capsys):
    for task in range(2):
        assert run(corpus, "--shard", f"{task}/2")[0] == 0
        assert not (corpus.parent / "out" / "dataset_info.json").exists()
    status, output = run(corpus)
    assert status == 0
    assert len(tfds.builder_from_directory(str(output)).as_data_source("train")) == 6
    assert run(corpus, "--shard", "0/2", "--overwrite")[0] == 1
    assert "would delete what other tasks" in capsys.readouterr().err
    for wrong in ("2/2", "1", "a/b"):
        with pytest.raises(SystemExit, match="2"):
            run(corpus, "--shard", wrong)


def test_a_share_of_the_photos_goes_into_val(corpus):
    _, output = run(corpus, "--val-fraction", "0.34")
    builder = tfds.builder_from_directory(str(output))
    assert {split: len(builder.as_data_source(split)) for split in builder.info.splits} == {
        "train": 4,
        "val": 2,
    }


def test_known_points_are_used_instead_of_detection(corpus, one_face, points):
    (corpus / "Ada" / "0.json").write_text(json.dumps({"points": points.tolist()}))
    one_face(0)
    status, output = run(corpus)
    assert status == 0
    (record,) = tfds.builder_from_directory(str(output)).as_data_source("train")
    assert record["face_id"] == b"Ada/0"
    assert {rejection["stage"] for rejection in rejections(output)} == {"face"}
    assert len(rejections(output)) == 5


@pytest.mark.parametrize(
    ("name", "content", "stage"),
    [
        ("1.png", b"", "read"),
        ("1.png", b"not a picture", "read"),
        ("1.json", b"{", "label"),
        ("1.json", b'{"points": [[1, 2]]}', "label"),
        ("1.json", b"{}", "label"),
        ("1.json", b"[]", "label"),
    ],
)
def test_a_photo_that_cannot_be_used_is_rejected_and_the_others_are_kept(corpus, name, content, stage):
    (corpus / "Ada" / name).write_bytes(content)
    status, output = run(corpus)
    assert status == 0
    (rejection,) = rejections(output)
    assert (rejection["file"], rejection["stage"]) == ("Ada/1.png", stage)
    assert rejection["reason"]
    assert rejection["remedy"]
    assert len(tfds.builder_from_directory(str(output)).as_data_source("train")) == 5


def test_what_lies_beside_the_photos_is_rejected(corpus):
    (corpus / "Ada" / "3.tiff").write_bytes(b"photo")
    (corpus / "Ada" / "more").mkdir()
    (corpus / "Ada" / "more" / "9.jpg").write_bytes(b"")
    (corpus / "nobody.jpg").write_bytes(b"photo")
    (corpus / "README").write_text("not a photo")
    _, output = run(corpus)
    assert {(line["file"], line["reason"]) for line in rejections(output)} == {
        ("Ada/3.tiff", "is none of .jpg, .jpeg, .png"),
        ("Ada/more", "is a folder within an identity's"),
        ("nobody.jpg", "lies in no identity's folder"),
    }
    assert all(line["stage"] and line["remedy"] for line in rejections(output))


def test_a_truncated_photo_is_rejected(corpus):
    path = corpus / "Ada" / "0.jpg"
    Image.effect_noise((160, 140), 60).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:3000])
    _, output = run(corpus)
    assert [rejection["file"] for rejection in rejections(output)] == ["Ada/0.jpg"]


@pytest.mark.parametrize("flags", [["--val-fraction", "1"], ["--val-fraction", "-0.1"], ["--val-fraction", "x"]])
def test_an_impossible_share_is_refused(corpus, flags, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(corpus, *flags)
    assert "--val-fraction" in capsys.readouterr().err


def test_a_folder_without_photos_is_an_error(tmp_path, capsys):
    (tmp_path / "photos" / "Ada").mkdir(parents=True)
    assert run(tmp_path / "photos")[0] == 1
    assert "one folder for each identity" in capsys.readouterr().err


@pytest.mark.skipif(not LFW.is_dir(), reason=f"real photos are not there: {LFW}")
def test_real_photos_are_found_and_centred(tmp_path, monkeypatch):
    monkeypatch.undo()  # the real detector
    (tmp_path / "lfw").mkdir()
    (tmp_path / "lfw" / "Tony_Blair").symlink_to(LFW / "Tony_Blair")
    status, output = run(tmp_path / "lfw")
    assert status == 0
    assert len(tfds.builder_from_directory(str(output)).as_data_source("train")) == 10

"""Folders of identities to identity shards."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

from data_prep import faces
from support.preparation import dataset, prepare, records, rejections
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


def pixels(record):
    return np.asarray(Image.open(io.BytesIO(record["image"])))


def test_photos_become_aligned_records_labelled_by_their_folder(corpus):
    status, output = prepare(faces, corpus)
    assert status == 0
    assert dataset(output).info.features["identity"].names == ["Ada", "Zoe"]
    found = {record["face_id"]: record for record in records(output)}
    assert list(found) == [b"Ada/0", b"Ada/1", b"Ada/2", b"Zoe/0", b"Zoe/1", b"Zoe/2"]
    for name, record in found.items():
        assert record["identity"] == (name[:3] == b"Zoe")
        assert pixels(record).shape == (65, 65, 3)
        assert abs(pixels(record)[32, 32].mean() - (200 if record["identity"] else 60)) < 3


def test_a_job_array_is_finished_by_the_command_without_shard(corpus, capsys):
    for task in range(2):
        assert prepare(faces, corpus, "--shard", f"{task}/2")[0] == 0
        assert not (corpus.parent / "out" / "dataset_info.json").exists()
    status, output = prepare(faces, corpus)
    assert status == 0
    assert len(records(output)) == 6
    assert prepare(faces, corpus, "--shard", "0/2", "--overwrite")[0] == 1
    assert "would delete what other tasks" in capsys.readouterr().err
    for wrong in ("2/2", "1", "a/b"):
        with pytest.raises(SystemExit, match="2"):
            prepare(faces, corpus, "--shard", wrong)


def test_a_share_of_the_photos_goes_into_val(corpus):
    _, output = prepare(faces, corpus, "--val-fraction", "0.34")
    splits = dataset(output).info.splits
    assert {name: split.num_examples for name, split in splits.items()} == {"train": 4, "val": 2}


def test_known_points_are_used_instead_of_detection(corpus, one_face, points):
    (corpus / "Ada" / "0.json").write_text(json.dumps({"points": points.tolist()}))
    one_face(0)
    status, output = prepare(faces, corpus)
    assert status == 0
    (record,) = records(output)
    assert record["face_id"] == b"Ada/0"
    assert {rejection["stage"] for rejection in rejections(output)} == {"face"}
    assert len(rejections(output)) == 5


def test_invalid_photos_are_rejected_and_the_others_are_kept(corpus):
    invalid = {
        "empty": (".png", b"", "read"),
        "text": (".png", b"not an image", "read"),
        "no json": (".json", b"{", "label"),
        "one point": (".json", b'{"points": [[1, 2]]}', "label"),
        "no points": (".json", b"{}", "label"),
        "no object": (".json", b"[]", "label"),
    }
    for name, (suffix, content, _) in invalid.items():
        (corpus / "Ada" / f"{name}.png").write_bytes((corpus / "Ada" / "1.png").read_bytes())
        (corpus / "Ada" / f"{name}{suffix}").write_bytes(content)
    status, output = prepare(faces, corpus)
    assert status == 0
    stages = {f"Ada/{name}.png": stage for name, (_, _, stage) in invalid.items()}
    assert {rejection["file"]: rejection["stage"] for rejection in rejections(output)} == stages
    assert all(rejection["reason"] and rejection["remedy"] for rejection in rejections(output))
    assert len(records(output)) == 6


def test_other_files_beside_the_photos_are_rejected(corpus):
    (corpus / "Ada" / "3.tiff").write_bytes(b"photo")
    (corpus / "Ada" / "more").mkdir()
    (corpus / "Ada" / "more" / "9.jpg").write_bytes(b"")
    (corpus / "nobody.jpg").write_bytes(b"photo")
    (corpus / "README").write_text("not a photo")
    _, output = prepare(faces, corpus)
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
    _, output = prepare(faces, corpus)
    assert [rejection["file"] for rejection in rejections(output)] == ["Ada/0.jpg"]


@pytest.mark.parametrize("flags", [["--val-fraction", "1"], ["--val-fraction", "-0.1"], ["--val-fraction", "x"]])
def test_an_invalid_fraction_is_refused(corpus, flags, capsys):
    with pytest.raises(SystemExit, match="2"):
        prepare(faces, corpus, *flags)
    assert "--val-fraction" in capsys.readouterr().err


def test_a_folder_without_photos_is_an_error(tmp_path, capsys):
    (tmp_path / "photos" / "Ada").mkdir(parents=True)
    assert prepare(faces, tmp_path / "photos")[0] == 1
    assert "one folder for each identity" in capsys.readouterr().err


@pytest.mark.skipif(not LFW.is_dir(), reason=f"real photos are not there: {LFW}")
def test_faces_in_real_photos_are_found(tmp_path, monkeypatch):
    monkeypatch.undo()  # the real detector
    (tmp_path / "lfw").mkdir()
    (tmp_path / "lfw" / "Tony_Blair").symlink_to(LFW / "Tony_Blair")
    status, output = prepare(faces, tmp_path / "lfw")
    assert status == 0
    assert len(records(output)) == 10


def test_a_photo_that_lies_gives_the_record_of_the_upright_one(tmp_path, monkeypatch):
    monkeypatch.undo()  # the real detector
    upright = Image.fromarray(data.astronaut()[:300, 75:375])
    (tmp_path / "photos" / "Eileen").mkdir(parents=True)
    for quarters in range(4):
        upright.rotate(90 * quarters).save(tmp_path / "photos" / "Eileen" / f"{quarters}.png")
    status, output = prepare(faces, tmp_path / "photos")
    assert status == 0
    images = [pixels(record).astype(int) for record in records(output)]
    assert len(images) == 4
    assert max(np.abs(image - images[0]).mean() for image in images) < 3

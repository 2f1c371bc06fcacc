"""Folders in a bucket, and local ones with a loop of links."""

import hashlib
import os

import pytest

from data_prep import faces, folders, grid, report
from davs_jax.data import sources
from support.preparation import contents, rejections

FLAGS = ("--image-size", "64", "--workers")


@pytest.fixture
def corpus(tmp_path, write_photos):
    return write_photos(tmp_path / "in", 9, "{} é.png")


def upload(objects, corpus, to):
    objects |= {f"{to}/{file}": (corpus / file).read_bytes() for file in folders.files(corpus)}


def hashes(objects, folder):
    inside = {name.removeprefix(f"{folder}/"): data for name, data in objects.items() if name.startswith(f"{folder}/")}
    return {name: hashlib.sha256(data).hexdigest() for name, data in inside.items()}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_from_bucket_to_bucket_the_shards_are_those_of_a_disk(bucket, corpus, tmp_path, workers, capsys):
    upload(bucket, corpus, "store/in")
    assert faces.main(["--input", str(corpus), "--output", str(tmp_path / "out"), *FLAGS, "1"]) == 0
    arguments = ["--input", "gs://store/in", "--output", "gs://store/made/out", *FLAGS, workers]
    assert faces.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "the report: gs://store/made/out/report.html" in printed
    local, remote = contents(tmp_path / "out"), hashes(bucket, "store/made/out")
    assert local.keys() == remote.keys()
    assert {name for name in local if local[name] != remote[name]} == {
        "plan.json",
        "report.html",
    }  # they name the input

    assert len(sources.open_faces("gs://store/made/out", "train")) == 8
    assert report.main(["gs://store/made/out"]) == 0
    before = dict(bucket)
    assert faces.main(arguments) == 0  # all is made already
    assert bucket == before


def test_a_stopped_preparation_resumes_in_the_bucket(bucket, corpus, capsys):
    arguments = ["--input", str(corpus), "--output", "gs://store/out", *FLAGS, "1"]
    assert faces.main([*arguments, "--shard", "0/2"]) == 0
    assert [name for name in bucket if "array_record" in name] == ["store/out/faces-train.array_record-00000-of-00002"]
    assert faces.main(arguments) == 0
    bucket["store/out/faces-train.array_record-00000-of-00002"] += b"and more"
    assert faces.main(arguments) == 1
    assert "delete gs://store/out/shards/train-00000-of-00002.json and run" in capsys.readouterr().err
    assert faces.main([*arguments, "--overwrite"]) == 0
    assert not [name for name in bucket if ".part-" in name]


def test_videos_are_fetched_one_by_one(bucket, tmp_path, write_video, one_face, capsys):
    sentence = write_video(tmp_path / "s1" / "bbaf2n.mp4", frames=75)
    bucket["store/grid/s1/bbaf2n.mp4"] = sentence.read_bytes()
    bucket["store/grid/align/s1/bbaf2n.align"] = b"0 17000 sil\n17000 23000 bin\n23000 28000 blue\n28000 75000 sil\n"
    bucket["store/grid/s1/bbaf3n.mp4"] = b"damaged"
    bucket["store/grid/s1/bbaf3n.align"] = b"17000 23000 bin\n"
    assert grid.main(["--input", "gs://store/grid", "--output", str(tmp_path / "out"), *FLAGS, "1"]) == 0
    (rejected,) = rejections(tmp_path / "out")
    assert rejected["file"] == "s1/bbaf3n.mp4" and "cannot be read as audio or video" in rejected["reason"]
    assert len(sources.open_clips(str(tmp_path / "out"), "val")) == 2


def test_a_bucket_that_fails_stops_the_run_and_rejects_nothing(bucket, corpus, tmp_path, monkeypatch, capsys):
    upload(bucket, corpus, "store/in")
    read = folders.epath.gpath.PosixGPath.read_bytes

    def fails(path):
        if path.name == "4 é.png":
            raise RuntimeError("503, try again later")
        return read(path)

    monkeypatch.setattr(folders.epath.gpath.PosixGPath, "read_bytes", fails)
    assert faces.main(["--input", "gs://store/in", "--output", str(tmp_path / "out"), *FLAGS, "1"]) == 1
    assert "4 é.png: cannot be reached (503, try again later); check" in capsys.readouterr().err
    assert not (tmp_path / "out" / "rejected.jsonl").exists()


@pytest.mark.parametrize(
    ("flag", "address", "said"),
    [
        ("--input", "ftp://host/in", "unknown scheme ftp://"),
        ("--output", "az://store/out", "shards can be read only from a disk or gs://"),
        ("--input", "az://store/in", "az:// needs the package adlfs; pip install adlfs"),
    ],
)
def test_an_invalid_address_is_refused_in_one_sentence(corpus, tmp_path, monkeypatch, flag, address, said, capsys):
    find = folders.importlib.util.find_spec
    monkeypatch.setattr(folders.importlib.util, "find_spec", lambda name: None if name == "adlfs" else find(name))
    monkeypatch.setitem(folders.LAYERS, "az", "adlfs" if flag == "--input" else "fsspec")
    usual = {"--input": str(corpus), "--output": str(tmp_path / "out")}
    assert faces.main([*(word for pair in (usual | {flag: address}).items() for word in pair), *FLAGS, "1"]) == 1
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_links_are_followed_and_a_loop_of_them_does_no_harm(tmp_path):
    for file in ("real/s1/a.mp4", "real/s1/.hidden", "elsewhere/b.mp4"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    os.symlink(tmp_path / "elsewhere", tmp_path / "real" / "s2")
    os.symlink(tmp_path / "real", tmp_path / "real" / "s1" / "loop")
    os.symlink("self.mp4", tmp_path / "real" / "self.mp4")
    assert folders.files(tmp_path / "real") == ["s1/a.mp4", "s2/b.mp4", "self.mp4"]

"""The page and the table at the end of a preparation, and the measures that they show."""

import hashlib
import json
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from data_prep import clips, faces, grid, measures, report
from data_prep.tally import Tally

ALIGN = "0 17000 sil\n17000 23000 bin\n23000 28000 <blue\n28000 33000 at\n33000 38000 f\n38000 75000 sil\n"


@pytest.fixture
def talking(tmp_path, write_video, one_face):
    """A prepared corpus of one sentence: three clips, and one line of its labels that is no word."""
    path = write_video(tmp_path / "grid" / "s1" / "bbaf2n.mp4", frames=75)
    path.with_suffix(".align").write_text(ALIGN)
    return tmp_path


def prepare(folder, source=grid, workers="1", output="out", more=()):
    flags = ("--output", str(folder / output), "--image-size", "64", "--workers", workers, *more)
    return source.main(["--input", str(folder / "grid"), *flags])


def page(folder, output="out"):
    return (folder / output / "report.html").read_text()


def contents(folder):
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_page_shows_counts_rejections_measures_and_pictures(talking, capsys):
    assert prepare(talking) == 0
    shown = page(talking)
    assert "<td>train</td><td>3</td><td>1</td>" in shown
    assert "<td>bin</td><td>1</td>" in shown
    assert "<td>s1</td><td>3</td>" in shown
    assert "is none of the corpus&#x27;s … words<small>correct it</small></td><td>label</td><td>1</td>" in shown
    for title in ("face size, px", "sharpness (low: blur)", "loudness, dBFS", "jitter, %", "offset hint"):
        assert title in shown
    assert "A hint, not a measurement" in shown
    assert shown.count("data:image/png;base64,") == 1 + 3 + 2  # the sheet, three clips with landmarks, two plots
    printed = capsys.readouterr().out
    assert re.search(r"train +3 +1\n", printed)
    assert re.search(r"face size, px +13\d +13\d +13\d\n", printed)
    assert str(talking / "out" / "report.html") in printed


def test_the_page_needs_nothing_from_elsewhere_and_names_cannot_break_it(talking):
    prepare(talking)
    shown = page(talking)
    assert not re.search(r"(?:src|href)=\"(?!data:)|url\(|<script|@import", shown)
    assert "<blue" not in shown


def test_a_finished_command_and_the_report_command_write_the_same_page_again(talking, capsys):
    prepare(talking)
    before, printed = page(talking), capsys.readouterr().out
    assert prepare(talking) == 0
    assert (page(talking), capsys.readouterr().out) == (before, printed)
    (talking / "out" / "report.html").unlink()
    assert report.main([str(talking / "out")]) == 0
    assert (page(talking), capsys.readouterr().out) == (before, printed)


def test_what_nobody_finished_has_no_report(talking, capsys):
    assert report.main([str(talking)]) == 1
    assert "no preparation" in capsys.readouterr().err
    prepare(talking)
    next((talking / "out" / "shards").iterdir()).unlink()
    assert report.main([str(talking / "out")]) == 1
    assert "is not made yet" in capsys.readouterr().err


def test_records_from_before_there_were_measures_are_counted_all_the_same(talking, monkeypatch):
    monkeypatch.setattr(clips, "_measured", lambda *_: {})
    assert prepare(talking) == 0
    assert "<td>train</td><td>3</td>" in page(talking)
    assert "Sound against picture" not in page(talking)


@pytest.fixture
def photos(tmp_path, points):
    """Ten photos of two people, their points known, so that no process needs a detector."""
    for i in range(10):
        path = tmp_path / "grid" / "AB"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((160, 140), 60).convert("RGB").save(path)
        path.with_suffix(".json").write_text(json.dumps({"points": points.tolist()}))
    (tmp_path / "grid" / "A" / "0.png").write_bytes(b"")
    return tmp_path


def test_identities_get_a_page_of_their_own_kind(photos):
    assert prepare(photos, faces) == 0
    shown = page(photos)
    assert "<td>A</td><td>4</td></tr>" in shown
    assert "<td>B</td><td>5</td></tr>" in shown
    assert "cannot be read as an image" in shown
    assert "face size, px" in shown and "sharpness" in shown
    assert "loudness" not in shown and "Sound against picture" not in shown


def test_processes_and_job_arrays_make_the_same_bytes_report_included(photos):
    prepare(photos, faces, output="one")
    prepare(photos, faces, workers="2", output="pool")
    for task in ("1/2", "0/2"):
        prepare(photos, faces, output="array", more=("--shard", task))
    prepare(photos, faces, output="array")
    assert contents(photos / "one") == contents(photos / "pool") == contents(photos / "array")


def test_starting_anew_leaves_no_old_report(photos):
    prepare(photos, faces)
    for path in (photos / "grid").glob("*/*.png"):
        path.write_bytes(b"")
    assert prepare(photos, faces, more=("--overwrite",)) == 1
    assert not (photos / "out" / "report.html").exists()


@pytest.mark.parametrize("late", [-4, 0, 3])
def test_the_hint_finds_by_how_many_frames_sound_is_late(late):
    rng = np.random.default_rng(0)
    level = cv2.GaussianBlur(rng.random(60), (1, 0), 1.2).ravel() ** 3
    mouths = np.cumsum(level[10:39])[:, None, None] * rng.normal(0, 500, (1, 8, 16))
    sound = np.repeat(level[10 - late : 39 - late], 640) * rng.normal(0, 9000, 29 * 640)
    together = measures.lip_sound(mouths.astype(np.float32), sound.astype(np.int16))
    assert abs(int(together.argmax()) - 5 - late) <= 1  # motion lies between two frames
    assert together.max() > 0.5


def test_still_lips_give_no_hint():
    audio = np.random.default_rng(0).integers(-900, 900, 29 * 640).astype(np.int16)
    assert not measures.lip_sound(np.zeros((29, 8, 16), np.float32), audio).any()


def test_a_face_twice_as_large_measures_twice_as_large(points):
    small, large = (measures.face_size(scale * points[None]) for scale in (1, 2))
    assert large == pytest.approx(2 * small, abs=0.2)


def test_landmarks_are_where_the_aligned_face_shows_them(points):
    picture = np.zeros((140, 160, 3), np.uint8)
    cv2.circle(picture, tuple(points[2].astype(int).tolist()), 5, (255, 255, 255), -1)
    aligned = clips.face.align(picture, points, 65)[16:, 16:, 0] > 150  # the source's edge is gray
    y, x = (16 + np.arange(49) @ aligned.sum(axis) / aligned.sum() for axis in (1, 0))
    (shown,) = measures.aligned_points(points[None], 65)
    np.testing.assert_allclose(shown[2], (x, y), atol=0.6)


def test_blur_lowers_sharpness():
    picture = np.random.default_rng(0).integers(0, 256, (65, 65, 3), np.uint8)
    assert measures.sharpness(cv2.GaussianBlur(picture, (0, 0), 2)) < 0.1 * measures.sharpness(picture)


def test_a_tally_keeps_bars_not_records():
    tally = Tally()
    values = np.random.default_rng(0).uniform(100, 200, 5000)
    for value in values:
        tally.add("train", {"word": 1}, {"face_size": value, "offset_hint": None})
    assert len(tally.bars["face_size"]) < 20
    edges, counts = tally.histogram("face_size")
    assert counts.sum() == 5000 and edges[0] < 100 and edges[-1] > 200
    assert float(tally.quantile("face_size", 0.5)) == pytest.approx(np.median(values), rel=0.05)
    assert tally.classes == {"word": {"train": {1: 5000}}}
    assert "offset_hint" not in tally.bars

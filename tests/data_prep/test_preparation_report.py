"""The page and the tables at the end of a preparation, and the measures that they show."""

import re
import shutil

import cv2
import numpy as np
import pytest

from data_prep import clips, faces, grid, measures, report
from data_prep.tally import Tally
from davs_jax.display import plots
from davs_jax.media.faces import alignment, detectors
from support.preparation import contents, prepare

HISTOGRAMS = plots.histograms
ALIGN = "0 17000 sil\n17000 23000 bin\n23000 28000 <blue\n28000 33000 at\n33000 38000 f\n38000 75000 sil\n"


@pytest.fixture(scope="module")
def talking(tmp_path_factory, write_video, one_face_detector):
    """`talking / "grid"`, one sentence of three words and a line that is no word; `talking / "out"`, its shards."""
    folder = tmp_path_factory.mktemp("talking")
    path = write_video(folder / "grid" / "s1" / "bbaf2n.mp4", frames=75)
    path.with_suffix(".align").write_text(ALIGN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detectors, "detector", lambda name=detectors.DEFAULT: one_face_detector())
        assert prepare(grid, folder / "grid")[0] == 0
    return folder


@pytest.fixture
def copied(talking, tmp_path):
    """A copy of the prepared corpus, to change."""
    return shutil.copytree(talking, tmp_path / "copy")


@pytest.fixture
def with_plots(monkeypatch):
    """Restores the plots that `no_plots` leaves out."""
    monkeypatch.setattr(plots, "histograms", HISTOGRAMS)


def page(folder):
    return (folder / "out" / "report.html").read_text()


def test_the_page_shows_counts_rejections_measures_and_images(talking, with_plots, capsys):
    assert report.main([str(talking / "out")]) == 0
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


def test_the_page_is_self_contained_and_names_cannot_break_it(talking):
    shown = page(talking)
    assert not re.search(r"(?:src|href)=\"(?!data:)|url\(|<script|@import", shown)
    assert "<blue" not in shown


def test_a_finished_command_and_the_report_command_write_the_same_page_again(talking, with_plots, one_face, capsys):
    assert prepare(grid, talking / "grid")[0] == 0
    before, printed = page(talking), capsys.readouterr().out
    (talking / "out" / "report.html").unlink()
    assert report.main([str(talking / "out")]) == 0
    assert (page(talking), capsys.readouterr().out) == (before, printed)


def test_an_unfinished_folder_has_no_report(copied, capsys):
    assert report.main([str(copied)]) == 1
    assert "no preparation" in capsys.readouterr().err
    next((copied / "out" / "shards").iterdir()).unlink()
    assert report.main([str(copied / "out")]) == 1
    assert "is not made yet" in capsys.readouterr().err


def test_records_of_earlier_versions_without_measures_are_counted(talking, tmp_path, one_face, monkeypatch):
    monkeypatch.setattr(clips, "_measured", lambda *_: {})
    assert prepare(grid, talking / "grid", output=tmp_path / "out")[0] == 0
    assert "<td>train</td><td>3</td>" in page(tmp_path)
    assert "Audio-visual offset" not in page(tmp_path)


@pytest.fixture
def photos(tmp_path, write_photos):
    """Ten photos of two people; their points are known, so no process needs a detector."""
    return write_photos(tmp_path / "photos", 10)


def test_identities_get_a_page_of_their_own_kind(photos, tmp_path, with_plots):
    assert prepare(faces, photos)[0] == 0
    shown = page(tmp_path)
    assert "<td>A</td><td>5</td></tr>" in shown
    assert "<td>B</td><td>4</td></tr>" in shown
    assert "cannot be read as an image" in shown
    assert "face size, px" in shown and "sharpness" in shown
    assert "loudness" not in shown and "Audio-visual offset" not in shown


def test_processes_and_job_arrays_make_the_same_bytes_report_included(photos, tmp_path):
    one, pool, array = (tmp_path / name for name in ("one", "pool", "array"))
    prepare(faces, photos, output=one)
    prepare(faces, photos, "--workers", "2", output=pool)
    for task in ("1/2", "0/2"):
        prepare(faces, photos, "--shard", task, output=array)
    prepare(faces, photos, output=array)
    assert contents(one) == contents(pool) == contents(array)


def test_overwrite_leaves_no_old_report(photos, tmp_path):
    prepare(faces, photos)
    for path in photos.glob("*/*.png"):
        path.write_bytes(b"")
    assert prepare(faces, photos, "--overwrite")[0] == 1
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("late", [-4, 0, 3])
def test_the_hint_finds_the_delay_of_the_audio(late):
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
    image = np.zeros((140, 160, 3), np.uint8)
    cv2.circle(image, tuple(points[2].astype(int).tolist()), 5, (255, 255, 255), -1)
    aligned = alignment.align(image, points, 65)[16:, 16:, 0] > 150  # the source's edge is gray
    y, x = (16 + np.arange(49) @ aligned.sum(axis) / aligned.sum() for axis in (1, 0))
    (shown,) = measures.aligned_points(points[None], 65)
    np.testing.assert_allclose(shown[2], (x, y), atol=0.6)


def test_blur_lowers_sharpness():
    image = np.random.default_rng(0).integers(0, 256, (65, 65, 3), np.uint8)
    assert measures.sharpness(cv2.GaussianBlur(image, (0, 0), 2)) < 0.1 * measures.sharpness(image)


def test_the_size_of_a_tally_does_not_grow_with_the_records():
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

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from davs_jax.app import face_picker
from davs_jax.app.face_picker import NAMES, annotated, by_hand, clicked, hint, look
from davs_jax.generate.footage import read_source
from davs_jax.media import images
from davs_jax.media.images import PhotoError
from support.recordings import RECORDINGS

STILLS = RECORDINGS / "stills"


@pytest.fixture(scope="module")
def two_faces(tmp_path_factory) -> Path:
    """A portrait beside itself at 0.7 of its size, 1,500 pixels wide, so that the displayed image is smaller."""
    portrait = Image.fromarray(data.astronaut()[:300, 75:375])
    both = Image.new("RGB", (1500, 800), "gray")
    both.paste(portrait.resize((800, 800)), (0, 0))
    both.paste(portrait.resize((560, 560)), (900, 100))
    both.save(tmp_path_factory.mktemp("photos") / "two.png")
    return tmp_path_factory.getbasetemp() / "photos0" / "two.png"


def shown(choice, x: float, y: float) -> tuple[float, float]:
    """Where a point of the photo lies in the displayed image."""
    scale = choice.image.shape[1] / choice.size[0]
    return x * scale, y * scale


def test_the_largest_face_is_chosen_and_a_click_chooses_another(two_faces):
    choice = look(two_faces)
    assert choice.image.shape[1] == face_picker.LONGEST
    assert len(choice.faces) == 2
    assert choice.complete
    assert choice.points[:, 0].max() < 800
    assert "click on the one" in hint(choice)
    other = clicked(choice, *shown(choice, 1180, 300))
    assert other.points[:, 0].min() > 900
    assert (annotated(other) != annotated(choice)).any()


def test_five_clicks_set_the_points_in_the_photos_own_pixels(two_faces):
    wanted = np.array([[300, 250], [450, 250], [380, 350], [310, 420], [440, 420]], float)
    choice = by_hand(look(two_faces))
    for name, point in zip(NAMES, wanted, strict=True):
        assert not choice.complete
        assert name in hint(choice)
        choice = clicked(choice, *shown(choice, *point))
    assert choice.complete
    np.testing.assert_allclose(choice.points, wanted, atol=0.5)
    moved = clicked(choice, *shown(choice, 390, 360))  # the sixth click moves the nearest one
    np.testing.assert_allclose(moved.points, [*wanted[:2], [390, 360], *wanted[3:]], atol=0.5)


def test_where_no_face_is_found_the_points_are_asked_for(tmp_path):
    Image.new("RGB", (200, 100), "orange").save(tmp_path / "plain.png")
    choice = look(tmp_path / "plain.png")
    assert choice.by_hand
    assert hint(choice).startswith("No face is found")
    assert "left eye" in hint(choice)
    assert not hint(clicked(choice, 50, 50)).startswith("No face")
    assert (annotated(clicked(choice, 50, 50)) != choice.image).any()


def test_clicks_beyond_the_edge_count_as_on_it(tmp_path):
    Image.new("RGB", (20, 10)).save(tmp_path / "small.png")
    assert (clicked(look(tmp_path / "small.png"), 30, -5).points == [[19, 0]]).all()


def test_a_file_that_is_no_image_is_refused(tmp_path):
    (tmp_path / "letter.jpg").write_text("Dear Jane")
    with pytest.raises(PhotoError, match="cannot be read as an image"):
        look(tmp_path / "letter.jpg")


@pytest.mark.skipif(not STILLS.is_dir(), reason=f"the recordings are not there ({STILLS})")
def test_real_stills_are_opened_and_every_one_can_be_clicked_on():
    for path in sorted(path for path in STILLS.iterdir() if path.is_file())[:6]:
        choice = by_hand(look(path))
        for _ in NAMES:
            choice = clicked(choice, 5, 5)
        assert choice.complete


def test_points_of_a_photo_that_is_read_at_half_its_size_are_in_the_files_pixels(two_faces, tmp_path, monkeypatch):
    Image.open(two_faces).save(tmp_path / "two.jpg", quality=95)
    whole = look(tmp_path / "two.jpg")
    monkeypatch.setattr(images, "MOST_PIXELS", 600_000)
    half = look(tmp_path / "two.jpg")
    assert half.size == whole.size == (1500, 800)
    assert np.abs(half.points - whole.points).max() < 12
    photo = read_source(tmp_path / "two.jpg", 64, 1920, half.points)
    assert photo.image.shape == (400, 750, 3)
    monkeypatch.undo()
    assert np.abs(photo.crop.astype(int) - read_source(two_faces, 64, 1920, half.points).crop).mean() < 4


def test_the_hint_says_that_a_photo_whose_face_lies_is_turned(tmp_path):
    Image.fromarray(np.rot90(data.astronaut()[:300, 75:375])).save(tmp_path / "turned.png")
    assert hint(look(tmp_path / "turned.png")) == "The face is found; the photo will be turned upright."

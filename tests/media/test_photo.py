import json

import numpy as np
import pytest
from PIL import Image
from skimage import data

from davs_jax.media.faces import alignment, tracking
from davs_jax.media.faces.alignment import aligned_crop, crop_matrix
from davs_jax.media.faces.turned import quarters_to_upright, turned_points
from davs_jax.media.images import PhotoError, read_image
from davs_jax.media.photo import Photo, parse_points, photo_of, reduced
from support.recordings import RECORDINGS

STILLS, CASES = RECORDINGS / "stills", RECORDINGS / "cases"
ANIMALS = ("dog.jpg", "test_sample4.jpg")
POINTS = np.array([[100, 120], [140, 118], [121, 140], [104, 165], [138, 163]], float)


@pytest.fixture(scope="module")
def portrait():
    return data.astronaut()[:300, 100:350]


def save(image: np.ndarray, path, **options):
    Image.fromarray(image).save(path, **options)
    return path


def read_photo(path, size: int, **known) -> Photo:
    return photo_of(read_image(path), size, name=str(path), **known)


def test_a_face_is_found_and_aligned(portrait, tmp_path):
    photo = read_photo(save(portrait, tmp_path / "a photo.png"), 128)
    assert photo.crop.shape == (128, 128, 3)
    assert not photo.warning
    # eyes and mouth of the crop lie where the template has them
    found = tracking.track(photo.crop[None]).points[0]
    expected = alignment.similarity(photo.points, 130)
    template = photo.points @ expected[:, :2].T + expected[:, 2] - 1
    assert np.abs(found - template).max() < 8


def test_given_points_are_used_as_they_are(portrait, tmp_path):
    photo = read_photo(save(portrait, tmp_path / "p.png"), 64, points=POINTS)
    np.testing.assert_array_equal(photo.crop, alignment.align(portrait, POINTS, 65)[:64, :64])
    np.testing.assert_array_equal(photo.points, POINTS)


@pytest.mark.parametrize(("nose", "warned"), [(0, False), (0.4, False), (0.6, True), (-0.6, True)])
@pytest.mark.parametrize("turn", [0, 30])
def test_a_face_that_looks_to_the_side_is_warned_of(portrait, nose, warned, turn):
    angle = np.radians(turn)
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    face = np.array([[-20, 0], [20, 0], [40 * nose, 20], [-15, 40], [15, 40]])
    photo = photo_of(portrait, 64, points=face @ turned + 130)
    assert ("looks to the side" in photo.warning) == warned


def test_an_image_without_a_face_names_the_remedies(tmp_path):
    path = save(np.full((100, 100, 3), 200, np.uint8), tmp_path / "wall.png")
    with pytest.raises(PhotoError, match=r"wall\.png: no human face was found.*--points.*--aligned") as raised:
        read_photo(path, 64)
    assert "--" not in raised.value.told("page") + raised.value.told("python")


@pytest.mark.skipif(not STILLS.is_dir(), reason=f"real photos are not there: {STILLS}")
def test_people_paintings_and_drawings_are_found_and_animals_need_points():
    for path in (p for p in STILLS.iterdir() if p.is_file()):
        if path.name not in ANIMALS:
            assert read_photo(path, 64).warning == "", path
            continue
        with pytest.raises(PhotoError, match=rf"{path.name}: no human face was found; .*--points \(left eye"):
            read_photo(path, 64)


def test_an_aligned_crop_is_only_resized(portrait, tmp_path):
    crop = read_photo(save(portrait, tmp_path / "p.png"), 256).crop
    photo = read_photo(save(crop, tmp_path / "crop.png"), 64, aligned=True)
    np.testing.assert_array_equal(photo.image, crop)
    assert not photo.warning
    small = np.asarray(Image.fromarray(crop).resize((64, 64), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(photo.crop, small)
    resizing = [[0.25, 0, 0.5 / 4 - 0.5], [0, 0.25, 0.5 / 4 - 0.5]]
    np.testing.assert_allclose(crop_matrix(photo.points, 64), resizing, atol=1e-9)


def test_a_photo_that_is_wrongly_called_aligned_gets_a_warning(portrait, tmp_path):
    photo = read_photo(save(data.astronaut(), tmp_path / "whole.png"), 64, aligned=True)
    assert "leave out --aligned" in photo.warning


def test_an_aligned_crop_must_be_square(portrait, tmp_path):
    with pytest.raises(PhotoError, match="250 × 300 pixels, but an aligned crop is square"):
        read_photo(save(portrait, tmp_path / "p.png"), 64, aligned=True)


def test_points_are_read_as_typed_or_from_json(tmp_path):
    np.testing.assert_array_equal(parse_points([f"{x},{y}" for x, y in POINTS]), POINTS)
    for stored in (POINTS.tolist(), {"points": POINTS.tolist()}):
        (tmp_path / "points.json").write_text(json.dumps(stored))
        np.testing.assert_array_equal(parse_points([str(tmp_path / "points.json")]), POINTS)


@pytest.mark.parametrize(
    "words", [["1,2", "3,4"], ["a,b"] * 5, ["missing.json"], ["1,2", "3,4", "5,6", "7,8", "nan,1"]]
)
def test_anything_but_five_points_is_refused(words):
    with pytest.raises(PhotoError, match=r"points .* (cannot be read|are not five finite points).*left eye"):
        parse_points(words)


def test_points_in_the_wrong_order_are_refused(portrait, tmp_path):
    path = save(portrait, tmp_path / "p.png")
    with pytest.raises(PhotoError, match="do not form a face; give them in the order left eye"):
        read_photo(path, 64, points=POINTS[[1, 0, 2, 3, 4]])
    with pytest.raises(PhotoError, match=r"points .* lie outside its 250 × 300 pixels"):
        read_photo(path, 64, points=POINTS + 1000)


def test_the_largest_face_is_taken_unless_another_is_asked_for(portrait, tmp_path):
    small = np.asarray(Image.fromarray(portrait).resize((125, 150)))
    both = np.full((300, 400, 3), 128, np.uint8)
    both[:150, :125], both[:, 150:] = small, portrait
    path = save(both, tmp_path / "two.png")
    largest, other = read_photo(path, 64), read_photo(path, 64, face=2)
    assert largest.points[:, 0].min() > 150 > other.points[:, 0].max()
    assert "has 2 faces; number 1 by size is used; --faces PNG shows them" in largest.warning
    with pytest.raises(PhotoError, match=r"two\.png: there is no face 3 among the 2 found; --faces PNG shows them"):
        read_photo(path, 64, face=3)


def test_a_face_of_forty_pixels_is_found(portrait, tmp_path):
    tiny = np.asarray(Image.fromarray(portrait).resize((50, 60), Image.Resampling.LANCZOS))
    points = read_photo(save(tiny, tmp_path / "tiny.png"), 64).points
    assert np.abs(points - (read_photo(save(portrait, tmp_path / "p.png"), 64).points + 0.5) / 5 + 0.5).max() < 1.5


def test_a_small_face_in_fifty_megapixels_is_found(portrait, tmp_path):
    huge = np.full((6_000, 8_400, 3), 128, np.uint8)
    huge[3_000:3_600, 5_000:5_500] = np.asarray(Image.fromarray(portrait).resize((500, 600)))
    points = read_photo(save(huge, tmp_path / "huge.jpg"), 64).points
    assert (points > (5_000, 3_000)).all() and (points < (5_500, 3_600)).all()


def test_a_reduced_photo_has_the_same_face(portrait):
    photo = Photo(portrait, POINTS, aligned_crop(portrait, POINTS, 64))
    small = reduced(photo, 150)
    assert small.image.shape == (150, 125, 3)
    again = aligned_crop(small.image, small.points, 64)
    assert np.abs(again.astype(int) - photo.crop).mean() < 4
    assert reduced(photo, 512) is photo


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photo_whose_face_lies_is_turned_upright_with_a_warning(portrait, tmp_path, quarters):
    upright = read_photo(save(portrait, tmp_path / "p.png"), 64)
    photo = read_photo(save(np.rot90(portrait, -quarters), tmp_path / "turned.png"), 64)
    np.testing.assert_array_equal(photo.image, portrait)
    np.testing.assert_allclose(photo.points, upright.points, atol=1e-4)
    turn = f"turned.png: its face is not upright, so the photo is turned by {360 - 90 * quarters}° clockwise"
    assert turn in photo.warning


def test_given_points_of_a_face_that_lies_turn_the_photo_too(portrait):
    lying = turned_points(POINTS, portrait.shape[:2], 1)
    photo = photo_of(np.rot90(portrait), 64, lying)
    np.testing.assert_array_equal(photo.image, portrait)
    np.testing.assert_array_equal(photo.points, POINTS)
    assert "turned by 90° clockwise" in photo.warning


@pytest.mark.parametrize(("degrees", "quarters"), [(0, 0), (25, 0), (50, 0), (65, 1), (100, 1), (180, 2), (-90, 3)])
def test_a_face_that_is_only_tilted_stays_so(degrees, quarters):
    turn = np.radians(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    assert quarters_to_upright((POINTS - POINTS.mean(0)) @ rotation.T) == quarters


@pytest.mark.skipif(not CASES.is_dir(), reason="no case files in shared/data beside the repository")
def test_a_real_photo_that_lost_its_orientation_shows_the_same_face():
    turned, base = (read_photo(CASES / name, 64) for name in ("turned_noexif.jpg", "base.jpg"))
    assert np.abs(turned.crop.astype(int) - base.crop).mean() < 4

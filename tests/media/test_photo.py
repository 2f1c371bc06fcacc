import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from davs_jax.media.faces import alignment, tracking
from davs_jax.media.photo import PhotoError, aligned_crop, crop_matrix, is_still, parse_points, read_photo, read_picture
from support.recordings import RECORDINGS

STILLS = RECORDINGS / "stills"
ANIMALS = ("dog.jpg", "test_sample4.jpg")
POINTS = np.array([[100, 120], [140, 118], [121, 140], [104, 165], [138, 163]], float)


@pytest.fixture(scope="module")
def portrait():
    return data.astronaut()[:300, 100:350]


def save(picture: np.ndarray, path, **options):
    Image.fromarray(picture).save(path, **options)
    return path


def test_a_face_is_found_and_aligned(portrait, tmp_path):
    photo = read_photo(save(portrait, tmp_path / "a photo.png"), 128)
    assert photo.crop.shape == (128, 128, 3)
    assert not photo.doubt
    # eyes and mouth of the crop lie where the template has them
    found = tracking.track(photo.crop[None]).points[0]
    expected = alignment.similarity(photo.points, 130)
    template = photo.points @ expected[:, :2].T + expected[:, 2] - 1
    assert np.abs(found - template).max() < 8


def test_given_points_are_used_as_they_are(portrait, tmp_path):
    photo = read_photo(save(portrait, tmp_path / "p.png"), 64, points=POINTS)
    np.testing.assert_array_equal(photo.crop, alignment.align(portrait, POINTS, 65)[:64, :64])
    np.testing.assert_array_equal(photo.points, POINTS)


def test_the_crop_is_the_centre_of_the_stored_face(portrait):
    np.testing.assert_array_equal(
        aligned_crop(portrait, POINTS, 256), alignment.align(portrait, POINTS, 260)[2:258, 2:258]
    )


def test_a_photo_is_turned_upright_as_its_exif_says(portrait, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90° clockwise
    stored = np.rot90(portrait)
    path = save(stored, tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_picture(path), portrait)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (np.full((4, 4), 77, np.uint8), (77, 77, 77)),
        (np.full((4, 4), 77 * 256, np.uint16), (77, 77, 77)),
        (np.full((4, 4, 4), (10, 20, 30, 0), np.uint8), (255, 255, 255)),
        (np.full((4, 4, 4), (10, 20, 30, 255), np.uint8), (10, 20, 30)),
    ],
    ids=["gray", "gray of 16 bits", "transparent", "opaque"],
)
def test_every_kind_of_picture_becomes_rgb(stored, shown, tmp_path):
    picture = read_picture(save(stored, tmp_path / "p.png"))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, np.broadcast_to(np.array(shown, np.uint8), (4, 4, 3)))


def test_a_picture_without_a_face_names_the_ways_out(tmp_path):
    path = save(np.full((100, 100, 3), 200, np.uint8), tmp_path / "wall.png")
    with pytest.raises(PhotoError, match=r"wall\.png: no face of a human was found.*--points.*--aligned"):
        read_photo(path, 64)


@pytest.mark.skipif(not STILLS.is_dir(), reason=f"real photos are not there: {STILLS}")
def test_people_paintings_and_drawings_are_found_and_animals_need_points():
    for path in (p for p in STILLS.iterdir() if p.is_file()):
        if path.name not in ANIMALS:
            assert read_photo(path, 64).doubt == "", path
            continue
        with pytest.raises(PhotoError, match=rf"{path.name}: no face of a human was found; .*--points \(left eye"):
            read_photo(path, 64)


def test_an_aligned_crop_is_only_resized(portrait, tmp_path):
    crop = read_photo(save(portrait, tmp_path / "p.png"), 256).crop
    photo = read_photo(save(crop, tmp_path / "crop.png"), 64, aligned=True)
    np.testing.assert_array_equal(photo.picture, crop)
    assert not photo.doubt
    small = np.asarray(Image.fromarray(crop).resize((64, 64), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(photo.crop, small)
    resizing = [[0.25, 0, 0.5 / 4 - 0.5], [0, 0.25, 0.5 / 4 - 0.5]]
    np.testing.assert_allclose(crop_matrix(photo.points, 64), resizing, atol=1e-9)


def test_a_photo_that_is_wrongly_called_aligned_raises_doubt(portrait, tmp_path):
    photo = read_photo(save(data.astronaut(), tmp_path / "whole.png"), 64, aligned=True)
    assert "leave out --aligned" in photo.doubt


def test_an_aligned_crop_must_be_square(portrait, tmp_path):
    with pytest.raises(PhotoError, match="250 × 300 pixels, but an aligned crop is square"):
        read_photo(save(portrait, tmp_path / "p.png"), 64, aligned=True)


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n broken"])
def test_a_file_that_is_no_picture_is_named(content, tmp_path):
    path = tmp_path / "odd.png"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=r"odd\.png: cannot be read as a picture"):
        read_picture(path)


def test_half_a_photo_is_called_damaged(portrait, tmp_path):
    whole = save(portrait, tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PhotoError, match=r"half\.jpg: is damaged \(.*truncated.*\); copy it again"):
        read_picture(tmp_path / "half.jpg")


def test_what_moves_is_told_from_what_does_not(portrait, tmp_path):
    assert is_still(save(portrait, tmp_path / "a.jpg"))
    still, other = Image.fromarray(portrait), Image.fromarray(portrait[::-1])
    still.save(tmp_path / "b.gif", save_all=True, append_images=[other])
    assert not is_still(tmp_path / "b.gif")
    assert not is_still(Path(__file__))


def test_a_missing_photo_is_named(tmp_path):
    with pytest.raises(PhotoError, match=r"none\.png: no such file"):
        read_picture(tmp_path / "none.png")


def test_points_are_read_as_typed_or_from_json(tmp_path):
    np.testing.assert_array_equal(parse_points([f"{x},{y}" for x, y in POINTS]), POINTS)
    for stored in (POINTS.tolist(), {"points": POINTS.tolist()}):
        (tmp_path / "points.json").write_text(json.dumps(stored))
        np.testing.assert_array_equal(parse_points([str(tmp_path / "points.json")]), POINTS)


@pytest.mark.parametrize(
    "words", [["1,2", "3,4"], ["a,b"] * 5, ["missing.json"], ["1,2", "3,4", "5,6", "7,8", "nan,1"]]
)
def test_anything_but_five_points_is_refused(words):
    with pytest.raises(PhotoError, match=r"--points .* (cannot be read|are not five finite points).*left eye"):
        parse_points(words)


def test_points_in_the_wrong_order_are_refused(portrait, tmp_path):
    path = save(portrait, tmp_path / "p.png")
    with pytest.raises(PhotoError, match="make no face; their order is left eye"):
        read_photo(path, 64, points=POINTS[[1, 0, 2, 3, 4]])
    with pytest.raises(PhotoError, match=r"250 × 300 pixels, and points .* lie outside"):
        read_photo(path, 64, points=POINTS + 1000)


def test_the_largest_face_is_taken_unless_another_is_asked_for(portrait, tmp_path):
    small = np.asarray(Image.fromarray(portrait).resize((125, 150)))
    both = np.full((300, 400, 3), 128, np.uint8)
    both[:150, :125], both[:, 150:] = small, portrait
    path = save(both, tmp_path / "two.png")
    largest, other = read_photo(path, 64), read_photo(path, 64, number=2)
    assert largest.points[:, 0].min() > 150 > other.points[:, 0].max()
    assert "has 2 faces, of which number 1 by size is used; --faces PNG shows them" in largest.doubt
    with pytest.raises(PhotoError, match=r"two\.png: --face 3: it has 2"):
        read_photo(path, 64, number=3)


def test_a_face_of_forty_pixels_is_found(portrait, tmp_path):
    tiny = np.asarray(Image.fromarray(portrait).resize((50, 60), Image.Resampling.LANCZOS))
    points = read_photo(save(tiny, tmp_path / "tiny.png"), 64).points
    assert np.abs(points - (read_photo(save(portrait, tmp_path / "p.png"), 64).points + 0.5) / 5 + 0.5).max() < 1.5


def test_a_small_face_in_fifty_megapixels_is_found(portrait, tmp_path):
    huge = np.full((6_000, 8_400, 3), 128, np.uint8)
    huge[3_000:3_600, 5_000:5_500] = np.asarray(Image.fromarray(portrait).resize((500, 600)))
    points = read_photo(save(huge, tmp_path / "huge.jpg"), 64).points
    assert (points > (5_000, 3_000)).all() and (points < (5_500, 3_600)).all()


def test_more_than_16_bits_and_floating_point_become_bytes(tmp_path):
    ramp = np.linspace(0, 1, 256).reshape(16, 16)
    for values in ((ramp * 1e6).astype(np.int32), ramp.astype(np.float32)):
        Image.fromarray(values).save(tmp_path / "a.tif")
        np.testing.assert_allclose(read_picture(tmp_path / "a.tif")[..., 0], ramp * 255, atol=1.5)


def test_a_turned_gray_picture_of_16_bits_comes_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = (np.arange(12, dtype=np.uint16) * 5_000).reshape(3, 4)
    path = save(stored, tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_picture(path)[..., 0], np.rot90(stored, -1) // 256)


def test_heic_is_read_or_its_remedy_named(portrait, tmp_path):
    try:
        import pillow_heif
    except ImportError:
        (tmp_path / "a.heic").write_bytes(b"any")
        with pytest.raises(PhotoError, match=r"a\.heic: to read HEIC, pip install 'davs_jax\[heic\]'"):
            read_picture(tmp_path / "a.heic")
    else:
        pillow_heif.from_pillow(Image.fromarray(portrait)).save(tmp_path / "a.heic", quality=95)
        assert np.abs(read_picture(tmp_path / "a.heic").astype(int) - portrait).mean() < 5

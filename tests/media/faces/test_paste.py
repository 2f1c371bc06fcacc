import cv2
import numpy as np
import pytest
from skimage import data

from davs_jax.face_geometry import mouth_box
from davs_jax.media.faces.alignment import aligned_crop, crop_matrix
from davs_jax.media.faces.paste import Canvas, feathered_mask, match_colours

POINTS = np.array([[199, 100], [251, 100], [225, 135], [202, 156], [248, 157]], float)


@pytest.fixture(scope="module")
def portrait():
    return data.astronaut()


@pytest.mark.parametrize("size", [64, 256], ids=["the photo's face is larger", "the photo's face is smaller"])
def test_a_photos_own_crop_put_back_changes_nothing(portrait, size):
    crop = aligned_crop(portrait, POINTS, size)
    np.testing.assert_array_equal(Canvas(portrait, POINTS, crop).paste(crop), portrait)


@pytest.mark.parametrize("size", [64, 256])
def test_what_is_generated_comes_back_where_it_was_cut_out(portrait, size):
    crop = aligned_crop(portrait, POINTS, size)
    generated = crop.copy()
    generated[mouth_box(size)] = (200, 30, 30)
    pasted = Canvas(portrait, POINTS, crop).paste(generated)
    again = aligned_crop(pasted, POINTS, size)[mouth_box(size)].astype(int)
    inner = again[3:-3, 3:-3]
    assert np.abs(inner - (200, 30, 30)).mean() < 6
    changed = np.abs(pasted.astype(int) - portrait).max(-1) > 8
    rows, columns = np.nonzero(changed)
    assert rows.min() > 130 and rows.max() < 190 and columns.min() > 170 and columns.max() < 280


def test_what_is_moved_keeps_the_photos_detail(portrait):
    """The lips move by three of 64 pixels: of a crop alone, only a blurred copy could be shown in the photo."""
    crop = aligned_crop(portrait, POINTS, 64)
    y, x = np.mgrid[:64, :64].astype(np.float32)
    field = np.stack([0 * x, -3 * np.exp(-((x - 32) ** 2 + (y - 50) ** 2) / 60)], -1)
    generated = cv2.remap(crop, x, y + field[..., 1], cv2.INTER_LINEAR)
    canvas = Canvas(portrait, POINTS, crop)
    moved, redrawn = canvas.paste(generated, field), canvas.paste(generated)
    lips = slice(140, 180), slice(190, 260)

    def detail(image: np.ndarray) -> float:
        return cv2.Laplacian(image[lips].mean(-1), cv2.CV_64F).std()

    assert detail(moved) > 0.9 * detail(portrait)
    assert detail(redrawn) < 0.8 * detail(portrait)
    found = aligned_crop(moved, POINTS, 64)[mouth_box(64)].astype(int)
    assert np.abs(found - generated[mouth_box(64)]).mean() < 4


def test_a_field_of_zeros_changes_nothing(portrait):
    crop = aligned_crop(portrait, POINTS, 64)
    canvas, generated = Canvas(portrait, POINTS, crop), crop[:, ::-1]
    still = np.zeros((64, 64, 2), np.float32)
    np.testing.assert_array_equal(canvas.paste(generated, still), canvas.paste(generated))


def test_no_border_shows_whatever_is_generated(portrait):
    crop = aligned_crop(portrait, POINTS, 64)
    noise = np.random.default_rng(0).integers(0, 256, crop.shape, np.uint8)
    pasted = Canvas(portrait, POINTS, crop).paste(noise)
    corners = np.array([[0, 0], [63, 0], [0, 63], [63, 63], [32, 0], [0, 32], [63, 32], [32, 63]])
    matrix = np.vstack([crop_matrix(POINTS, 64), [0, 0, 1]])
    for x, y, _ in np.linalg.solve(matrix, np.c_[corners, np.ones(8)].T).T.round().astype(int):
        np.testing.assert_array_equal(pasted[y, x], portrait[y, x])


def test_a_tint_of_the_generated_face_is_taken_off(portrait):
    crop = aligned_crop(portrait, POINTS, 64)
    tinted = np.clip(crop * 0.9 + (12, 0, 5), 0, 255).astype(np.uint8)
    difference = match_colours(tinted, crop, feathered_mask(64)) - crop
    assert np.abs(difference).mean() < 1.5
    assert np.abs(tinted.astype(int) - crop).mean() > 8


def test_a_face_at_the_edge_of_its_image_is_pasted_as_far_as_it_reaches(portrait):
    cut = portrait[90:, 190:]
    points = POINTS - (190, 90)
    crop = aligned_crop(cut, points, 64)
    np.testing.assert_array_equal(Canvas(cut, points, crop).paste(crop), cut)
    assert Canvas(cut, points, crop).paste(255 - crop).shape == cut.shape

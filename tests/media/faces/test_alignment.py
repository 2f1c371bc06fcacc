"""Alignment against the official procedure written out."""

import cv2
import numpy as np
import pytest

from davs_jax.media.faces import alignment

# Left eye, right eye, nose, mouth corners: not similar to the template, turned by 10 degrees.
POINTS = np.array([[95, 108], [160, 119], [124, 150], [93, 172], [146, 183]], np.float64)


def official_two_steps(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(aligned face 260 × 260, warp matrix): warp into the canvas, crop, resize."""
    source = np.array([points[0], points[1], (points[3] + points[4]) / 2])
    target = 2 * np.array([[70, 112], [110, 112], [90, 150]], np.float64)
    centred_source, centred_target = source - source.mean(0), target - target.mean(0)
    scale = centred_target.std() / centred_source.std()
    u, _, vt = np.linalg.svd((centred_source / centred_source.std()).T @ (centred_target / centred_target.std()))
    rotation = (u @ vt).T
    matrix = np.hstack([scale * rotation, (target.mean(0) - scale * rotation @ source.mean(0))[:, None]])
    canvas = cv2.warpAffine(image, matrix, (356, 436), borderValue=(127, 127, 127))
    return cv2.resize(canvas[104:372, 44:312], (260, 260)), matrix


def coloured_noise(size: int = 256) -> np.ndarray:
    """Random colours with detail about as fine as a photo's."""
    noise = np.random.default_rng(0).normal(0, 1, (size, size, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), size / 64)
    return np.clip(127 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def test_align_agrees_with_the_official_warp_crop_and_resize():
    image = coloured_noise()
    expected, _ = official_two_steps(image, POINTS)
    aligned = alignment.align(image, POINTS)
    assert cv2.PSNR(aligned, expected) > 50  # a shift by a tenth of a pixel gives 47.5


def test_similarity_is_the_official_matrix_carried_through_crop_and_resize():
    _, matrix = official_two_steps(coloured_noise(), POINTS)
    crop = np.array([[260 / 268, 0, (0.5 - 44) * 260 / 268 - 0.5], [0, 260 / 268, (0.5 - 104) * 260 / 268 - 0.5]])
    expected = crop @ np.vstack([matrix, [0, 0, 1]])
    np.testing.assert_allclose(alignment.similarity(POINTS), expected, atol=1e-9)


@pytest.mark.parametrize("size", [65, 130, 260])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.7])
def test_eyes_and_mouth_land_on_the_template_at_every_size(size, scale):
    points = scale * (np.array([[0, 0], [40, 0], [20, 22], [8, 38], [32, 38]]) @ [[0.9, 0.3], [-0.3, 0.9]] + 150)
    wanted = (np.array([[140, 224], [220, 224], [180, 300]]) - (44, 104) + 0.5) * size / 268 - 0.5
    side = round(360 * scale)  # no border in sight
    y, x = np.mgrid[:side, :side]
    for point, target in zip((points[0], points[1], points[3:].mean(0)), wanted, strict=True):
        spot = 255 * np.exp(-((x - point[0]) ** 2 + (y - point[1]) ** 2) / (2 * (4 * scale) ** 2))
        aligned = alignment.align(np.repeat(spot[..., None], 3, 2).astype(np.uint8), points, size)[..., 0].astype(float)
        rows, columns = np.mgrid[:size, :size]
        centre = ((columns * aligned).sum() / aligned.sum(), (rows * aligned).sum() / aligned.sum())
        np.testing.assert_allclose(centre, target, atol=0.15)


def test_detail_finer_than_the_result_is_averaged_and_not_aliased():
    lines = np.zeros((1024, 1024, 3), np.uint8)
    lines[:, ::2] = 255
    points = np.array([[400, 400], [720, 400], [560, 560], [450, 704], [670, 704]], np.float64)
    inner = alignment.align(lines, points, 65)[20:50, 20:50]
    assert inner.std() < 8
    assert abs(inner.mean() - 127.5) < 3


def test_the_area_beyond_the_image_is_gray():
    points = POINTS - POINTS.min(0)  # the face at the image's corner
    assert (alignment.align(np.zeros((256, 256, 3), np.uint8), points)[0, 0] == 127).all()


def test_an_aligned_face_returns_to_its_place_by_the_inverse():
    image = cv2.GaussianBlur(coloured_noise(), (0, 0), 3)
    aligned = alignment.align(image, POINTS, 260)
    back = cv2.warpAffine(aligned, cv2.invertAffineTransform(alignment.similarity(POINTS, 260)), (256, 256))
    middle = np.s_[110:180, 95:155]
    assert cv2.PSNR(back[middle], image[middle]) > 38


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.zeros((3, 2))])
def test_points_that_do_not_form_a_face_are_refused(points):
    with pytest.raises(ValueError, match="face"):
        alignment.similarity(points)


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))])
def test_anything_but_a_colour_image_is_refused(image):
    with pytest.raises(ValueError, match="uint8"):
        alignment.align(image, POINTS)


def test_the_crop_is_the_centre_of_the_stored_face():
    image = coloured_noise()
    expected = alignment.align(image, POINTS, 260)[2:258, 2:258]
    np.testing.assert_array_equal(alignment.aligned_crop(image, POINTS, 256), expected)

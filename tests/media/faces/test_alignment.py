"""Alignment against the official procedure written out, and tracking with detectors whose truth is known."""

import cv2
import numpy as np
import pytest

from davs_jax.media.faces import alignment, tracking
from support.recordings import RECORDINGS

LFW = RECORDINGS / "faces" / "lfw"

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


def picture(size: int = 256) -> np.ndarray:
    """Random colours with detail about as fine as a photo's."""
    noise = np.random.default_rng(0).normal(0, 1, (size, size, 3))
    smooth = cv2.GaussianBlur(noise, (0, 0), size / 64)
    return np.clip(127 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def test_align_agrees_with_the_official_warp_crop_and_resize():
    image = picture()
    expected, _ = official_two_steps(image, POINTS)
    aligned = alignment.align(image, POINTS)
    assert cv2.PSNR(aligned, expected) > 50  # a shift by a tenth of a pixel gives 47.5


def test_similarity_is_the_official_matrix_carried_through_crop_and_resize():
    _, matrix = official_two_steps(picture(), POINTS)
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


def test_the_world_beyond_the_picture_is_gray():
    points = POINTS - POINTS.min(0)  # the face at the picture's corner
    assert (alignment.align(np.zeros((256, 256, 3), np.uint8), points)[0, 0] == 127).all()


def test_an_aligned_face_returns_to_its_place_by_the_inverse():
    image = cv2.GaussianBlur(picture(), (0, 0), 3)
    aligned = alignment.align(image, POINTS, 260)
    back = cv2.warpAffine(aligned, cv2.invertAffineTransform(alignment.similarity(POINTS, 260)), (256, 256))
    middle = np.s_[110:180, 95:155]
    assert cv2.PSNR(back[middle], image[middle]) > 38


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.full((5, 2), np.nan), np.zeros((3, 2))])
def test_points_that_make_no_face_are_refused(points):
    with pytest.raises(ValueError, match="face"):
        alignment.similarity(points)


@pytest.mark.parametrize("image", [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))])
def test_what_is_no_colour_picture_is_refused(image):
    with pytest.raises(ValueError, match="uint8"):
        alignment.align(image, POINTS)


class Told:
    """A detector that finds what it is told: `faces` by the number written into a frame's first pixel."""

    def __init__(self, faces: dict[int, list[tracking.Face]]):
        self.faces = faces
        self.looked_at = []

    def detect(self, image):
        index = int(image[0, 0, 0])
        self.looked_at.append(index)
        return self.faces.get(index, [])


def frames(count: int) -> np.ndarray:
    result = np.zeros((count, 200, 300, 3), np.uint8)
    result[:, 0, 0, 0] = np.arange(count)
    return result


def at(x: float, y: float = 80.0, size: float = 60.0) -> tracking.Face:
    """A face whose box is `size` wide and whose centre is (x, y)."""
    shape = np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0], [-0.15, 0.25], [0.15, 0.25]])
    box = np.array([x - size / 2, y - size / 2, size, size], np.float32)
    return tracking.Face((shape * size + (x, y)).astype(np.float32), box, 0.99)


def test_a_steady_motion_is_followed_between_detections():
    detector = Told({i: [at(100 + 2 * i)] for i in range(31)})
    track = tracking.track(frames(31), detector)
    assert detector.looked_at == [0, 5, 10, 15, 20, 25, 30]
    expected = np.stack([at(100 + 2 * i).points for i in range(31)])
    np.testing.assert_allclose(track.points[9:22], expected[9:22], atol=1e-3)
    assert track.found_fraction == 1


def test_the_last_frame_is_looked_at_too():
    detector = Told({0: [at(100)], 8: [at(140)]})
    points = tracking.track(frames(9), detector, smooth=0).points
    np.testing.assert_allclose(points[4], at(120).points, atol=1e-4)


def test_smoothing_takes_the_noise_of_detections_away():
    noise = np.random.default_rng(0).normal(0, 2, 60)
    detector = Told({i: [at(150 + noise[i])] for i in range(60)})
    rough, smooth = (tracking.track(frames(60), detector, every=1, smooth=s) for s in (0, 2.0))
    assert smooth.jitter < rough.jitter / 10
    rough_error, smooth_error = (np.square(track.points - at(150).points).mean() for track in (rough, smooth))
    assert smooth_error < rough_error / 3


def test_frames_without_a_face_are_bridged_and_counted():
    detector = Told({0: [at(100)], 20: [at(140)]})
    track = tracking.track(frames(31), detector, smooth=0)
    assert track.found_fraction == pytest.approx(2 / 7)
    np.testing.assert_allclose(track.points[10], at(120).points, atol=1e-4)
    np.testing.assert_array_equal(track.points[30], track.points[20])


def test_the_larger_and_more_central_of_two_faces_is_the_speaker():
    speaker, other = at(150, size=60), at(40, size=40)
    for both in ([speaker, other], [other, speaker]):
        track = tracking.track(frames(21), Told(dict.fromkeys(range(21), both)))
        np.testing.assert_allclose(track.points[10], speaker.points, atol=1e-3)


def test_the_speaker_stays_the_speaker_where_only_another_face_is_found():
    speaker, other = at(150, size=60), at(40, size=45)
    told = {i: [speaker, other] for i in range(31)} | {10: [other], 15: [other]}
    track = tracking.track(frames(31), Told(told))
    np.testing.assert_allclose(track.points, np.broadcast_to(speaker.points, (31, 5, 2)), atol=1e-3)
    assert track.found_fraction == pytest.approx(5 / 7)


def test_no_face_is_an_error_that_counts_the_frames():
    with pytest.raises(alignment.NoFace, match=r"no face in any of the 7 frames looked at \(of 31\)"):
        tracking.track(frames(31), Told({}))
    with pytest.raises(alignment.NoFace, match="of 0"):
        tracking.track(frames(0), Told({}))


def test_jitter_is_the_acceleration_in_percent_of_the_eye_distance():
    steady = np.stack([at(10 + 3 * i).points for i in range(9)])
    assert tracking.jitter(steady) == pytest.approx(0, abs=1e-4)
    shaking = np.stack([at(10 + i % 2).points for i in range(9)])  # accelerates by 2 pixels per frame², eyes 24 apart
    assert tracking.jitter(shaking) == pytest.approx(100 * 2 / 24, rel=1e-3)
    assert tracking.jitter(steady[:2]) == 0


@pytest.mark.skipif(not LFW.is_dir(), reason=f"real photos are not there: {LFW}")
def test_mtcnn_finds_the_person_of_a_real_photo_at_any_size():
    photo = cv2.imread(str(LFW / "Tony_Blair" / "Tony_Blair_0001.jpg"))[..., ::-1]
    small, large = (tracking.track(cv2.resize(photo, None, fx=f, fy=f)[None]).points[0] for f in (1, 4))
    np.testing.assert_allclose(large / 4, small, atol=3)
    assert (small[[0, 3], 0] < small[[1, 4], 0]).all()  # left and right as seen
    assert (small[:2, 1] < small[2, 1]).all()
    assert (small[2, 1] < small[3:, 1]).all()


def test_mtcnn_finds_nothing_in_pictures_without_a_face():
    detector = tracking.default_detector()
    for shape in [(1, 1, 3), (5, 400, 3), (2000, 30, 3), (256, 256, 3)]:
        assert list(detector.detect(np.full(shape, 90, np.uint8))) == []


@pytest.mark.parametrize(
    ("seen", "lost"),
    [
        ([0, 5, 10, 15, 20], []),
        ([0, 10, 15, 20], []),
        ([0, 15, 20], range(1, 15)),
        ([5, 10, 15, 20], []),
        ([10, 15, 20], range(10)),
        ([0, 5, 10], range(11, 21)),
        ([0, 5, 10, 15], []),
    ],
)
def test_a_face_missed_twice_in_a_row_is_lost_and_missed_once_is_not(seen, lost):
    track = tracking.track(frames(21), Told({i: [at(100)] for i in seen}))
    assert np.flatnonzero(track.lost).tolist() == list(lost)


def test_smoothing_calms_what_the_detector_shakes():
    rng = np.random.default_rng(0)
    shaking = Told({i: [at(100 + rng.normal(0, 2))] for i in range(60)})
    track = tracking.track(frames(60), shaking, every=1)
    assert track.jitter < 0.2 * track.raw_jitter

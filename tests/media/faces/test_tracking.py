"""Tracking with detectors whose truth is known."""

import cv2
import numpy as np
import pytest

from davs_jax.media.faces import detectors, tracking
from support.recordings import RECORDINGS

LFW = RECORDINGS / "faces" / "lfw"


class Scripted:
    """A detector with given detections: `faces` by the number written into a frame's first pixel."""

    def __init__(self, faces: dict[int, list[detectors.Face]]):
        self.faces = faces
        self.searched = []

    def detect(self, image):
        index = int(image[0, 0, 0])
        self.searched.append(index)
        return self.faces.get(index, [])


def frames(count: int) -> np.ndarray:
    result = np.zeros((count, 200, 300, 3), np.uint8)
    result[:, 0, 0, 0] = np.arange(count)
    return result


def at(x: float, y: float = 80.0, size: float = 60.0) -> detectors.Face:
    """A face whose box is `size` wide and whose centre is (x, y)."""
    shape = np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0], [-0.15, 0.25], [0.15, 0.25]])
    box = np.array([x - size / 2, y - size / 2, size, size], np.float32)
    return detectors.Face((shape * size + (x, y)).astype(np.float32), box, 0.99)


def test_a_uniform_motion_is_interpolated_between_detections():
    detector = Scripted({i: [at(100 + 2 * i)] for i in range(31)})
    track = tracking.track(frames(31), detector)
    assert detector.searched == [0, 5, 10, 15, 20, 25, 30]
    expected = np.stack([at(100 + 2 * i).points for i in range(31)])
    np.testing.assert_allclose(track.points[9:22], expected[9:22], atol=1e-3)
    assert track.found_fraction == 1


def test_the_last_frame_is_searched_too():
    detector = Scripted({0: [at(100)], 8: [at(140)]})
    points = tracking.track(frames(9), detector, smooth=0).points
    np.testing.assert_allclose(points[4], at(120).points, atol=1e-4)


def test_smoothing_removes_the_noise_of_detections():
    noise = np.random.default_rng(0).normal(0, 2, 60)
    detector = Scripted({i: [at(150 + noise[i])] for i in range(60)})
    rough, smooth = (tracking.track(frames(60), detector, every=1, smooth=s) for s in (0, 2.0))
    assert smooth.jitter < rough.jitter / 10
    rough_error, smooth_error = (np.square(track.points - at(150).points).mean() for track in (rough, smooth))
    assert smooth_error < rough_error / 3


def test_frames_without_a_face_are_bridged_and_counted():
    detector = Scripted({0: [at(100)], 20: [at(140)]})
    track = tracking.track(frames(31), detector, smooth=0)
    assert track.found_fraction == pytest.approx(2 / 7)
    np.testing.assert_allclose(track.points[10], at(120).points, atol=1e-4)
    np.testing.assert_array_equal(track.points[30], track.points[20])


def test_the_larger_and_more_central_of_two_faces_is_the_speaker():
    speaker, other = at(150, size=60), at(40, size=40)
    for both in ([speaker, other], [other, speaker]):
        track = tracking.track(frames(21), Scripted(dict.fromkeys(range(21), both)))
        np.testing.assert_allclose(track.points[10], speaker.points, atol=1e-3)


def test_the_speaker_stays_the_speaker_where_only_another_face_is_found():
    speaker, other = at(150, size=60), at(40, size=45)
    told = {i: [speaker, other] for i in range(31)} | {10: [other], 15: [other]}
    track = tracking.track(frames(31), Scripted(told))
    np.testing.assert_allclose(track.points, np.broadcast_to(speaker.points, (31, 5, 2)), atol=1e-3)
    assert track.found_fraction == pytest.approx(5 / 7)


def test_no_face_is_an_error_that_counts_the_frames():
    with pytest.raises(tracking.NoFace, match=r"no face in any of the 7 frames searched \(of 31\)"):
        tracking.track(frames(31), Scripted({}))
    with pytest.raises(tracking.NoFace, match="of 0"):
        tracking.track(frames(0), Scripted({}))


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


def test_mtcnn_finds_nothing_in_images_without_a_face():
    detector = detectors.detector()
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
    track = tracking.track(frames(21), Scripted({i: [at(100)] for i in seen}))
    assert np.flatnonzero(track.lost).tolist() == list(lost)


def test_smoothing_reduces_the_jitter_of_detections():
    rng = np.random.default_rng(0)
    shaking = Scripted({i: [at(100 + rng.normal(0, 2))] for i in range(60)})
    track = tracking.track(frames(60), shaking, every=1)
    assert track.jitter < 0.2 * track.raw_jitter

"""A rendered face is where, and its mouth as open, as the labels of the image say."""

import itertools

import numpy as np
import pytest

from data_prep.synthetic.motion import REST, TARGETS, mouth_shapes, poses
from data_prep.synthetic.people import random_person
from data_prep.synthetic.rendering import Face, Light, Pose
from data_prep.synthetic.speech import Phoneme, SpeechError
from davs_jax.media.faces.alignment import align

LIGHT = Light((-0.3, -0.4, 1.0), 0.6, (1.0, 1.0, 1.0))
SIZE = 256


@pytest.fixture(scope="module")
def faces() -> list[Face]:
    return [Face(random_person(np.random.default_rng(seed)), SIZE, LIGHT) for seed in range(4)]


def shape(letter: str) -> np.ndarray:
    return np.array(TARGETS[letter])


def test_equal_arguments_give_equal_images(faces):
    one, other = (faces[0].render(shape("a"), Pose(roll=3)) for _ in range(2))
    assert one.image.shape == (SIZE, SIZE, 3) and one.image.dtype == np.uint8
    np.testing.assert_array_equal(one.image, other.image)


def test_people_differ_more_than_the_images_of_one_person(faces):
    aligned = [
        [align(image.image, image.points, 64).astype(float) for image in shots]
        for shots in ([face.render(shape(x), Pose(roll=r)) for x, r in (("a", 4), ("m", -4))] for face in faces)
    ]
    same = [np.abs(first - second).mean() for first, second in aligned]
    different = [np.abs(a[0] - b[0]).mean() for a, b in itertools.combinations(aligned, 2)]
    assert max(same) < 0.5 * min(different)


def test_pupils_are_dark_where_the_points_say_in_any_pose(faces):
    for face, pose in itertools.product(faces, (Pose(), Pose(x=0.3, y=-0.1, roll=8, scale=0.9))):
        image = face.render(np.array(REST), pose)
        for x, y in np.round(image.points[:2]).astype(int):
            assert image.image[y - 1 : y + 2, x - 1 : x + 2].mean() < 90


def test_points_move_with_the_pose_as_a_similarity(faces):
    plain = faces[0].render(np.array(REST), Pose()).points
    turned = faces[0].render(np.array(REST), Pose(roll=90, scale=0.5)).points
    across, turned_across = plain[1] - plain[0], turned[1] - turned[0]
    np.testing.assert_allclose(turned_across, 0.5 * np.array([-across[1], across[0]]), atol=1e-9)
    assert plain[0][0] < plain[2][0] < plain[1][0] and plain[0][1] < plain[2][1] < plain[3][1]


def test_opening_is_the_height_of_the_gap_over_the_eye_distance(faces):
    for face, letter in itertools.product(faces, "aɑɒ"):
        image = face.render(shape(letter), Pose())
        eyes = np.linalg.norm(image.points[1] - image.points[0])
        middle, corners = round(image.points[3:, 0].mean()), image.points[3, 1]
        column = image.image[round(corners - 0.25 * eyes) : round(corners + 0.6 * eyes), middle].astype(float)
        dark = np.flatnonzero(column.sum(axis=1) < 0.5 * np.sum(face.person.lip_colour))  # from rim to rim
        assert (dark[-1] - dark[0]) / eyes == pytest.approx(image.opening, abs=0.05)


def test_closed_lips_have_no_opening(faces):
    assert [face.render(shape("m"), Pose(roll=4)).opening for face in faces] == [0] * len(faces)


def test_more_light_darkens_no_pixel(faces):
    for face in faces:
        plain, bright = (
            Face(face.person, SIZE, Light(LIGHT.direction, LIGHT.contrast, (gain,) * 3))
            .render(shape("a"), Pose())
            .image.astype(int)
            for gain in (1.0, 1.4)
        )
        assert (bright >= plain - 2).all() and bright.mean() > 1.1 * plain.mean()


def test_shapes_look_different_at_64_pixels(faces):
    for face in faces:
        crops = {}
        for letter in "maufi":
            image = face.render(shape(letter), Pose())
            crops[letter] = align(image.image, image.points, 65)[42:60, 16:49].astype(float)
        for one, other in itertools.combinations(crops, 2):
            assert np.abs(crops[one] - crops[other]).mean() > 4, (one, other)


def test_a_blink_changes_the_eyes_and_nothing_else(faces):
    open_, shut = (faces[0].render(np.array(REST), Pose(blink=b)).image.astype(int) for b in (0, 1))
    changed = np.argwhere(np.abs(open_ - shut).sum(axis=2) > 12)
    eyes = faces[0].render(np.array(REST), Pose()).points[:2]
    reach = 0.36 * np.linalg.norm(eyes[1] - eyes[0])
    assert len(changed) > 50
    assert (np.abs(changed[:, None, ::-1] - eyes).max(axis=2).min(axis=1) < reach).all()


def test_lips_meet_at_every_bilabial_and_part_at_every_open_vowel():
    sounds = [("m", 0.1, 0.16), ("ˈɑː", 0.16, 0.36), ("b", 0.36, 0.42), ("aʊ", 0.42, 0.62), ("p", 0.62, 0.68)]
    phonemes = [Phoneme(symbol, start, end, 0) for symbol, start, end in sounds]
    times = np.arange(0, 1, 0.002)
    opening = mouth_shapes(phonemes, times)[:, 0]
    for symbol, start, end in sounds:
        heard = opening[(times >= start) & (times < end)]
        assert heard.min() == 0 if symbol in "mbp" else heard.max() == pytest.approx(0.42)
    assert opening.min() == 0 and opening.max() < 0.43
    assert opening[0] == opening[-1] == 0


def test_rounded_and_spread_vowels_go_opposite_ways():
    width, rounding = 1, 2
    (who,) = mouth_shapes([Phoneme("uː", 0.2, 0.5, 0)], np.array([0.35]))
    (see,) = mouth_shapes([Phoneme("iː", 0.2, 0.5, 0)], np.array([0.35]))
    assert who[rounding] == see[width] == 1 and who[width] == see[rounding] == 0


def test_the_message_names_an_unknown_phoneme():
    with pytest.raises(SpeechError, match="'ǃ'"):
        mouth_shapes([Phoneme("ǃ", 0, 1, 0)], np.zeros(1))


def test_heads_sway_smoothly_and_blink():
    times = np.arange(0, 8, 0.04)
    held = poses(np.random.default_rng(0), times)
    x = np.array([pose.x for pose in held])
    assert 0 < np.abs(np.diff(x)).max() < 0.03 and np.ptp(x) > 0.02
    blinks = np.array([pose.blink for pose in held])
    assert blinks.max() > 0.7 and np.median(blinks) == 0

"""Borders between shots, in made frames and in a join of real recordings."""

import itertools

import cv2
import numpy as np
import pytest

from data_prep import shots
from davs_jax.media.video.read import read_frames
from support.recordings import RECORDINGS

CLIPS = RECORDINGS / "clips"


def scene(seed, count=30, speed=1.0):
    """Noise of large patches that moves to the right, as thumbnails."""
    patches = np.random.default_rng(seed).integers(0, 256, (8, 24, 3), np.uint8)
    wide = cv2.resize(patches, (480, 160), interpolation=cv2.INTER_CUBIC)
    return [shots.thumbnail(wide[:, int(i * speed) : int(i * speed) + 160]) for i in range(count)]


def test_a_cut_between_two_scenes_is_a_border_and_movement_is_none():
    assert shots.borders(scene(0) + scene(1)) == [30]
    assert shots.borders(scene(0, speed=2) + scene(1, speed=0) + scene(2)) == [30, 60]
    assert shots.borders(scene(0, 60, speed=2)) == []


def test_a_flash_is_no_border():
    frames = scene(0)
    frames[15] = np.full_like(frames[0], 255)
    assert shots.borders(frames) == []


def test_a_camera_that_shakes_all_the_time_gives_no_border():
    noise = np.random.default_rng(0).integers(0, 256, (40, shots.SIDE, shots.SIDE, 3), np.uint8)
    assert shots.borders(noise) == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_frames_have_no_border(count):
    assert shots.borders(scene(0, count)) == []


def test_stretches_cover_every_frame_once():
    assert shots.stretches([30, 50], 80) == [range(30), range(30, 50), range(50, 80)]
    assert shots.stretches([], 5) == [range(5)]


@pytest.mark.skipif(not CLIPS.is_dir(), reason=f"real recordings are not there: {CLIPS}")
def test_joins_of_real_recordings_are_found_and_nothing_within_them():
    small = {path: [*map(shots.thumbnail, itertools.islice(read_frames(path), 60))] for path in CLIPS.glob("0*.mp4")}
    small |= {path: [*map(shots.thumbnail, itertools.islice(read_frames(path), 60))] for path in CLIPS.glob("7*.mp4")}
    assert len(small) >= 3
    for one, other in itertools.permutations(small.values(), 2):
        assert shots.borders(one + other) == [60]

"""Long recordings are read while they are used: the same frames, whatever is kept in memory."""

import numpy as np
import pytest

from data_prep import footage
from data_prep.footage import Footage, Part
from davs_jax.media.video.read import read_frames


@pytest.mark.parametrize("kept", [1, 5, 1000])
def test_frames_are_those_of_the_file_in_any_order(tmp_path, write_video, monkeypatch, kept):
    path = write_video(tmp_path / "a.mp4", frames=60)
    whole = list(read_frames(path))
    monkeypatch.setattr(footage, "KEPT", kept * whole[0].nbytes)
    frames = Footage(path)
    assert (len(frames), frames.shape) == (60, (60, 140, 160, 3))
    assert len(frames._kept) <= kept
    for index in (0, 5, 59, 58, 20, 24, 25, 3):
        np.testing.assert_array_equal(frames[index], whole[index])
    with pytest.raises(IndexError, match="frame 60 of 60"):
        frames[60]


def test_a_part_is_counted_from_its_own_first_frame(tmp_path, write_video):
    clip = footage.read(write_video(tmp_path / "a.mp4", frames=60))
    part = footage.part(clip, range(20, 50))
    assert part.frames.shape == (30, 140, 160, 3)
    np.testing.assert_array_equal(part.frames[0], clip.frames[20])
    assert len(list(part.frames)) == 30
    np.testing.assert_array_equal(part.samples, clip.samples[20 * 640 : 50 * 640])


def test_recordings_within_the_memory_kept_are_decoded_once(tmp_path, write_video, monkeypatch):
    path, opened = write_video(tmp_path / "a.mp4", frames=60), []
    monkeypatch.setattr(footage, "read_frames", lambda path: opened.append(path) or read_frames(path))
    frames = Footage(path)
    for index in (0, 59, 0, 30):
        assert Part(frames, range(60))[index] is not None
    assert opened == [path]

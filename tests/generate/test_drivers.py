"""Drivers say which audio they use, and a length limit ends reading, whatever length a file states."""

import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from davs_jax.generate import read
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.jobs import Job, read_driver
from davs_jax.generate.read import read_driving_video, read_speech
from davs_jax.media import video
from support.audio_files import write_audio, write_tracks
from support.talking_files import sound


@pytest.fixture
def endless(tmp_path) -> Path:
    """A minute of speech that states no length, as from a pipe."""
    wavfile.write(tmp_path / "a.wav", 16_000, (sound(60) * 32_767).astype(np.int16))
    before, name, after = (tmp_path / "a.wav").read_bytes().partition(b"data")
    (tmp_path / "a.wav").write_bytes(before + name + struct.pack("<I", 0xFFFFFFFF) + after[4:])
    return tmp_path / "a.wav"


def test_a_file_of_unknown_length_is_read_as_far_as_the_limit(endless, monkeypatch):
    seconds = []

    def counted(*arguments, **options):
        for block in video.read_audio_blocks(*arguments, **options):
            seconds.append(len(block) / 16_000)
            yield block

    monkeypatch.setattr(read.video, "probe", lambda path: video.Media(False, True, 0.0, 0.0, 0, 0, 16_000, 0.0))
    monkeypatch.setattr(read, "video", type("", (), vars(video) | {"read_audio_blocks": staticmethod(counted)}))
    with pytest.raises(GenerationError, match=r"a\.wav: lasts more than 8 s, and here 8 s are allowed; cut it"):
        read_speech(endless, longest=8)
    assert sum(seconds) == pytest.approx(10, abs=0.2)


def test_a_stated_length_is_refused_before_anything_is_decoded(tmp_path, monkeypatch):
    wavfile.write(tmp_path / "a.wav", 16_000, sound(30))
    monkeypatch.setattr(read.video, "read_audio_blocks", None)
    with pytest.raises(GenerationError, match=r"a\.wav: lasts 30 s, and here 8 s are allowed; cut it"):
        read_speech(tmp_path / "a.wav", longest=8)


def test_a_driving_video_of_unknown_length_is_read_as_far_as_the_limit(folder, monkeypatch):
    monkeypatch.setattr(read.video, "probe", lambda path: video.Media(True, False, 0.0, 25.0, 300, 300, 0, 0.0))
    with pytest.raises(GenerationError, match=r"driver\.mp4: lasts more than 0\.2 s"):
        read_driving_video(folder / "driver.mp4", longest=0.2)


def test_the_choice_of_audio_is_remarked_on(tmp_path):
    speech = sound(1)
    tracks = write_tracks(tmp_path / "tracks.mka", [0 * speech, speech], "flac", 16_000, "mono")
    phases = write_audio(tmp_path / "phases.wav", np.stack([speech, -speech]), "pcm_s16le", layout="stereo")
    said = []
    for path in (tracks, phases):
        driver = read_driver(Job(tmp_path, tmp_path, audio=path), 25, said.append)
        assert driver.levels.max() > -20
    assert "audio track 2 is used" in said[0] and "channel 1 alone is used" in said[1]
    first = read_driver(Job(tmp_path, tmp_path, audio=tracks, audio_track=1), 25, said.append)
    assert first.levels.max() == -120 and len(said) == 2

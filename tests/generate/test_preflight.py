import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from scipy.io import wavfile

from davs_jax.errors import MediaError
from davs_jax.generate import preflight
from davs_jax.generate.drivers import Speech
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.read import read_speech
from support import talking_files
from support.recordings import RECORDINGS

SPEECH = RECORDINGS / "speech" / "jfk.flac"


def recording(folder: Path, samples: np.ndarray):
    wavfile.write(folder / "a.wav", 16_000, samples.astype(np.float32))
    return read_speech(folder / "a.wav")


def check(driver, output, frames=10):
    return preflight.check(driver, output, frames, 100, 100)


def test_silence_is_refused_and_a_hum_is_warned_about(tmp_path):
    time = np.arange(48_000) / 16_000
    with pytest.raises(GenerationError, match=r"a\.wav: is silent throughout \(-120 dBFS"):
        check(recording(tmp_path, np.zeros(48_000)), tmp_path / "o.mp4")
    (doubt,) = check(recording(tmp_path, 0.2 * np.sin(2 * np.pi * 100 * time)), tmp_path / "o.mp4")
    assert "sounds steady" in doubt
    (doubt,) = check(recording(tmp_path, np.random.default_rng(0).normal(0, 0.1, 48_000)), tmp_path / "o.mp4")
    assert "sounds steady" in doubt


def test_syllables_pass_even_when_they_are_soft(tmp_path):
    assert check(recording(tmp_path, talking_files.sound(3)), tmp_path / "o.mp4") == []
    assert check(recording(tmp_path, 0.02 * talking_files.sound(3)), tmp_path / "o.mp4") == []


@pytest.mark.skipif(not SPEECH.exists(), reason="no real recordings in shared/data beside the repository")
def test_real_speech_passes(tmp_path):
    assert check(read_speech(SPEECH), tmp_path / "o.mp4") == []


def test_audio_too_short_for_a_word_is_warned_about(tmp_path):
    (doubt,) = check(recording(tmp_path, talking_files.sound(1)[:1600]), tmp_path / "o.mp4")
    assert "lasts 0.10 s, too short for a word" in doubt


def test_two_seconds_of_speech_after_a_minute_of_silence_pass(tmp_path):
    speech = np.concatenate([np.zeros(60 * 16_000), talking_files.sound(2)])
    assert not any("silent" in doubt for doubt in check(recording(tmp_path, speech), tmp_path / "o.mp4"))
    click = np.zeros(48_000)
    click[20_000:20_100] = 0.5
    with pytest.raises(GenerationError, match="is silent throughout"):
        check(recording(tmp_path, click), tmp_path / "o.mp4")


def test_floats_on_the_scale_of_integers_are_warned_about(tmp_path):
    (doubt,) = check(recording(tmp_path, 30_000 * talking_files.sound(3)), tmp_path / "o.mp4")
    assert "a.wav: is 76 dB above full scale, and its audio is clipped" in doubt
    assert check(recording(tmp_path, talking_files.sound(3) / 0.3), tmp_path / "o.mp4") == []


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    samples = talking_files.sound(1)
    samples[500] = np.nan
    with pytest.raises(MediaError, match=r"a\.wav: its audio holds numbers that are not finite"):
        recording(tmp_path, samples)


def test_a_full_disk_is_reported_before_the_work(tmp_path, monkeypatch):
    driver = Speech(talking_files.sound(1))
    assert check(driver, tmp_path / "new" / "o.mp4") == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 50, 60_000_000))
    assert check(driver, tmp_path / "o.mp4") == []
    with pytest.raises(GenerationError, match=r"o\.mp4: may need 0\.15 GB, and 0\.06 GB are free"):
        check(driver, tmp_path / "o.mp4", frames=100_000)
    with pytest.raises(GenerationError, match="may need"):
        check(driver, tmp_path / "frames", frames=1_000)


def test_a_missing_codec_is_named(tmp_path, monkeypatch):
    def unknown(name, mode):
        raise av.codec.codec.UnknownCodecError(name)

    monkeypatch.setattr(av, "Codec", unknown)
    with pytest.raises(GenerationError, match="built without libx264; pip install"):
        check(Speech(talking_files.sound(1)), tmp_path / "o.mp4")


def test_a_name_without_a_known_format_is_refused_and_a_new_folder_is_made(tmp_path):
    with pytest.raises(MediaError, match=r"o\.avi: has an unknown ending; end its name in \.mp4 or \.gif"):
        preflight.make_room(tmp_path / "o.avi")
    preflight.make_room(tmp_path / "new" / "folder" / "o.mp4")
    assert (tmp_path / "new" / "folder").is_dir()

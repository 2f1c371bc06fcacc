"""A file is truncated where it states more than it holds, and only there."""

import struct

import numpy as np
import pytest
from scipy.io import wavfile

from davs_jax.errors import MediaError
from davs_jax.media.video.read import probe, read_audio
from support.audio_files import write_audio
from support.recordings import RECORDINGS
from support.talking_files import sound

NO_TABLE = {"write_xing": "0", "id3v2_version": "0"}


def half(path):
    """Keeps the first 60 % of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: round(0.6 * len(data))])
    return path


def seconds(path) -> float:
    return len(read_audio(path)) / 16_000


def cheap_then_costly(folder, kind, codec):
    """An intact stream without a table whose first second takes a tenth of the bits of the next two."""
    noise = np.random.default_rng(0).normal(0, 0.2, 2 * 44_100)
    options = {"options": NO_TABLE} if kind == "mp3" else {}
    parts = (np.zeros(44_100), 32_000), (noise, 320_000 if kind == "mp3" else 128_000)
    data = b"".join(
        write_audio(folder / f"{bits}.{kind}", samples, codec, 44_100, bit_rate=bits, **options).read_bytes()
        for samples, bits in parts
    )
    (folder / f"vbr.{kind}").write_bytes(data)
    return folder / f"vbr.{kind}"


@pytest.mark.parametrize(("kind", "codec"), [("mp3", "libmp3lame"), ("aac", "aac")])
def test_a_length_estimated_from_the_bitrate_proves_nothing(tmp_path, kind, codec):
    path = cheap_then_costly(tmp_path, kind, codec)
    assert seconds(path) == pytest.approx(3, abs=0.2)
    assert probe(path).duration == 0  # unknown, whatever FFmpeg estimates


@pytest.mark.skipif(not (RECORDINGS / "cases").exists(), reason="no collected cases beside the repository")
@pytest.mark.parametrize(("name", "length"), [("mp3_vbr_silence_noxing.mp3", 7.03), ("one.wav", 1.0)])
def test_intact_files_of_strangers_are_read(name, length):
    assert seconds(RECORDINGS / "cases" / name) == pytest.approx(length, abs=0.05)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.wav", "pcm_s16le"),
        ("a.wav", "pcm_f32le"),
        ("a.wav", "pcm_alaw"),
        ("a.w64", "pcm_s16le"),
        ("a.aiff", "pcm_s16be"),
        ("a.au", "pcm_s16be"),
        ("a.caf", "pcm_s16be"),
        ("a.mp3", "libmp3lame"),
        ("a.flac", "flac"),
        ("a.mka", "aac"),
        ("a.m4a", "aac"),
    ],
)
def test_a_file_that_states_more_than_it_holds_is_truncated(tmp_path, name, codec):
    path = write_audio(tmp_path / name, sound(3), codec)
    assert seconds(path) == pytest.approx(3, abs=0.1)
    with pytest.raises(MediaError, match=r"a\.\w+: .*truncated"):
        read_audio(half(path))


def test_the_sentence_says_where_a_wav_stops_and_what_it_states(tmp_path):
    wavfile.write(tmp_path / "a.wav", 16_000, (sound(3) * 32_767).astype(np.int16))
    with pytest.raises(MediaError, match=r"a\.wav: its audio stops at 1\.80 s of 3\.00 s, so the file is truncated"):
        read_audio(half(tmp_path / "a.wav"))


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF024])
def test_a_wav_written_to_a_pipe_states_no_length(tmp_path, size):
    wavfile.write(tmp_path / "a.wav", 16_000, (sound(3) * 32_767).astype(np.int16))
    before, name, after = (tmp_path / "a.wav").read_bytes().partition(b"data")
    (tmp_path / "a.wav").write_bytes(before + name + struct.pack("<I", size) + after[4:])
    assert seconds(tmp_path / "a.wav") == pytest.approx(3)
    assert probe(tmp_path / "a.wav").duration == pytest.approx(3)


@pytest.mark.parametrize("kind", ["ac3", "mp2", "opus", "ts"])
def test_a_stream_without_a_length_may_end_anywhere(tmp_path, kind):
    codec = {"ts": "mp2", "opus": "libopus"}.get(kind, kind)
    path = half(write_audio(tmp_path / f"a.{kind}", sound(3, 48_000), codec, 48_000))
    assert 0.5 < seconds(path) < 2.5

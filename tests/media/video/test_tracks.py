"""Of several tracks the first audible one is used, and mixing to mono neither cancels nor amplifies."""

from fractions import Fraction

import av
import numpy as np
import pytest

from davs_jax.errors import MediaError
from davs_jax.media.video import choose, read_audio, read_clip
from davs_jax.media.video.remux import shift_audio
from support.audio_files import write_audio, write_tracks
from support.recordings import RECORDINGS
from support.talking_files import sound

TONE = sound(2)
SILENCE = np.zeros_like(TONE)


def level(samples) -> float:
    return float(np.sqrt(np.square(samples).mean()))


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le", "pcm_u8"])
def test_channels_that_cancel_are_replaced_by_the_louder_one(tmp_path, codec):
    path = write_audio(tmp_path / "a.wav", np.stack([0.5 * TONE, -TONE]), codec, layout="stereo")
    assert "channel" not in choose(path).note  # the difference of unequal ones can be heard
    path = write_audio(tmp_path / "b.wav", np.stack([0.97 * TONE, -TONE]), codec, layout="stereo")
    assert choose(path).channel == 1
    assert choose(path).note.endswith("b.wav: its channels cancel each other, so channel 2 alone is used, the loudest")
    assert level(read_audio(path)) == pytest.approx(level(TONE), rel=0.03)


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le"])
@pytest.mark.parametrize(
    ("layout", "channels", "share"),
    [
        ("stereo", [1, 1], 1),
        ("stereo", [1, 0], 0.5),
        ("5.1", [1] * 6, 1),
        ("5.1", [0, 0, 1, 0, 0, 0], 0.2929),  # the centre, where films have their speech
        ("7.1", [1] * 8, 1),
        ("quad", [1] * 4, 1),
    ],
)
def test_a_mix_is_never_louder_than_its_channels(tmp_path, codec, layout, channels, share):
    path = write_audio(tmp_path / "a.wav", np.stack([c * TONE for c in channels]), codec, layout=layout)
    assert choose(path).note == ""
    assert level(read_audio(path)) == pytest.approx(share * level(TONE), rel=0.02)


def test_the_first_track_that_is_not_silent_is_used(tmp_path):
    path = write_tracks(tmp_path / "a.mka", [SILENCE, SILENCE, TONE, 0.5 * TONE], "flac", 16_000, "mono")
    assert choose(path).index == 2
    assert choose(path).note.endswith("a.mka: audio track 3 is used, because what comes before it is silent")
    assert level(read_audio(path)) == pytest.approx(level(TONE), rel=0.01)
    assert level(read_audio(path, track=4)) == pytest.approx(level(0.5 * TONE), rel=0.01)
    assert level(read_audio(path, track=1)) == 0 and choose(path, 1).note == ""


def test_of_silent_tracks_the_first_is_used(tmp_path):
    path = write_tracks(tmp_path / "a.mka", [SILENCE, SILENCE], "flac", 16_000, "mono")
    assert choose(path).index == 0 and choose(path).note == ""


def test_a_track_that_is_absent_is_refused(tmp_path):
    path = write_audio(tmp_path / "a.wav", TONE, "pcm_s16le")
    with pytest.raises(MediaError, match=r"a\.wav: has no audio track 2, only 1; choose another --audio-track"):
        read_audio(path, track=2)


def test_the_choice_follows_the_file_not_its_name(tmp_path):
    path = write_audio(tmp_path / "a.wav", np.stack([TONE, -TONE]), "pcm_s16le", layout="stereo")
    assert choose(path).channel == 0
    write_audio(path, np.stack([TONE, TONE, TONE]), "pcm_s16le", layout="2.1")
    assert choose(path).channel is None


@pytest.mark.skipif(not (RECORDINGS / "cases").exists(), reason="no collected cases beside the repository")
def test_files_of_strangers_are_heard():
    clip = read_clip(RECORDINGS / "cases" / "twotracks_first_silent.mp4")
    assert level(clip.samples) > 0.01
    assert level(read_audio(RECORDINGS / "cases" / "stereo_antiphase.wav")) > 0.01


def test_a_repaired_file_keeps_the_audible_track(tmp_path):
    source = write_tracks(tmp_path / "tracks.mka", [SILENCE, TONE], "flac", 16_000, "mono")
    with av.open(str(tmp_path / "a.mkv"), "w") as container, av.open(str(source)) as tracks:
        image = container.add_stream("libx264", rate=25)
        image.height = image.width = 64
        image.pix_fmt = "yuv420p"
        copies = [container.add_stream_from_template(stream) for stream in tracks.streams.audio]
        for index in range(50):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(image.encode(frame))
        container.mux(image.encode(None))
        for packet in tracks.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    shift_audio(tmp_path / "a.mkv", tmp_path / "b.mkv", 0.2)
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert len(container.streams.audio) == 1
    assert level(read_audio(tmp_path / "b.mkv")) > 0.1
    shift_audio(tmp_path / "a.mkv", tmp_path / "c.mkv", 0.2, track=1)
    assert level(read_audio(tmp_path / "c.mkv")) == 0

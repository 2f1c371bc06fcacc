"""Audio is moved against video without loss of a packet."""

from fractions import Fraction

import av
import numpy as np
import pytest

from davs_jax.media.video.read import read_clip
from davs_jax.media.video.remux import shift_audio

RATE = 16_000


def talking(path, codec: str = "libx264", **options):
    """50 frames, white at 0.8 s, with a click at 0.8 s."""
    samples = np.zeros(2 * RATE, np.int16)
    samples[round(0.8 * RATE) : round(0.802 * RATE)] = 30_000
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=25, options=options)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        audio = container.add_stream("pcm_s16le" if path.suffix == ".mkv" else "aac", rate=RATE, layout="mono")
        for i in range(50):
            image = np.full((64, 96, 3), 255 if i == 20 else 3 * i, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(video.encode(frame))
            block = samples[i * 640 : (i + 1) * 640]
            block = av.AudioFrame.from_ndarray(block[None], format="s16", layout="mono")
            block.sample_rate, block.pts, block.time_base = RATE, i * 640, Fraction(1, RATE)
            container.mux(audio.encode(block))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


@pytest.mark.parametrize("seconds", [0.2, -0.2])
@pytest.mark.parametrize("ending", [".mkv", ".mp4"])
def test_every_frame_is_kept_and_only_the_audio_moves(tmp_path, seconds, ending):
    """x264's reordered frames have no decoding times in Matroska."""
    source = talking(tmp_path / f"a{ending}", bf="3")
    shift_audio(source, tmp_path / f"b{ending}", seconds)
    before, after = read_clip(source), read_clip(tmp_path / f"b{ending}")
    np.testing.assert_array_equal(after.frames, before.frames)
    moved = (np.abs(before.samples).argmax() - np.abs(after.samples).argmax()) / RATE
    assert moved == pytest.approx(seconds, abs=0.005)

"""Frames and audio come back at the times at which they were written; bad files are named in one sentence."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from davs_jax.errors import MediaError
from davs_jax.media.video.read import probe, read_audio, read_clip, read_frames
from davs_jax.media.video.write import Writer
from support.footage import encode, frames_of
from support.recordings import RECORDINGS

TICK = 1 / 25


def click(seconds: float, at: float, rate: int) -> np.ndarray:
    """Silence with 2 ms of sound at `at` seconds."""
    samples = np.zeros(round(seconds * rate), np.float32)
    samples[round(at * rate) : round((at + 0.002) * rate)] = 0.9
    return samples


def flash(seconds: float, at: float, fps: int = 25, height: int = 64, width: int = 96) -> np.ndarray:
    """Black frames with one white frame at `at` seconds."""
    frames = np.zeros((round(seconds * fps), height, width, 3), np.uint8)
    frames[round(at * fps)] = 255
    return frames


def brightest(frames: np.ndarray) -> float:
    return frames.mean(axis=(1, 2, 3)).argmax() * TICK


def loudest(samples: np.ndarray, rate: int = 16_000) -> float:
    return np.abs(samples).argmax() / rate


def write(path: Path, frames: np.ndarray, **options) -> Path:
    with Writer(path, **options) as writer:
        for frame in frames:
            writer.write(frame)
    return path


def write_offset(path: Path, video_start: float, audio_start: float, hole: tuple[float, float] = (9, 9)) -> Path:
    """A Matroska file whose streams start apart: flash and click are both at 1.2 s on its clock.

    Audio within `hole` (seconds) is left out of the file.
    """
    rate = 16_000
    track, frames = click(2.4, 1.2, rate), flash(2.4, 1.2)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        audio = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        video.height, video.width, video.pix_fmt = 64, 96, "yuv420p"
        for index in range(round(video_start * 25), 60):
            frame = av.VideoFrame.from_ndarray(frames[index], format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(video.encode(frame))
        for start in range(round(audio_start * rate), len(track), 640):
            if hole[0] <= start / rate < hole[1]:
                continue
            samples = (track[start : start + 640] * 32_767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(audio.encode(frame))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return path


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("fps", [25, 30, 50])
def test_flash_and_click_stay_together_through_h264_and_aac(tmp_path, rate, fps):
    path = write(tmp_path / "a.mp4", flash(2, 1.2, fps), fps=fps, samples=click(2, 1.2, rate), sample_rate=rate)
    clip = read_clip(path)
    assert clip.frames.shape == (50, 64, 96, 3) and clip.samples.shape == (50 * 640,)
    assert brightest(clip.frames) == pytest.approx(1.2, abs=TICK / 2)
    assert loudest(clip.samples) == pytest.approx(1.2, abs=0.005)


@pytest.mark.parametrize(("video_start", "audio_start"), [(0, 0.4), (0.4, 0), (0.6, 0.2), (0, 0)])
def test_audio_is_placed_by_the_clock_of_the_container_not_by_its_first_sample(tmp_path, video_start, audio_start):
    clip = read_clip(write_offset(tmp_path / "a.mkv", video_start, audio_start))
    assert brightest(clip.frames) == pytest.approx(1.2 - video_start)
    assert loudest(clip.samples) == pytest.approx(1.2 - video_start, abs=0.004)
    assert len(clip.samples) == len(clip.frames) * 640


def test_missing_audio_becomes_silence_and_moves_nothing(tmp_path):
    clip = read_clip(write_offset(tmp_path / "a.mkv", 0, 0, hole=(0.4, 0.8)))
    assert loudest(clip.samples) == pytest.approx(1.2, abs=0.004)
    assert not clip.samples[round(0.45 * 16_000) : round(0.75 * 16_000)].any()


@pytest.mark.parametrize("seconds", [0.5, 3])
def test_audio_ends_with_the_video_whatever_its_length(tmp_path, seconds):
    path = write(tmp_path / "a.mp4", flash(2, 1.2), samples=click(seconds, 0.2, 16_000))
    assert len(read_audio(path)) / 16_000 == pytest.approx(2, abs=TICK)
    with av.open(str(path)) as container:
        ends = [float(stream.duration * stream.time_base) for stream in container.streams]
    assert ends == pytest.approx([2, 2], abs=TICK)


def test_frames_keep_their_colours_and_odd_sizes_grow_by_the_edge(tmp_path):
    frame = np.zeros((63, 95, 3), np.uint8)
    frame[:, :48], frame[:, 48:] = (200, 60, 40), (30, 90, 180)
    frames = list(read_frames(write(tmp_path / "a.mp4", [frame] * 5)))
    assert [f.shape for f in frames] == [(64, 96, 3)] * 5
    for x, colour in ((20, (200, 60, 40)), (80, (30, 90, 180)), (95, (30, 90, 180))):
        assert np.abs(frames[3][-1, x] - np.float32(colour)).max() <= 6


def test_a_variable_frame_rate_is_resampled_by_timestamps(tmp_path):
    shown = [0.0, 0.04, 0.2, 0.24, 0.28]  # the frame of 0.04 s is shown until 0.2 s
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        for index, time in enumerate(shown):
            pixels = np.full((64, 64, 3), 50 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = round(time * 25), Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    grey = [round(frame.mean() / 50) for frame in read_frames(tmp_path / "a.mkv")]
    assert grey == [0, 1, 1, 2, 2, 2, 3, 4] or grey == [0, 1, 1, 1, 2, 2, 3, 4]


def test_an_exception_while_writing_leaves_a_file_that_plays(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        Writer(tmp_path / "a.mp4", samples=click(2, 0.2, 16_000)) as writer,
    ):
        for frame in flash(2, 0.4)[:20]:
            writer.write(frame)
        raise KeyboardInterrupt
    clip = read_clip(tmp_path / "a.mp4")
    assert len(clip.frames) == 20 and brightest(clip.frames) == pytest.approx(0.4)
    assert loudest(clip.samples) == pytest.approx(0.2, abs=0.005)


def test_a_file_that_was_never_given_a_frame_is_an_error_and_is_not_left_behind(tmp_path):
    with pytest.raises(MediaError, match=r"a\.mp4: no frame"), Writer(tmp_path / "a.mp4"):
        pass
    assert not (tmp_path / "a.mp4").exists()


def test_metadata_of_any_name_is_kept(tmp_path):
    path = write(tmp_path / "a.mp4", flash(0.2, 0), metadata={"comment": "generated", "checkpoint": "run 7"})
    with av.open(str(path)) as container:
        assert container.metadata["comment"] == "generated" and container.metadata["checkpoint"] == "run 7"


@pytest.mark.parametrize("name", ["with space.mp4", "http:a.mp4", "100%03d.mp4", "-é.mp4"])
def test_any_file_name_is_a_file_name(tmp_path, name):
    assert len(read_clip(write(tmp_path / name, flash(0.4, 0), samples=click(0.4, 0.2, 16_000))).frames) == 10


def test_probe_reports_what_a_file_holds(tmp_path):
    path = write(tmp_path / "a.mp4", flash(1, 0, fps=30), fps=30, samples=click(1, 0, 16_000))
    media = probe(path)
    assert (media.has_video, media.has_audio, media.width, media.height) == (True, True, 96, 64)
    assert media.fps == 30 and media.duration == pytest.approx(1, abs=TICK) and media.sample_rate == 16_000


def test_a_clip_without_audio_has_no_samples(tmp_path):
    path = write(tmp_path / "a.mp4", flash(0.4, 0))
    assert read_clip(path).samples is None
    with pytest.raises(MediaError, match=r"a\.mp4: has no audio track"):
        read_audio(path)


def test_audio_without_video_is_read_by_read_audio_only(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48_000, layout="mono")
        samples = (click(1, 0.7, 48_000) * 32_767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    samples = read_audio(tmp_path / "a.wav")
    assert len(samples) == 16_000 and loudest(samples) == pytest.approx(0.7, abs=0.003)
    with pytest.raises(MediaError, match="has no video track"):
        read_clip(tmp_path / "a.wav")


def test_bad_files_are_named_with_the_remedy(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("this is not a video")
    for name, message in [
        ("absent.mp4", "no such file"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "cannot be read"),
    ]:
        for read in (probe, read_clip, read_audio, lambda path: list(read_frames(path))):
            with pytest.raises(MediaError, match=f"{name}: {message}"):
                read(tmp_path / name)


@pytest.mark.parametrize("part", [0.05, 0.5, 0.85])
def test_a_truncated_file_is_an_error_not_a_shorter_clip(tmp_path, part):
    noise = np.random.default_rng(0)
    frames = noise.integers(0, 255, (29, 64, 64, 3), np.uint8)
    samples = noise.normal(0, 0.1, 29 * 640).astype(np.float32)
    path = write(tmp_path / "a.mp4", frames, samples=samples)
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * part)])
    with pytest.raises(MediaError, match=r"a\.mp4: .*truncated"):
        read_clip(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(MediaError, match=r"nowhere.*cannot be written"):
        Writer(tmp_path / "nowhere" / "a.mp4")


def test_frames_of_another_size_and_unknown_sample_rates_are_refused(tmp_path):
    with pytest.raises(ValueError, match="frame 1 is"), Writer(tmp_path / "a.mp4") as writer:
        writer.write(np.zeros((64, 64, 3), np.uint8))
        writer.write(np.zeros((64, 66, 3), np.uint8))
    with pytest.raises(ValueError, match="12345 Hz"):
        Writer(tmp_path / "b.mp4", samples=np.zeros(9, np.float32), sample_rate=12_345)


@pytest.mark.skipif(
    not (RECORDINGS / "grid").exists(), reason="no real recordings in shared/data beside the repository"
)
def test_an_original_grid_recording_speaks_where_its_alignment_says():
    video = RECORDINGS / "grid" / "s1" / "bgah2p.mpg"
    spoken = np.zeros(75 * 640, bool)
    for line in video.with_suffix(".align").read_text().splitlines():
        start, end, word = line.split()
        if word not in ("sil", "sp"):
            spoken[int(start) * 640 // 1000 : int(end) * 640 // 1000] = True
    clip = read_clip(video)
    assert clip.frames.shape == (75, 288, 360, 3)
    assert np.abs(clip.samples[spoken]).mean() > 5 * np.abs(clip.samples[~spoken]).mean()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"),
        ("a", "ffconcat version 1.0\nfile {}\n"),
    ],
)
def test_a_list_of_other_files_is_not_followed(tmp_path, name, text):
    write(tmp_path / "private.mp4", flash(1, 0.5))
    (tmp_path / name).write_text(text.format("private.mp4"))
    with pytest.raises(MediaError, match="cannot be read"):
        probe(tmp_path / name)


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.flv"])
def test_a_truncated_file_that_states_its_end_elsewhere_is_an_error_too(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 255, (50, 64, 64, 3), np.uint8)
    codec = "libvpx" if name == "a.webm" else "libx264"
    path = encode(tmp_path / name, frames_of(noise, 25, "yuv420p"), codec)
    assert len(list(read_frames(path))) == 50
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match=rf"{name}: its video stops at .* s, so the file is truncated"):
        list(read_frames(path))


def test_frames_that_lack_their_key_frame_are_left_out_with_a_warning(tmp_path, caplog):
    path = encode(tmp_path / "a.mp4", frames_of(flash(2.4, 2), 25, "yuv420p"), g="30", bf="0")
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.mp4"), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in list(source.demux(video=0))[1:-1]:
            packet.stream = stream
            copy.mux(packet)
    assert len(list(read_frames(tmp_path / "b.mp4"))) == 30
    assert "b.mp4: its first 1.2 s show nothing" in caplog.text


def test_the_frame_rate_of_raw_dv_is_that_of_its_frames(tmp_path):
    path = encode(tmp_path / "a.dv", frames_of([np.zeros((576, 720, 3), np.uint8)] * 5, 25, "yuv420p"), "dvvideo")
    media = probe(path)
    assert media.fps == 25 and media.height == 576 and media.width > 720


def test_a_pipe_is_refused_before_it_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(MediaError, match="is a pipe or a device; save it to a file first"):
            probe(path)


def test_a_name_longer_than_names_can_be_is_one_sentence(tmp_path):
    with pytest.raises(MediaError, match=r"x\.mp4: cannot be read \(File name too long\); check the path"):
        probe(tmp_path / f"{'x' * 300}.mp4")

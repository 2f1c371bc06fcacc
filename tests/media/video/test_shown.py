"""Frames come out as a player shows them: turned, mirrored, with square pixels, progressive, of bounded size."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.codec.context import Flags

from davs_jax.errors import MediaError
from davs_jax.media.video.read import probe, read_clip, read_frames
from davs_jax.media.video.shown import MOST_PIXELS
from davs_jax.media.video.streams import opened, timed_frames, video_stream
from support.footage import MATRICES, encode, frames_of, orient
from support.recordings import RECORDINGS

CASES = RECORDINGS / "cases"
INTERLACED = int(Flags.interlaced_dct | Flags.interlaced_me)


def quarters() -> np.ndarray:
    """A red, a green, a blue and a white quarter, 64 × 96: no two orientations look alike."""
    image = np.zeros((64, 96, 3), np.uint8)
    image[:32, :48], image[:32, 48:], image[32:, :48], image[32:, 48:] = (
        (200, 30, 30),
        (30, 200, 30),
        (30, 30, 200),
        230,
    )
    return image


def bar(field: int) -> np.ndarray:
    """A bar that moves by 4 pixels per field."""
    image = np.full((128, 192, 3), 60, np.uint8)
    image[30:90, 10 + 4 * field : 50 + 4 * field] = (220, 160, 130)
    return image


def woven(frame: int) -> np.ndarray:
    """Two fields of the bar in one frame, the earlier one in the odd lines."""
    image = bar(2 * frame)
    image[::2] = bar(2 * frame + 1)[::2]
    return image


@pytest.mark.parametrize("name", MATRICES)
def test_every_display_matrix_is_applied_with_its_mirror(tmp_path, name):
    image = quarters()
    wanted = {
        "as it is": image,
        "mirrored": image[:, ::-1],
        "flipped": image[::-1],
        "turned by 180°": np.rot90(image, 2),
        "turned by 90°": np.rot90(image, -1),
        "turned by 270°": np.rot90(image),
        "transposed": image.transpose(1, 0, 2),
        "transposed on the other diagonal": np.rot90(image, 2).transpose(1, 0, 2),
    }[name]
    path = orient(encode(tmp_path / "a.mp4", frames_of([image] * 3, 25, "yuv444p")), MATRICES[name])
    seen, media = next(read_frames(path)), probe(path)
    assert (media.height, media.width) == seen.shape[:2] == wanted.shape[:2]
    assert np.abs(seen.astype(int) - wanted).mean() < 4


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("aspect", "height", "width"), [(Fraction(4, 3), 64, 128), (Fraction(8, 9), 72, 96), (Fraction(16, 11), 64, 140)]
)
def test_pixels_that_are_not_square_are_stretched(tmp_path, aspect, height, width, transposed):
    path = encode(tmp_path / "a.mp4", frames_of([quarters()] * 3, 25, "yuv420p"), aspect=aspect)
    if transposed:
        orient(path, MATRICES["turned by 90°"])
        height, width = width, height
    seen, media = next(read_frames(path)), probe(path)
    assert seen.shape == (height, width, 3) and (media.height, media.width) == (height, width)
    corner = seen[5, -5] if transposed else seen[5, 5]  # the stored top left one
    assert np.abs(corner - np.array([200, 30, 30])).max() < 12


@pytest.mark.skipif(not CASES.is_dir(), reason="no case files in shared/data beside the repository")
@pytest.mark.parametrize(("name", "mirrored"), [("anamorphic.mp4", False), ("hflip.mp4", True)])
def test_real_files_show_the_face_of_their_original(name, mirrored):
    original = read_clip(CASES / "in_sync_base.mp4").frames
    seen = read_clip(CASES / name).frames
    assert np.abs(seen.astype(int) - original[:, :, :: -1 if mirrored else 1]).mean() < 4


@pytest.mark.parametrize(("name", "codec"), [("a.ts", "mpeg2video"), ("a.mpg", "mpeg2video"), ("a.mp4", "libx264")])
def test_interlaced_frames_show_one_moment_at_the_same_rate(tmp_path, name, codec):
    options = {"x264-params": "bff=1"} if codec == "libx264" else {"b": "4M", "flags": INTERLACED}
    path = encode(tmp_path / name, frames_of(map(woven, range(16)), 25, "yuv420p"), codec, **options)
    with av.open(str(path)) as container:
        assert all(frame.interlaced_frame for frame in container.decode(video=0))
    seen = [frame.astype(int) for frame in read_frames(path)]
    assert len(seen) == 16
    assert np.abs(np.diff(woven(8).astype(int)[30:90], axis=0)).mean() > 3  # a comb at both edges of the bar
    assert np.abs(np.diff(seen[8][30:90], axis=0)).mean() < 0.6
    errors = [np.abs(seen[8] - bar(field)).mean() for field in (15, 16, 17)]
    assert np.argmin(errors) == 1 and errors[1] < 1


def test_deinterlacing_moves_no_time_and_leaves_progressive_frames_alone(tmp_path):
    images = [bar(field) for field in range(12)]
    path = encode(tmp_path / "a.mkv", frames_of(images, 25, "yuv420p"), "ffv1")
    laced = encode(tmp_path / "b.ts", frames_of(images, 25, "yuv420p"), "mpeg2video", flags=INTERLACED, b="4M")
    for file in (path, laced):
        with av.open(str(file)) as container:
            stored = [(float(frame.pts * frame.time_base), frame) for frame in container.decode(video=0)]
        with opened(file) as container:
            shown = list(timed_frames(file, container, video_stream(container)))
        assert [time for time, _ in shown] == pytest.approx([time for time, _ in stored])
        if file == path:
            assert all(
                a.to_ndarray().tobytes() == b.to_ndarray().tobytes()
                for (_, a), (_, b) in zip(stored, shown, strict=True)
            )


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le", "bgra"])
def test_ordinary_frames_are_the_bytes_that_ffmpeg_makes(tmp_path, pix_fmt):
    path = encode(tmp_path / "a.mkv", frames_of([quarters()] * 2, 25, pix_fmt), "ffv1")
    with av.open(str(path)) as container:
        wanted = next(container.decode(video=0)).to_ndarray(format="rgb24")
    np.testing.assert_array_equal(next(read_frames(path)), wanted)


def test_frames_above_the_limit_are_refused_before_they_are_decoded(tmp_path):
    frame = av.VideoFrame(8192, 4336, "gray")
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    path = encode(tmp_path / "a.mkv", [frame], "ffv1")
    for read in (probe, read_clip):
        with pytest.raises(MediaError, match=r"a\.mkv: the size of its frames is .* above 35 megapixels; convert"):
            read(path)
    assert MOST_PIXELS > 7680 * 4320  # 8K of television


def test_an_aspect_that_makes_frames_too_large_is_refused(tmp_path):
    square = np.zeros((400, 400, 3), np.uint8)
    path = encode(tmp_path / "a.mp4", frames_of([square], 25, "yuv420p"), aspect=Fraction(255, 1))
    with pytest.raises(MediaError, match=r"a\.mp4: its frames of 102000 × 400 pixels exceed 35 megapixels; reduce"):
        probe(path)


@pytest.mark.parametrize("marked", [False, True])
def test_a_cover_or_thumbnail_before_the_video_is_not_taken_for_it(tmp_path, marked):
    cover, images = np.full((32, 32, 3), 200, np.uint8), [quarters()] * 5
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        tracks = []
        for codec, pix_fmt, track in (("mjpeg", "yuvj420p", [cover]), ("libx264", "yuv420p", images)):
            stream = container.add_stream(codec, rate=25)
            stream.height, stream.width, stream.pix_fmt = *track[0].shape[:2], pix_fmt
            tracks.append((stream, frames_of(track, 25, pix_fmt)))
        if marked:
            tracks[0][0].disposition = av.stream.Disposition.attached_pic
        for stream, frames in tracks:
            for frame in [*frames, None]:
                container.mux(stream.encode(frame))
    assert [frame.shape for frame in read_frames(tmp_path / "a.mp4")] == [(64, 96, 3)] * 5

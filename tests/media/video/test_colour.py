"""HDR and wide gamuts come out in the colours of their SDR original; SDR is left alone."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from scipy.interpolate import RegularGridInterpolator

from davs_jax.errors import MediaError
from davs_jax.media.video import colour
from davs_jax.media.video.read import read_clip, read_frames
from support.footage import encode, frames_of
from support.recordings import RECORDINGS

CASES = RECORDINGS / "cases"
# Skin of several tones, lips, a shirt, gray; the last is 90 % of white, where compression begins.
SDR = np.array(
    [[224, 172, 150], [141, 85, 60], [70, 40, 32], [180, 80, 85], [40, 70, 160], [128, 128, 128], [229, 229, 229]],
    float,
)
HLG, PQ, BT2020 = ColorTrc.ARIB_STD_B67, ColorTrc.SMPTE2084, ColorPrimaries.BT2020
# BT.2087's matrix, rounded as printed there; the code computes it from the primaries.
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
TO_P3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]])


def hlg(light: np.ndarray) -> np.ndarray:
    """cd/m² → codes, by BT.2100's formulas for a display of 1,000 cd/m²."""
    light = light / 1000
    luminance = (light @ [0.2627, 0.6780, 0.0593])[..., None]
    scene = light * luminance ** (1 / 1.2 - 1)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


def pq(light: np.ndarray) -> np.ndarray:
    power = (light / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def recording(path, codes: np.ndarray, curve, gamut, matrix, full: bool = False, pix_fmt: str = "yuv444p10le"):
    """A file of patches, codes `[N, 3]` in 0…1."""
    image = np.repeat(np.repeat(codes[None], 16, 0), 16, 1)
    frame = av.VideoFrame.from_ndarray((image * 65_535).round().astype(np.uint16), format="rgb48le")
    levels = ColorRange.JPEG if full else ColorRange.MPEG
    frame = frame.reformat(format=pix_fmt, dst_colorspace=matrix, dst_color_range=levels)
    frame.color_trc, frame.color_primaries, frame.color_range = curve, gamut, levels
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    return encode(path, [frame], "ffv1")


def patches(path) -> np.ndarray:
    image = next(read_frames(path))
    return np.stack([image[4:12, 16 * i + 4 : 16 * i + 12].mean((0, 1)) for i in range(image.shape[1] // 16)])


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("curve", "codes"), [(HLG, hlg), (PQ, pq)])
def test_hdr_comes_back_as_the_sdr_original(tmp_path, curve, codes, full):
    light = 203 * ((SDR / 255) ** 2.4 @ TO_BT2020.T)
    path = recording(tmp_path / "a.mkv", codes(light), curve, BT2020, Colorspace.BT2020, full)
    assert np.abs(patches(path) - SDR).max() < 4  # a code of 10 bits is up to 2 gray levels


@pytest.mark.parametrize(
    ("gamut", "matrix", "to_gamut"),
    [(BT2020, Colorspace.BT2020, TO_BT2020), (ColorPrimaries.SMPTE432, Colorspace.ITU709, TO_P3)],
)
def test_a_wide_gamut_in_sdr_comes_back_in_bt709(tmp_path, gamut, matrix, to_gamut):
    codes = ((SDR / 255) ** 2.4 @ to_gamut.T) ** (1 / 2.4)
    assert np.abs(255 * codes - SDR).max() > 10
    seen = patches(recording(tmp_path / "a.mkv", codes, ColorTrc.BT709, gamut, matrix))
    assert np.abs(seen[:-1] - SDR[:-1]).max() < 3


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [Colorspace.ITU601, Colorspace.ITU709])
@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv444p10le"])
def test_matrix_and_range_of_sdr_are_respected(tmp_path, matrix, full, pix_fmt):
    path = recording(tmp_path / "a.mkv", SDR / 255, ColorTrc.BT709, ColorPrimaries.BT709, matrix, full, pix_fmt)
    assert np.abs(patches(path) - SDR).max() < 3


@pytest.mark.parametrize(("curve", "white", "peak"), [(HLG, 0.75, 1.0), (PQ, 0.5807, 0.7518)])
def test_highlights_above_white_keep_their_order(curve, white, peak):
    """203 cd/m² stays close to white, and 1,000 cd/m² is white: the codes are BT.2408's."""
    codes = np.linspace(0, 1, colour.NODES)
    grays = 255 * colour.table(curve, BT2020)[range(colour.NODES), range(colour.NODES), range(colour.NODES), 1]
    assert 235 < np.interp(white, codes, grays) < 250
    assert (np.diff(grays[codes < peak]) > 0).all()
    assert np.interp(peak, codes, grays) > 254


def test_the_table_is_exact_to_a_third_of_a_gray_level():
    axis = np.linspace(0, 1, colour.NODES)
    rough = RegularGridInterpolator((axis,) * 3, colour.table(HLG, BT2020))
    codes = np.linspace(0, 1, 129)[np.random.default_rng(0).integers(0, 129, (5_000, 3))]
    exact = colour.table(HLG, BT2020, 129)[tuple(np.round(codes.T * 128).astype(int))]
    assert 255 * np.abs(rough(codes) - exact).mean() < 1 / 3


def test_a_matrix_that_ffmpeg_does_not_convert_is_refused(tmp_path):
    frame = frames_of([np.full((16, 16, 3), 90, np.uint8)], 25, "yuv420p10le")[0]
    frame.colorspace, frame.color_trc = 14, PQ
    with pytest.raises(MediaError, match=r"a\.mkv: its colours are coded in a rare form \(matrix 14\); convert it"):
        next(read_frames(encode(tmp_path / "a.mkv", [frame], "ffv1")))


@pytest.mark.skipif(not CASES.is_dir(), reason="no case files in shared/data beside the repository")
def test_a_real_hlg_recording_has_the_skin_of_its_original():
    """It is made as `zscale` does: the original is taken for BT.709, and the OOTF applied to each channel."""
    skin = slice(90, 100), slice(100, 120)
    with av.open(str(CASES / "in_sync_base.mp4")) as container:
        original = next(container.decode(video=0)).to_ndarray(format="rgb24", src_colorspace=Colorspace.ITU709)[skin]
    light = 203 * (original / 255) ** 2.4 @ TO_BT2020.T
    scene = (light / 1000) ** (1 / 1.2)
    # Light that BT.2100's OOTF shows of that scene.
    shown = scene * (scene @ [0.2627, 0.6780, 0.0593])[..., None] ** 0.2
    expected = 255 * (shown / 0.203 @ np.linalg.inv(TO_BT2020).T) ** (1 / 2.4)
    seen = read_clip(CASES / "true_hlg.mov").frames[0][skin]
    assert np.abs(seen.mean((0, 1)) - expected.mean((0, 1))).max() < 6  # of a 10-bit file with lossy compression
    assert np.abs(seen.mean((0, 1)) - original.mean((0, 1))).max() < 10  # unconverted: 51

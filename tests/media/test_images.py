import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage import data

from davs_jax.media import images
from davs_jax.media.images import PhotoError, is_still, read_image, read_still, shrink


@pytest.fixture(scope="module")
def portrait():
    return data.astronaut()[:300, 100:350]


def save(image: np.ndarray, path, **options):
    Image.fromarray(image).save(path, **options)
    return path


ORIENTATIONS = {  # EXIF's code: the stored image of an upright one
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: np.rot90(image, 2),
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image),
    7: lambda image: np.rot90(image, 2).transpose(1, 0, 2),
    8: lambda image: np.rot90(image, -1),
}


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_photo_is_turned_and_mirrored_as_its_exif_says(portrait, tmp_path, orientation, name):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = ORIENTATIONS[orientation](portrait)
    path = save(stored, tmp_path / name, exif=exif, **({"lossless": True} if name == "a.webp" else {}))
    np.testing.assert_array_equal(read_image(path), portrait)


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_exif_does_not_have_is_ignored(portrait, tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(read_image(save(portrait, tmp_path / "a.png", exif=exif)), portrait)


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        (np.full((4, 4), 77, np.uint8), (77, 77, 77)),
        (np.full((4, 4), 77 * 256, np.uint16), (77, 77, 77)),
        (np.full((4, 4, 4), (10, 20, 30, 0), np.uint8), (255, 255, 255)),
        (np.full((4, 4, 4), (10, 20, 30, 255), np.uint8), (10, 20, 30)),
    ],
    ids=["gray", "gray of 16 bits", "transparent", "opaque"],
)
def test_every_kind_of_image_becomes_rgb(stored, shown, tmp_path):
    image = read_image(save(stored, tmp_path / "p.png"))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.broadcast_to(np.array(shown, np.uint8), (4, 4, 3)))


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n broken"])
def test_a_file_that_is_not_an_image_is_named(content, tmp_path):
    path = tmp_path / "odd.png"
    path.write_bytes(content)
    with pytest.raises(PhotoError, match=r"odd\.png: cannot be read as an image"):
        read_image(path)


def test_half_an_image_is_reported_as_damaged(portrait, tmp_path):
    whole = save(portrait, tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PhotoError, match=r"half\.jpg: is damaged \(.*truncated.*\); copy it again"):
        read_image(tmp_path / "half.jpg")


def test_an_animated_image_or_another_file_is_not_a_still(portrait, tmp_path):
    assert is_still(save(portrait, tmp_path / "a.jpg"))
    still, other = Image.fromarray(portrait), Image.fromarray(portrait[::-1])
    still.save(tmp_path / "b.gif", save_all=True, append_images=[other])
    assert not is_still(tmp_path / "b.gif")
    assert not is_still(Path(__file__))


def test_a_missing_photo_is_named(tmp_path):
    with pytest.raises(PhotoError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")


def test_more_than_16_bits_and_floating_point_become_bytes(tmp_path):
    ramp = np.linspace(0, 1, 256).reshape(16, 16)
    for values in ((ramp * 1e6).astype(np.int32), ramp.astype(np.float32)):
        Image.fromarray(values).save(tmp_path / "a.tif")
        np.testing.assert_allclose(read_image(tmp_path / "a.tif")[..., 0], ramp * 255, atol=1.5)


def test_a_turned_gray_image_of_16_bits_becomes_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = (np.arange(12, dtype=np.uint16) * 5_000).reshape(3, 4)
    path = save(stored, tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(path)[..., 0], np.rot90(stored, -1) // 256)


def test_heic_is_read_or_its_remedy_named(portrait, tmp_path):
    try:
        import pillow_heif
    except ImportError:
        (tmp_path / "a.heic").write_bytes(b"any")
        with pytest.raises(PhotoError, match=r"a\.heic: HEIC images need .*; pip install 'davs_jax\[heic\]'"):
            read_image(tmp_path / "a.heic")
    else:
        pillow_heif.from_pillow(Image.fromarray(portrait)).save(tmp_path / "a.heic", quality=95)
        assert np.abs(read_image(tmp_path / "a.heic").astype(int) - portrait).mean() < 5


def test_an_image_is_shrunk_to_its_longer_side_and_never_enlarged(portrait):
    assert shrink(portrait, 150).shape == (150, 125, 3)
    assert shrink(portrait, 300) is portrait


def test_an_image_above_the_limit_is_refused_before_it_is_decoded(tmp_path):
    head = struct.pack(">IIBBBBB", 13_000, 13_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT\0\0\0\0")
    with pytest.raises(PhotoError, match=r"a\.png: its 13000 × 13000 pixels exceed 64 megapixels; reduce it"):
        read_image(tmp_path / "a.png")
    with warnings.catch_warnings(action="error"):  # Pillow's own would stand before our sentence
        assert is_still(tmp_path / "a.png")


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_above_the_limit_is_read_at_half_its_size_and_points_follow(
    portrait, tmp_path, monkeypatch, progressive
):
    monkeypatch.setattr(images, "MOST_PIXELS", 50_000)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(np.rot90(portrait), tmp_path / "a.jpg", exif=exif, progressive=progressive, quality=95)
    still = read_still(path)
    assert still.factor == 2 and still.image.shape == (150, 125, 3)
    small = np.asarray(Image.fromarray(portrait).resize((125, 150), Image.Resampling.BOX)).astype(int)
    assert np.abs(still.image - small).mean() < 4
    np.testing.assert_allclose(still.points(np.array([[0.5, 0.5], [100.5, 50.5]])), [[0, 0], [50, 25]])


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_of_several_images_the_first_is_used_with_a_note(portrait, tmp_path, name):
    Image.fromarray(portrait).save(
        tmp_path / name,
        save_all=True,
        append_images=[Image.fromarray(portrait[::-1])],
        **({"lossless": True} if "webp" in name else {}),
    )
    still = read_still(tmp_path / name)
    assert np.abs(still.image.astype(int) - portrait).mean() < 12
    assert still.note == f"{tmp_path / name}: holds several images; the first one is used"
    assert read_still(save(portrait, tmp_path / "single.png")).note == ""


def test_colours_of_a_profile_become_srgb(tmp_path):
    shown = np.broadcast_to(np.array([200, 120, 90], np.uint8), (8, 8, 3))  # in Display P3
    profile = icc_profile(((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), 2.2)
    wanted = 255 * np.clip(P3_TO_SRGB @ (np.array([200, 120, 90]) / 255) ** 2.2, 0, 1) ** (1 / 2.2)
    for name in ("a.png", "a.jpg", "a.webp", "a.tif"):
        path = save(shown, tmp_path / name, icc_profile=profile, quality=100)
        assert np.abs(read_image(path) - wanted).max() < 4
        assert np.abs(wanted - shown[0, 0]).max() > 10


def test_a_damaged_profile_and_that_of_srgb_leave_the_bytes_alone(portrait, tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile in (srgb, srgb[:60], b"no profile"):
        path = save(portrait, tmp_path / "a.png", icc_profile=profile)
        np.testing.assert_array_equal(read_image(path), portrait)


MODES = {
    "a.png": ("1", "P", "L", "LA", "I;16"),
    "a.jpg": ("1", "L", "CMYK", "YCbCr", "RGBX"),
    "a.tif": ("1", "P", "PA", "L", "LA", "CMYK", "RGBX", "I;16", "LAB"),
    "a.bmp": ("1", "P", "L"),
    "a.webp": ("P", "L", "LA"),
    "a.gif": ("1", "P", "L"),
}


@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name, modes in MODES.items() for mode in modes])
def test_every_mode_of_every_format_looks_like_the_original(portrait, tmp_path, mode, name):
    gray = mode in ("1", "LA", "L", "I;16")
    original = Image.fromarray(portrait)
    if mode == "PA":
        image = original.convert("P").convert("PA")
    elif mode == "I;16":
        image = Image.fromarray(np.asarray(original.convert("L")).astype(np.uint16) * 257)
    elif mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(original, ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
    else:
        image = original.convert(mode)
    image.save(tmp_path / name)
    wanted = np.asarray(original.convert("L").convert("RGB") if gray else original).astype(int)
    blur = [
        np.asarray(Image.fromarray(a.astype(np.uint8)).reduce(10)).astype(int)
        for a in (read_image(tmp_path / name), wanted)
    ]
    assert np.abs(blur[0] - blur[1]).mean() < 8


@pytest.mark.parametrize("name", ["a.heic", "a.jpg", "a"])
def test_heic_is_known_by_its_content(portrait, tmp_path, name):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.fromarray(portrait)).save(tmp_path / "made.heic", quality=95)
    (tmp_path / "made.heic").rename(tmp_path / name)
    assert np.abs(read_image(tmp_path / name).astype(int) - portrait).mean() < 5


def test_a_postscript_program_is_not_run(tmp_path):
    (tmp_path / "a.eps").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")
    with pytest.raises(PhotoError, match=r"a\.eps: cannot be read as an image"):
        read_image(tmp_path / "a.eps")


def test_a_jpeg_that_is_called_heic_is_read(portrait, tmp_path):
    save(portrait, tmp_path / "a.jpg").rename(tmp_path / "a.heic")
    assert read_image(tmp_path / "a.heic").shape == portrait.shape


# Display P3 to sRGB, both linear with the white D65: https://www.w3.org/TR/css-color-4/#color-conversion-code
P3_TO_SRGB = np.array([[1.2249, -0.2249, 0], [-0.0420, 1.0420, 0], [-0.0197, -0.0786, 1.0979]])
# Bradford's adaptation of XYZ from D65 to D50, the white of ICC profiles.
BRADFORD = np.array([[1.0479, 0.0230, -0.0502], [0.0296, 0.9904, -0.0171], [-0.0092, 0.0151, 0.7517]])


def icc_profile(primaries: tuple, gamma: float) -> bytes:
    """An ICC v2 profile of three primaries (x, y), the white D65 and a gamma."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    columns = BRADFORD @ (columns * np.linalg.solve(columns, [0.9505, 1, 1.0891]))

    def fixed(values):
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65_536) for value in values))

    text = b"test\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0" + text,
        b"wtpt": fixed([0.9642, 1, 0.8249]),
        **{name + b"XYZ": fixed(column) for name, column in zip([b"r", b"g", b"b"], columns.T, strict=True)},
        **{name + b"TRC": b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) for name in (b"r", b"g", b"b")},
    }
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    head += bytes(28) + struct.pack(">3i", 63_190, 65_536, 54_061)
    return head + bytes(128 - len(head)) + table + body


@pytest.mark.parametrize("read", [read_image, is_still])
def test_a_pipe_does_not_wait_for_a_writer(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.png")
    if read is is_still:
        assert not is_still(tmp_path / "pipe.png")
    else:
        with pytest.raises(PhotoError, match=r"pipe\.png: is a pipe or a device; save it to a file first"):
            read_image(tmp_path / "pipe.png")

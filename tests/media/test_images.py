import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from davs_jax.media.images import PhotoError, is_still, read_image, shrink


@pytest.fixture(scope="module")
def portrait():
    return data.astronaut()[:300, 100:350]


def save(image: np.ndarray, path, **options):
    Image.fromarray(image).save(path, **options)
    return path


def test_a_photo_is_turned_upright_as_its_exif_says(portrait, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90° clockwise
    stored = np.rot90(portrait)
    path = save(stored, tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(path), portrait)


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


@pytest.mark.parametrize("read", [read_image, is_still])
def test_a_pipe_does_not_wait_for_a_writer(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.png")
    if read is is_still:
        assert not is_still(tmp_path / "pipe.png")
    else:
        with pytest.raises(PhotoError, match=r"pipe\.png: is a pipe or a device; save it to a file first"):
            read_image(tmp_path / "pipe.png")

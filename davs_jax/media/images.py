"""Image files of any format as RGB arrays."""

import io
import os
import stat
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from davs_jax.errors import DavsError

HEIC = (".heic", ".heif")
STILLS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # Pillow knows more, but takes some videos for images


class PhotoError(DavsError):
    """An image file that cannot be read, or a photo whose face cannot be used."""


def read_image(path: Path, data: bytes | None = None) -> np.ndarray:
    """Any image file → uint8 `[H, W, 3]` RGB: upright as its EXIF says, transparency on white, gray as RGB.

    Args:
      path: the file; where `data` is given, only its name.
      data: the file's bytes, e.g. from an archive.

    Raises:
      PhotoError: the file is missing or not an image.
    """
    if Path(path).suffix.lower() in HEIC:
        _register_heic(path)
    if data is None and _is_special(path):
        raise PhotoError(f"{path}: is a pipe or a device", "save it to a file first")
    try:
        # Pillow warns above 89 megapixels and refuses above 179.
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(path if data is None else io.BytesIO(data)) as image,
        ):
            return _rgb(image)
    except FileNotFoundError as error:
        raise PhotoError(f"{path}: no such file", "check the path") from error
    except IsADirectoryError as error:
        raise PhotoError(f"{path}: is a folder", "name a file in it") from error
    except Image.DecompressionBombError as error:
        most = 2 * Image.MAX_IMAGE_PIXELS // 10**6
        raise PhotoError(f"{path}: is larger than {most} megapixels", "reduce it") from error
    except UnidentifiedImageError as error:
        raise PhotoError(f"{path}: cannot be read as an image", "give a JPEG, PNG or WebP file") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise PhotoError(f"{path}: is damaged ({error})", "copy it again, or save it anew") from error


def is_still(path: Path) -> bool:
    """Whether a file is an image, and not an animated one."""
    if _is_special(path):
        return False
    try:
        with Image.open(path, formats=STILLS) as image:
            return image.format == "MPO" or not getattr(image, "is_animated", False)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _is_special(path: Path) -> bool:
    """Whether a path is a pipe or a device, which may be read once, or never end."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def shrink(image: np.ndarray, longest: int) -> np.ndarray:
    """uint8 `[H, W, 3]` → at most `longest` pixels on its longer side; a smaller image is returned as it is."""
    height, width = image.shape[:2]
    if max(height, width) <= longest:
        return image
    size = tuple(max(1, round(side * longest / max(height, width))) for side in (width, height))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def _rgb(image: Image.Image) -> np.ndarray:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):  # 16 bits or more, which Pillow would clip to white
        image = _to_8_bits(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Gray of 16 bits by its upper eight; of more bits or in floating point, scaled from its minimum to its maximum."""
    values = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;16") or (image.mode == "I" and values.min() >= 0 and values.max() < 2**16):
        return Image.fromarray((values // 256).astype(np.uint8))
    low, high = np.nanmin(values), np.nanmax(values)
    return Image.fromarray(np.nan_to_num(255 * (values - low) / max(high - low, 1e-12)).astype(np.uint8))


def _register_heic(path: Path) -> None:
    try:
        import pillow_heif
    except ImportError as error:
        remedy = "pip install 'davs_jax[heic]', or save it as JPEG"
        raise PhotoError(f"{path}: HEIC images need the package pillow-heif", remedy) from error
    pillow_heif.register_heif_opener()

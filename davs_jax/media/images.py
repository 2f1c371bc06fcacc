"""Image files of any format as RGB arrays."""

import contextlib
import io
import os
import stat
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from davs_jax.errors import DavsError
from davs_jax.media.icc import to_srgb

HEIC = (".heic", ".heif")
HEIC_BRANDS = (b"ftyphei", b"ftyphev")  # how HEIC files begin, after their first four bytes, whatever their name
STILLS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # Pillow knows more, but takes some videos for images
MOST_PIXELS = 64_000_000  # of a decoded image; a larger JPEG is decoded at half its size


class PhotoError(DavsError):
    """An image file that cannot be read, or a photo whose face cannot be used."""


@dataclass(frozen=True)
class Still:
    """A decoded image file.

    Attributes:
      image: uint8 `[H, W, 3]` RGB, upright.
      factor: by which both sides are smaller than the file's.
      note: what the file holds besides, one sentence for the user; "" where nothing.
    """

    image: np.ndarray
    factor: int = 1
    note: str = ""

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points `[N, 2]` in the file's pixels, in the image's (pixel centres are at integers)."""
        return points if self.factor == 1 else (np.asarray(points) + 0.5) / self.factor - 0.5


def read_still(path: Path, data: bytes | None = None) -> Still:
    """Any image file → uint8 RGB: upright as its EXIF says, transparency on white, gray as RGB, colours in sRGB.

    Of several images in a file (an animation, pages) the first is decoded.

    Args:
      path: the file; where `data` is given, only its name.
      data: the file's bytes, e.g. from an archive.

    Raises:
      PhotoError: the file is missing, not an image, or has more than MOST_PIXELS (a JPEG: than Pillow's limit).
    """
    if data is None and _is_special(path):
        raise PhotoError(f"{path}: is a pipe or a device", "save it to a file first")
    heic = _register_heic() if _is_heic(path, data) else True
    try:
        with _quietly_opened(path if data is None else io.BytesIO(data)) as image:
            if image.format == "EPS":  # a program, which Pillow would have Ghostscript run
                raise UnidentifiedImageError("EPS")
            factor = _bounded(path, image)
            several = image.format != "MPO" and getattr(image, "is_animated", False)
            note = f"{path}: holds several images; the first one is used" if several else ""
            return Still(_rgb(image), factor, note)
    except PhotoError:
        raise
    except FileNotFoundError as error:
        raise PhotoError(f"{path}: no such file", "check the path") from error
    except IsADirectoryError as error:
        raise PhotoError(f"{path}: is a folder", "name a file in it") from error
    except Image.DecompressionBombError as error:
        most = 2 * Image.MAX_IMAGE_PIXELS // 10**6
        raise PhotoError(f"{path}: is larger than {most} megapixels", "reduce it") from error
    except UnidentifiedImageError as error:
        if not heic:
            remedy = "pip install 'davs_jax[heic]', or save it as JPEG"
            raise PhotoError(f"{path}: HEIC images need the package pillow-heif", remedy) from error
        raise PhotoError(f"{path}: cannot be read as an image", "give a JPEG, PNG or WebP file") from error
    except Exception as error:  # Pillow's readers raise any exception on a damaged file
        raise PhotoError(f"{path}: is damaged ({error})", "copy it again, or save it anew") from error


def read_image(path: Path, data: bytes | None = None) -> np.ndarray:
    """The image of `read_still`, with its arguments and errors."""
    return read_still(path, data).image


def is_still(path: Path) -> bool:
    """Whether a file is an image, and not an animated one."""
    if _is_special(path):
        return False
    try:
        with _quietly_opened(path, STILLS) as image:
            return image.format == "MPO" or not getattr(image, "is_animated", False)
    except Exception:  # as above
        return False


@contextlib.contextmanager
def _quietly_opened(file: Path | io.BytesIO, formats: Collection[str] | None = None) -> Iterator[Image.Image]:
    """Opens an image without Pillow's warning above 89 megapixels; above 179 Pillow refuses."""
    with (
        warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
        Image.open(file, formats=formats) as image,
    ):
        yield image


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


def _bounded(path: Path, image: Image.Image) -> int:
    """Limits what decoding will need; returns the factor by which the sides become smaller."""
    width, height = image.size
    if width * height <= MOST_PIXELS:
        return 1
    if image.format in ("JPEG", "MPO"):
        image.draft(None, (width // 2, height // 2))
        return round(width / image.size[0])
    reason = f"{path}: its {width} × {height} pixels exceed {MOST_PIXELS // 10**6} megapixels"
    raise PhotoError(reason, "reduce it, or save it as JPEG")


def _rgb(image: Image.Image) -> np.ndarray:
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):  # 16 bits or more, which Pillow would clip to white
        image = _to_8_bits(image)
    if image.has_transparency_data:
        profile = image.info.get("icc_profile")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        image.info["icc_profile"] = profile
    image = to_srgb(image)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Gray of 16 bits by its upper eight; of more bits or in floating point, scaled from its minimum to its maximum."""
    values = np.asarray(image)
    if image.mode.startswith("I;16") or (image.mode == "I" and values.min() >= 0 and values.max() < 2**16):
        return Image.fromarray((values // 256).astype(np.uint8))
    values = values.astype(np.float64)
    low, high = np.nanmin(values), np.nanmax(values)
    return Image.fromarray(np.nan_to_num(255 * (values - low) / max(high - low, 1e-12)).astype(np.uint8))


def _is_heic(path: Path, data: bytes | None) -> bool:
    if Path(path).suffix.lower() in HEIC:
        return True
    if data is None:
        try:
            with open(path, "rb") as file:
                data = file.read(16)
        except OSError:
            return False  # opening it says why
    return data[4:11] in HEIC_BRANDS


def _register_heic() -> bool:
    """Makes Pillow read HEIC; returns whether the package for it is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True

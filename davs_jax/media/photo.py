"""A photo of a face, from whatever file holds it to the aligned crop that the networks take."""

import io
import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from davs_jax.constants import stored_size
from davs_jax.errors import DavsError
from davs_jax.media.faces import alignment, detectors, tracking

POINTS = "left eye, right eye, nose, left mouth corner, right mouth corner, as seen in the picture"
HEIC = (".heic", ".heif")
STILLS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")  # Pillow knows more, but takes some videos for pictures
SMALL = 256  # pixels; a picture below is enlarged to that before faces are looked for in it
LARGE = 1600  # pixels at which a picture is looked at where none was found at the detector's own size
# Confidence of a face that counts. People, paintings, drawings: 0.996 and more; a dog's face: 0.75 (docs/results.md).
SURE = 0.9
# How far a picture that is said to be aligned may be from the template before we say so.
MAX_SCALE, MAX_TURN, MAX_SHIFT = 1.25, 15.0, 0.12  # factor, degrees, part of the side


class PhotoError(DavsError):
    """A photo or its points cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class Photo:
    """A photo, and the face in it.

    Attributes:
      picture: uint8 `[H, W, 3]` RGB, upright.
      points: float `[5, 2]` in the picture; None where the picture is nothing but the crop.
      crop: uint8 `[S, S, 3]`, the aligned face.
      doubt: what looks wrong, for the user's eyes; "" where nothing does.
      lost: the face is out of sight (in a frame of a video), and the points are a guess.
    """

    picture: np.ndarray
    points: np.ndarray | None
    crop: np.ndarray
    doubt: str = ""
    lost: bool = False


def read_photo(
    path: Path, image_size: int, points: np.ndarray | None = None, aligned: bool = False, number: int = 1
) -> Photo:
    """Reads a photo and aligns its face.

    Args, Raises: as `photo_of`; PhotoError too where the file is no picture.
    """
    return photo_of(read_picture(path), image_size, points, aligned, number, str(path))


def photo_of(
    picture: np.ndarray,
    image_size: int,
    points: np.ndarray | None = None,
    aligned: bool = False,
    number: int = 1,
    name: str = "the photo",
) -> Photo:
    """Finds and aligns the face in a picture uint8 `[H, W, 3]`.

    Args:
      image_size: S, side of the crop in pixels.
      points: `[5, 2]`, where the face's points are known; else they are looked for.
      aligned: the picture is a square aligned crop already (as `face.align` makes them); it is only resized.
      number: which of the faces found, from 1, the largest.
      name: what the picture is called in messages.

    Raises:
      PhotoError: the picture shows no face, or fewer than `number`, or its points make none.
    """
    if aligned:
        if picture.shape[0] != picture.shape[1]:
            raise PhotoError(
                f"{name}: is {picture.shape[1]} × {picture.shape[0]} pixels, but an aligned crop is square; leave out "
                "--aligned to have it aligned"
            )
        crop = np.asarray(Image.fromarray(picture).resize((image_size, image_size), Image.Resampling.LANCZOS))
        return Photo(picture, _aligned_points(len(picture), image_size), crop, _doubt(name, picture))
    doubt = ""
    if points is None:
        faces = find_faces(picture)
        if not faces:
            raise PhotoError(
                f"{name}: no face of a human was found; give the five points of the one to use (an animal's too) with "
                f"--points ({POINTS}), or --aligned if it is an aligned crop already"
            )
        if not 1 <= number <= len(faces):
            raise PhotoError(f"{name}: --face {number}: it has {len(faces)}; --faces PNG shows them with their numbers")
        if len(faces) > 1:
            doubt = f"{name}: has {len(faces)} faces, of which number {number} by size is used; --faces PNG shows them"
        points = np.asarray(faces[number - 1].points, np.float64).clip(0, np.array(picture.shape[1::-1]))
    _check_points(name, picture, points)
    return Photo(picture, points, aligned_crop(picture, points, image_size), doubt)


def find_faces(picture: np.ndarray) -> list[tracking.Face]:
    """The faces in a picture uint8 `[H, W, 3]`, the largest first; also in tiny and in huge pictures.

    What the detector is not sure of is left out: it is often an animal, and its points lie anywhere.
    """
    grown = max(1.0, SMALL / max(picture.shape[:2]))
    size = tuple(max(1, round(side * grown)) for side in picture.shape[1::-1])
    seen = picture if grown == 1 else np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
    faces = _sure(tracking.default_detector().detect(seen))
    if not faces and max(picture.shape[:2]) > SMALL:
        faces = _sure(detectors.Mtcnn(longest=LARGE).detect(seen))
    if grown > 1:
        faces = [f._replace(points=(f.points + 0.5) / grown - 0.5, box=f.box / grown) for f in faces]
    return sorted(faces, key=lambda f: -f.box[2] * f.box[3])


def _sure(faces: Sequence[tracking.Face]) -> list[tracking.Face]:
    return [found for found in faces if found.confidence >= SURE]


def read_picture(path: Path, data: bytes | None = None) -> np.ndarray:
    """Any picture file → uint8 `[H, W, 3]` RGB: turned upright as its EXIF says, transparency on white, gray as RGB.

    Args:
      path: the file, or where `data` is given only its name.
      data: the file's bytes, where it lies inside another.

    Raises:
      PhotoError: the file is missing or no picture.
    """
    if Path(path).suffix.lower() in HEIC:
        _open_heic(path)
    try:
        # Pillow warns from 89 megapixels on, and refuses from 179 on.
        with (
            warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning),
            Image.open(path if data is None else io.BytesIO(data)) as image,
        ):
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith(("I", "F")):  # 16 bits or more, which Pillow would clip to white
                image = _to_8_bits(image)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError as error:
        raise PhotoError(f"{path}: no such file; check the path") from error
    except IsADirectoryError as error:
        raise PhotoError(f"{path}: is a folder; name a file in it") from error
    except Image.DecompressionBombError as error:
        raise PhotoError(
            f"{path}: is larger than {2 * Image.MAX_IMAGE_PIXELS // 10**6} megapixels; reduce it"
        ) from error
    except UnidentifiedImageError as error:
        raise PhotoError(f"{path}: cannot be read as a picture; give a JPEG, PNG or WebP file") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise PhotoError(f"{path}: is damaged ({error}); copy it again, or save it anew") from error


def is_still(path: Path) -> bool:
    """Whether a file is a picture that does not move."""
    try:
        with Image.open(path, formats=STILLS) as image:
            return image.format == "MPO" or not getattr(image, "is_animated", False)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Gray of 16 bits by its upper eight; of more, or in floating point, from its darkest to its brightest."""
    values = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;16") or (image.mode == "I" and values.min() >= 0 and values.max() < 2**16):
        return Image.fromarray((values // 256).astype(np.uint8))
    low, high = np.nanmin(values), np.nanmax(values)
    return Image.fromarray(np.nan_to_num(255 * (values - low) / max(high - low, 1e-12)).astype(np.uint8))


def _open_heic(path: Path) -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise PhotoError(f"{path}: to read HEIC, pip install 'davs_jax[heic]', or save it as JPEG") from error
    pillow_heif.register_heif_opener()


def aligned_crop(picture: np.ndarray, points: np.ndarray, image_size: int) -> np.ndarray:
    """The networks' view of a face, uint8 `[S, S, 3]`: aligned at the stored size, then its centre, as in testing."""
    stored = alignment.align(picture, points, stored_size(image_size))
    margin = (stored_size(image_size) - image_size) // 2
    return stored[margin : margin + image_size, margin : margin + image_size]


def crop_matrix(points: np.ndarray, image_size: int) -> np.ndarray:
    """The map from a picture to its face's `aligned_crop`, float64 `[2, 3]`; ValueError as `face.similarity`."""
    stored = stored_size(image_size)
    matrix = alignment.similarity(points, stored)
    matrix[:, 2] -= (stored - image_size) // 2
    return matrix


def _aligned_points(side: int, image_size: int) -> np.ndarray:
    """The points of an aligned crop of `side` pixels, `[5, 2]`: those whose `crop_matrix` only resizes it."""
    stored = stored_size(image_size)
    eyes_and_mouth = alignment.template(stored) - (stored - image_size) // 2
    left, right, mouth = (eyes_and_mouth + 0.5) * side / image_size - 0.5
    half = np.array([(right - left)[0] / 3, 0])
    return np.stack([left, right, (left + right + mouth) / 3, mouth - half, mouth + half])


def reduced(photo: Photo, longest: int) -> Photo:
    """The photo at no more than `longest` pixels on its longer side; its crop stays as it is."""
    height, width = photo.picture.shape[:2]
    if max(height, width) <= longest:
        return photo
    size = tuple(max(1, round(side * longest / max(height, width))) for side in (width, height))
    picture = np.asarray(Image.fromarray(photo.picture).resize(size, Image.Resampling.LANCZOS))
    points = photo.points
    if points is not None:  # pixel centres lie at whole numbers
        points = (np.asarray(points) + 0.5) * size / (width, height) - 0.5
    return replace(photo, picture=picture, points=points)


def parse_points(words: Sequence[str]) -> np.ndarray:
    """Five points as typed, `x,y` each, or a JSON file of them (a list, alone or under "points") → `[5, 2]`.

    Raises:
      PhotoError: these are not five points.
    """
    said = " ".join(words)
    remedy = f'five "x,y" ({POINTS}) or a JSON file of them are needed'
    try:
        if len(words) == 1:
            stored = json.loads(Path(words[0]).read_text())
            points = stored["points"] if isinstance(stored, dict) else stored
        else:
            points = [[float(number) for number in word.split(",")] for word in words]
        points = np.array(points, np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PhotoError(f"--points {said}: cannot be read; {remedy}") from error
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise PhotoError(f"--points {said}: are not five finite points; {remedy}")
    return points


def _check_points(name: str, picture: np.ndarray, points: np.ndarray) -> None:
    height, width = picture.shape[:2]
    if (points < 0).any() or (points > (width, height)).any():
        raise PhotoError(f"{name}: is {width} × {height} pixels, and points {points.tolist()} lie outside; check them")
    eyes, down = points[1] - points[0], points[3:].mean(0) - points[:2].mean(0)
    if eyes[0] * down[1] - eyes[1] * down[0] <= 0:
        raise PhotoError(f"{name}: points {points.tolist()} make no face; their order is {POINTS}")


def _doubt(name: str, picture: np.ndarray) -> str:
    """Says whether a face that is found in an "aligned" picture lies where an aligned face does not."""
    try:
        (a, b, x), (_, _, y) = alignment.similarity(tracking.track(picture[None]).points[0], len(picture))
    except (alignment.NoFace, ValueError):
        return ""  # animals and cartoons, for whom --aligned is there
    scale, turn = math.hypot(a, b), math.degrees(math.atan2(-b, a))
    middle = len(picture) / 2
    shift = math.hypot(a * middle + b * middle + x - middle, -b * middle + a * middle + y - middle) / len(picture)
    if max(scale, 1 / scale) < MAX_SCALE and abs(turn) < MAX_TURN and shift < MAX_SHIFT:
        return ""
    return (
        f"{name}: its face lies where an aligned face does not (scale {scale:.2f}, turned {turn:.0f}°, shifted by "
        f"{100 * shift:.0f} %), which gives poor results; leave out --aligned to have it aligned"
    )

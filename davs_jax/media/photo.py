"""A photo of a face: its image, the face found in it, and the aligned crop that the networks take."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from davs_jax.face_geometry import stored_size
from davs_jax.media.faces import alignment, detectors, tracking, turned
from davs_jax.media.faces.alignment import aligned_crop
from davs_jax.media.images import PhotoError, shrink

POINTS = "left eye, right eye, nose, left mouth corner, right mouth corner, as seen in the image"
SMALL = 256  # pixels; a smaller image is enlarged to this before detection
LARGE = 1600  # pixels of the second detection, where the first, at the detector's own size, found no face
# Least confidence of a face. People, paintings and drawings have 0.996 and more, a dog's face 0.75 (docs/decisions.md).
MIN_CONFIDENCE = 0.9
# How far the face of an "aligned" image may be from the template without a warning: factor, degrees, part of the side.
MAX_SCALE, MAX_TURN, MAX_SHIFT = 1.25, 15.0, 0.12
# How far the nose may be from the middle between the eyes without a warning, in eye distances. A face in three quarters
# has 0.4, a profile 0.7.
MAX_ASIDE = 0.5


@dataclass(frozen=True)
class Photo:
    """A photo and the face in it.

    Attributes:
      image: uint8 `[H, W, 3]` RGB, upright.
      points: float `[5, 2]` in the image; None where the image is the crop alone.
      crop: uint8 `[S, S, 3]`, the aligned face.
      warning: what looks wrong, sentences for the user; "" where nothing does.
      lost: the face is out of sight (in a frame of a video), and the points are a guess.
    """

    image: np.ndarray
    points: np.ndarray | None
    crop: np.ndarray
    warning: str = ""
    lost: bool = False

    def with_warning(self, sentence: str) -> "Photo":
        """The photo with one more warning; "" is none."""
        return replace(self, warning="; ".join(part for part in (self.warning, sentence) if part))


def photo_of(
    image: np.ndarray,
    image_size: int,
    points: np.ndarray | None = None,
    aligned: bool = False,
    face: int = 1,
    name: str = "the photo",
) -> Photo:
    """Finds and aligns the face in an image uint8 `[H, W, 3]`; an image in which it is not upright is turned.

    Args:
      image_size: S, side of the crop in pixels.
      points: `[5, 2]`, the face's points where they are known; otherwise the face is detected.
      aligned: the image already is a square aligned crop (as `faces.align` makes them) and is only resized.
      face: which of the detected faces, from 1, the largest.
      name: what messages call the image.

    Raises:
      PhotoError: the image shows no face, or fewer than `face`, or its points do not form one.
    """
    if aligned:
        return _aligned_photo(image, image_size, name)
    warning = lies = ""
    if points is None:
        faces = find_faces(image)
        points = _points_of(faces, face, image, name)
        if len(faces) > 1:
            warning = f"{name}: has {len(faces)} faces; number {face} by size is used; --faces PNG shows them"
    _check_points(name, image, points)
    if quarters := turned.quarters_to_upright(points):
        points = turned.turned_points(points, image.shape[:2], quarters)
        image = np.ascontiguousarray(np.rot90(image, quarters))
        lies = f"{name}: its face is not upright, so the photo is turned by {360 - 90 * quarters}° clockwise"
    photo = Photo(image, points, aligned_crop(image, points, image_size), warning)
    return photo.with_warning(lies).with_warning(_aside(name, points))


def find_faces(image: np.ndarray) -> list[detectors.Face]:
    """The faces in an image uint8 `[H, W, 3]` of any size and orientation, the largest first.

    Detections below MIN_CONFIDENCE are left out: they are often animals, and their points are arbitrary.
    """
    faces = turned.detect(image, _upright_faces, detectors.Mtcnn.SURE, detectors.Mtcnn.CLEAR)
    return sorted(faces, key=lambda f: -f.box[2] * f.box[3])


def reduced(photo: Photo, longest: int) -> Photo:
    """The photo with an image of at most `longest` pixels on its longer side; its crop stays as it is."""
    image = shrink(photo.image, longest)
    if image is photo.image:
        return photo
    points = photo.points
    if points is not None:  # pixel centres are at integers
        points = (np.asarray(points) + 0.5) * image.shape[1::-1] / photo.image.shape[1::-1] - 0.5
    return replace(photo, image=image, points=points)


def parse_points(words: Sequence[str]) -> np.ndarray:
    """Five points as typed, `x,y` each, or the name of a JSON file of them (a list, alone or under "points").

    Returns:
      float64 `[5, 2]`.

    Raises:
      PhotoError: these are not five points.
    """
    given = f"points {' '.join(words)}"
    remedy = f'give five "x,y" ({POINTS}) or a JSON file of them'
    try:
        if len(words) == 1:
            stored = json.loads(Path(words[0]).read_bytes())
            points = stored["points"] if isinstance(stored, dict) else stored
        else:
            points = [[float(number) for number in word.split(",")] for word in words]
        points = np.array(points, np.float64)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PhotoError(f"{given}: cannot be read", remedy) from error
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise PhotoError(f"{given}: are not five finite points", remedy)
    return points


def _upright_faces(image: np.ndarray) -> list[detectors.Face]:
    scale = max(1.0, SMALL / max(image.shape[:2]))
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    enlarged = image if scale == 1 else np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    faces = _confident(detectors.detector().detect(enlarged))
    if not faces and max(image.shape[:2]) > SMALL:
        faces = _confident(detectors.Mtcnn(longest=LARGE).detect(enlarged))
    if scale > 1:
        faces = [f._replace(points=(f.points + 0.5) / scale - 0.5, box=f.box / scale) for f in faces]
    return faces


def _confident(faces: Sequence[detectors.Face]) -> list[detectors.Face]:
    return [face for face in faces if face.confidence >= MIN_CONFIDENCE]


def _points_of(faces: Sequence[detectors.Face], face: int, image: np.ndarray, name: str) -> np.ndarray:
    """The points of the face of this number, from 1, within the image."""
    if not faces:
        raise PhotoError(
            f"{name}: no human face was found",
            f"give the face's five points ({POINTS}), an animal's too, or an aligned crop",
            command_line=f"give the five points of the face to use (an animal's too) with --points ({POINTS}), or "
            "--aligned if the photo is an aligned crop already",
            python=f"give the five points of the face to use (an animal's too) as points ({POINTS}), or aligned=True "
            "if the photo is an aligned crop already",
            page="set the five points of the face to use by hand",
        )
    if not 1 <= face <= len(faces):
        raise PhotoError(
            f"{name}: there is no face {face} among the {len(faces)} found",
            f"give a number from 1, the largest, to {len(faces)}",
            command_line="--faces PNG shows them with their numbers",
        )
    return np.asarray(faces[face - 1].points, np.float64).clip(0, np.array(image.shape[1::-1]))


def _check_points(name: str, image: np.ndarray, points: np.ndarray) -> None:
    height, width = image.shape[:2]
    if (points < 0).any() or (points > (width, height)).any():
        raise PhotoError(f"{name}: points {points.tolist()} lie outside its {width} × {height} pixels", "check them")
    eyes, down = points[1] - points[0], points[3:].mean(0) - points[:2].mean(0)
    if eyes[0] * down[1] - eyes[1] * down[0] <= 0:
        raise PhotoError(f"{name}: points {points.tolist()} do not form a face", f"give them in the order {POINTS}")


def _aside(name: str, points: np.ndarray) -> str:
    """A warning where a face looks far to the side, else ""."""
    along = points[1] - points[0]
    if abs((points[2] - points[:2].mean(0)) @ along) <= MAX_ASIDE * (along @ along):
        return ""
    return (
        f"{name}: its face looks to the side, where a mouth is seldom drawn well; choose a photo from the front, or as "
        "near to it as there is"
    )


def _aligned_photo(image: np.ndarray, image_size: int, name: str) -> Photo:
    height, width = image.shape[:2]
    if height != width:
        raise PhotoError(
            f"{name}: is {width} × {height} pixels, but an aligned crop is square",
            "give a square crop, or the whole photo, which is then aligned",
            command_line="leave out --aligned to have it aligned",
            python="leave out aligned=True to have it aligned",
        )
    crop = np.asarray(Image.fromarray(image).resize((image_size, image_size), Image.Resampling.LANCZOS))
    return Photo(image, _aligned_points(height, image_size), crop, _misalignment(name, image))


def _aligned_points(side: int, image_size: int) -> np.ndarray:
    """The points of an aligned crop of `side` pixels, `[5, 2]`: those whose `crop_matrix` only resizes it."""
    stored = stored_size(image_size)
    eyes_and_mouth = alignment.template(stored) - (stored - image_size) // 2
    left, right, mouth = (eyes_and_mouth + 0.5) * side / image_size - 0.5
    half = np.array([(right - left)[0] / 3, 0])
    return np.stack([left, right, (left + right + mouth) / 3, mouth - half, mouth + half])


def _misalignment(name: str, image: np.ndarray) -> str:
    """A warning where the face detected in an "aligned" image is far from the template, else ""."""
    try:
        (a, b, x), (_, _, y) = alignment.similarity(tracking.track(image[None]).points[0], len(image))
    except (tracking.NoFace, ValueError):
        return ""  # animals and cartoons, for which --aligned is meant
    scale, turn = math.hypot(a, b), math.degrees(math.atan2(-b, a))
    middle = len(image) / 2
    shift = math.hypot(a * middle + b * middle + x - middle, -b * middle + a * middle + y - middle) / len(image)
    if max(scale, 1 / scale) < MAX_SCALE and abs(turn) < MAX_TURN and shift < MAX_SHIFT:
        return ""
    return (
        f"{name}: its face is not where an aligned face is (scale {scale:.2f}, turned by {turn:.0f}°, shifted by "
        f"{100 * shift:.0f} %), which gives poor results; leave out --aligned to have it aligned"
    )

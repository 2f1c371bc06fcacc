"""Selects a face in a photo by clicks: one of the detected faces, or five points by hand."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from davs_jax.media.faces import turned
from davs_jax.media.faces.detectors import Face
from davs_jax.media.images import read_still
from davs_jax.media.photo import POINTS, find_faces

LONGEST = 1024  # pixels of the displayed image on its longer side
NAMES = POINTS.split(", as ")[0].split(", ")
CHOSEN, OTHER, RIM = (48, 200, 110), (250, 250, 250), (20, 24, 32)  # colours


@dataclass(frozen=True)
class Choice:
    """A photo and the selection in it so far.

    Attributes:
      path: the photo.
      image: uint8 `[h, w, 3]`, the photo as it is displayed.
      size: width and height of the photo in pixels.
      faces: the detected faces, the largest first.
      points: float `[n, 2]` in the photo's pixels: five of a face, or as many as were clicked so far.
      by_hand: clicks set points; otherwise they select a face.
    """

    path: Path
    image: np.ndarray
    size: tuple[int, int]
    faces: list[Face] = field(default_factory=list)
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    by_hand: bool = False

    @property
    def complete(self) -> bool:
        return len(self.points) == len(NAMES)


def look(path: Path) -> Choice:
    """Opens a photo and selects its largest face; where none is detected, the points are set by hand.

    Raises:
      PhotoError: it is not an image.
    """
    still = read_still(path)
    photo, factor = still.image, still.factor
    faces = [
        face._replace(points=(face.points + 0.5) * factor - 0.5, box=face.box * factor) for face in find_faces(photo)
    ]
    size = photo.shape[1] * factor, photo.shape[0] * factor
    scale = min(1.0, LONGEST / max(size))
    shown = Image.fromarray(photo).resize([max(1, round(side * scale)) for side in size], Image.Resampling.LANCZOS)
    choice = Choice(path, np.asarray(shown), size, faces)
    return replace(choice, points=_inside(choice, faces[0].points)) if faces else replace(choice, by_hand=True)


def by_hand(choice: Choice) -> Choice:
    """Discards the points: the next five clicks set them."""
    return replace(choice, points=np.zeros((0, 2)), by_hand=True)


def clicked(choice: Choice, x: float, y: float) -> Choice:
    """Applies a click on the displayed image: it sets the next point, moves the nearest one, or selects a face."""
    place = (np.array([x, y]) + 0.5) / _scale(choice) - 0.5
    if not choice.by_hand:
        centres = np.stack([f.box[:2] + f.box[2:] / 2 for f in choice.faces])
        nearest = int(np.linalg.norm(centres - place, axis=1).argmin())
        return replace(choice, points=_inside(choice, choice.faces[nearest].points))
    points = choice.points.copy()
    if choice.complete:
        points[np.linalg.norm(points - place, axis=1).argmin()] = place
    else:
        points = np.concatenate([points, place[None]])
    return replace(choice, points=_inside(choice, points))


def hint(choice: Choice) -> str:
    """What to do next, in a sentence."""
    if not choice.by_hand:
        if len(choice.faces) == 1:
            lies = turned.quarters_to_upright(choice.points)
            return "The face is found; the photo will be turned upright." if lies else "The face is found."
        return f"{len(choice.faces)} faces are found: click on the one that is to talk."
    if choice.complete:
        return "The five points are set; a click moves the nearest one."
    found = (
        "" if choice.faces or len(choice.points) else "No face is found here (for animals and drawings that is usual). "
    )
    return f"{found}Click on the **{NAMES[len(choice.points)]}**, as seen in the image."


def annotated(choice: Choice) -> np.ndarray:
    """The displayed image with the detected faces and the selected points."""
    image = choice.image.copy()
    thick = max(2, round(max(image.shape[:2]) / 250))
    scale = _scale(choice)
    if not choice.by_hand:
        for found in choice.faces:
            chosen = np.array_equal(_inside(choice, found.points), choice.points)
            left, top, width, height = (found.box * np.tile(scale, 2)).round().astype(int)
            corners = (left, top), (left + width, top + height)
            cv2.rectangle(image, *corners, RIM, thick + 2, cv2.LINE_AA)
            cv2.rectangle(image, *corners, CHOSEN if chosen else OTHER, thick, cv2.LINE_AA)
    for x, y in (choice.points + 0.5) * scale - 0.5:
        for radius, colour in ((2 * thick + 2, RIM), (2 * thick, CHOSEN)):
            cv2.circle(image, (round(x), round(y)), radius, colour, -1, cv2.LINE_AA)
    return image


def _scale(choice: Choice) -> np.ndarray:
    """Pixels of the displayed image per pixel of the photo, by axis."""
    return np.array(choice.image.shape[1::-1]) / choice.size


def _inside(choice: Choice, points: np.ndarray) -> np.ndarray:
    return np.asarray(points, np.float64).clip(0, np.array(choice.size) - 1)

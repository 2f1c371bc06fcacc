"""A photo that speaks: the face of a real photo, moved by the mouth shapes of synthetic speech.

It stands in for `rendering.Face`. Lips, chin and cheeks of the photo are moved by two smooth fields, one for what lies
above the line between the lips and one for what lies below; the gap between them shows the mouth's inside, as it is
drawn for synthetic people. Real skin, hair and lips thus come with the ground truth of synthetic speech.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from data_prep.synthetic.canvas import Canvas, fixed
from data_prep.synthetic.motion import REST
from data_prep.synthetic.mouth import ACROSS, Mouth, inside, mouth_geometry
from data_prep.synthetic.people import Person
from data_prep.synthetic.rendering import JAW, LabelledImage, Light, Pose, canvas_of, pose_matrix
from davs_jax.media.faces import mesh
from davs_jax.media.images import PhotoError, read_image
from davs_jax.media.photo import find_faces

# Eye distances: the widest gap between the lips of a photo that can be opened. In closed mouths the mesh sees up to
# 0.14, most of all between full, dark lips.
CLOSED = 0.15
REACH = ((-1.5, 0.3), (1.5, 2.6))  # the part that moves: left top and right bottom, in eye distances
CELL = 16  # pixels of the canvas between the places where the fields are computed
SKIN = 190.0  # brightness of the skin around a mouth for which teeth and tongue are drawn as they are


@dataclass(frozen=True)
class Still:
    """A photo on the canvas, with its lips and its chin in face units."""

    image: np.ndarray  # uint8 [C, C, 3]
    mouth: Mouth
    jaw: np.ndarray  # [15, 2]
    fixed: np.ndarray  # [N, 2], what stays in its place: eyes and nose
    nose: np.ndarray  # [2], its tip


class PhotoFace:
    """One photo in one light, ready to be rendered.

    Args:
      person: has a photo; its lips and its mouth are replaced by those of the photo.
      size: side of the images in pixels.

    Raises:
      PhotoError: the photo shows no face, or its mouth is open.
      DetectorError: the weights of the face mesh are not installed.
    """

    def __init__(self, person: Person, size: int, light: Light):
        self._still, self.size, self._canvas = _still(person.photo, size), size, canvas_of(size)
        mouth = self._still.mouth
        middle = len(ACROSS) // 2
        self.person = replace(
            person,
            mouth=float(mouth.inner_upper[middle, 1]),
            mouth_width=float(np.ptp(mouth.outer_upper[:, 0])),
            upper_lip=float(mouth.inner_upper[middle, 1] - mouth.outer_upper[middle, 1]),
            lower_lip=float(mouth.outer_lower[middle, 1] - mouth.inner_lower[middle, 1]),
        )
        self._rest = mouth_geometry(self.person, np.array(REST))
        x, y = self._canvas.grid()
        slope = 1 + 0.15 * light.contrast * (light.direction[0] * x + light.direction[1] * (y - 0.5))
        lit = self._still.image * (slope[..., None] * np.float32(light.colour))
        self._image = np.clip(lit, 0, 255).astype(np.uint8)
        chin = self._canvas.pixels([[0, self.person.mouth + 0.35]])[0].astype(int)
        near = self._image[chin[1] - 20 : chin[1] + 20, chin[0] - 20 : chin[0] + 20]
        self._brightness = float(np.clip(near.mean() / SKIN, 0.5, 1.1))

    def render(self, shape: np.ndarray, pose: Pose) -> LabelledImage:
        """Renders one frame; lids and brows stay as they are in the photo.

        Args:
          shape: of the mouth, `[6]` (`motion.FIELDS`, scaled for this person).
        """
        mouth = self._spoken(shape)
        image = self._image.copy()
        low, high = (np.clip(self._canvas.pixels([p])[0], 0, self._canvas.size).astype(int) for p in REACH)
        part = image[low[1] : high[1], low[0] : high[0]]
        part[:] = self._moved(part, low, mouth)
        if mouth.opening > 0.005:
            self._open(part, low, mouth, shape)
        points = np.vstack([[(-0.5, 0), (0.5, 0)], [self._still.nose], mouth.outer_upper[[0, -1]]])
        matrix = pose_matrix(pose, self._canvas, self.size)
        extended = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
        image = cv2.warpAffine(image, matrix, (self.size, self.size), **extended)
        return LabelledImage(image, self._canvas.pixels(points) @ matrix[:, :2].T + matrix[:, 2], mouth.opening)

    def _spoken(self, shape: np.ndarray) -> Mouth:
        """The photo's lips, moved as those of a synthetic person of the same proportions."""
        target, curves = mouth_geometry(self.person, shape), {}
        for name in ("outer_upper", "inner_upper", "inner_lower", "outer_lower"):
            curves[name] = getattr(self._still.mouth, name) + getattr(target, name) - getattr(self._rest, name)
        return Mouth(**curves)

    def _moved(self, part: np.ndarray, low: np.ndarray, mouth: Mouth) -> np.ndarray:
        """The part of the canvas with lips, chin and cheeks in their new places."""
        still, (height, width) = self._still, part.shape[:2]
        falls = np.clip(1 - np.abs(still.jaw[:, :1]) / np.abs(still.jaw[:, 0]).max(), 0, 1) ** 0.5
        jaw = still.jaw + falls * (0, JAW * mouth.opening)
        edge = _border(*REACH)
        rows, columns = np.arange(0, height + 2 * CELL, CELL), np.arange(0, width + 2 * CELL, CELL)
        places = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
        asked = (places + low - (self._canvas.x, self._canvas.y)) / self._canvas.unit
        fields = []
        for names in (("outer_upper", "inner_upper"), ("inner_lower", "outer_lower")):
            came = np.vstack([getattr(still.mouth, name)[::4] for name in names] + [still.jaw, still.fixed, edge])
            went = np.vstack([getattr(mouth, name)[::4] for name in names] + [jaw, still.fixed, edge])
            spline = RBFInterpolator(went, came - went, kernel="thin_plate_spline", smoothing=1e-5)
            coarse = spline(asked).reshape(len(rows), len(columns), 2).astype(np.float32) * self._canvas.unit
            grown = cv2.resize(coarse, None, fx=CELL, fy=CELL, interpolation=cv2.INTER_LINEAR)
            start = CELL // 2  # resize puts values in the middle of their cells
            fields.append(grown[start:, start:][:height, :width])
        line = self._canvas.pixels(0.5 * (mouth.inner_upper + mouth.inner_lower)) - low
        between = np.interp(np.arange(width), line[:, 0], line[:, 1]).astype(np.float32)
        below = np.clip(np.arange(height, dtype=np.float32)[:, None] - between + 0.5, 0, 1)[..., None]
        field = (1 - below) * fields[0] + below * fields[1]
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        return cv2.remap(part, x + field[..., 0], y + field[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

    def _open(self, part: np.ndarray, low: np.ndarray, mouth: Mouth, shape: np.ndarray) -> None:
        """Draws the inside of the mouth into the gap between the lips, darker towards its rim."""
        curves = np.vstack([mouth.inner_upper, mouth.inner_lower[::-1]])
        mask = np.zeros(part.shape[:2], np.uint8)
        cv2.fillPoly(mask, [fixed(self._canvas.pixels(curves) - low)], 255, cv2.LINE_AA, 4)
        unit = self._canvas.unit
        drawn = inside(part.shape, self._canvas, low, self.person, mouth, shape, np.full(3, self._brightness))
        shade = 0.45 + 0.55 * cv2.GaussianBlur(mask, (0, 0), 0.05 * unit)[..., None] / 255
        drawn = cv2.GaussianBlur(drawn, (0, 0), 0.012 * unit) * shade
        share = cv2.GaussianBlur(mask, (0, 0), 0.012 * unit)[..., None] / 255
        part[:] = np.rint(share * drawn + (1 - share) * part).astype(np.uint8)


def usable(paths: Iterable[Path]) -> tuple[list[str], dict[str, str]]:
    """The photos that can speak, and for each of the others the reason why it cannot.

    Raises:
      DetectorError: the weights of the face mesh are not installed.
    """
    found, left = [], {}
    for path in paths:
        try:
            _still(str(path), 64)
            found.append(str(path))
        except PhotoError as error:
            left[str(path)] = str(error)
    return found, left


@functools.lru_cache(maxsize=2)
def _still(path: str, size: int) -> Still:
    image, canvas = read_image(Path(path)), canvas_of(size)
    faces = find_faces(image)
    if not faces:
        raise PhotoError(f"{path}: no face was found", "take it out of the folder")
    points = mesh.mesh(image, faces[0].points)
    eyes = np.stack([points[list(corners)].mean(0) for corners in mesh.EYES])
    matrix = _to_canvas(eyes, canvas)
    flags = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
    on_canvas = cv2.warpAffine(image, matrix, (canvas.size, canvas.size), **flags)
    placed = (points @ matrix[:, :2].T + matrix[:, 2] - (canvas.x, canvas.y)) / canvas.unit
    outer_upper, upper, lower, outer_lower = (
        _curve(placed[list(ids)]) for ids in (mesh.OUTER_UPPER, mesh.INNER_UPPER, mesh.INNER_LOWER, mesh.OUTER_LOWER)
    )
    gap = float(np.max(lower[:, 1] - upper[:, 1]))
    if gap > CLOSED:
        raise PhotoError(f"{path}: the mouth is open, by {gap:.2f} eye distances", "give a photo with a closed mouth")
    between = (upper + lower) / 2
    mouth = Mouth(outer_upper, between, between, outer_lower)
    fixed_points = placed[[*mesh.NOSE, *mesh.EYES[0], *mesh.EYES[1]]]
    return Still(on_canvas, mouth, placed[list(mesh.JAW)], fixed_points, placed[mesh.NOSE[0]])


def _to_canvas(eyes: np.ndarray, canvas: Canvas) -> np.ndarray:
    """Affine map `[2, 3]` from pixels of the photo to pixels of the canvas, by the eyes."""
    (x, y), scale = eyes[1] - eyes[0], canvas.unit / np.sum((eyes[1] - eyes[0]) ** 2)
    turn = scale * np.array([[x, y], [-y, x]])
    return np.column_stack([turn, np.array([canvas.x, canvas.y]) - turn @ eyes.mean(0)])


def _curve(points: np.ndarray) -> np.ndarray:
    """A curve through points from the left to the right, at the places of `mouth.ACROSS`, `[33, 2]`."""
    along = 2 * (points[:, 0] - points[0, 0]) / (points[-1, 0] - points[0, 0]) - 1
    return np.stack([np.interp(ACROSS, along, values) for values in points.T], 1)


def _border(low: tuple[float, float], high: tuple[float, float], count: int = 6) -> np.ndarray:
    """Points on the edge of a box, which do not move."""
    x, y = (np.linspace(a, b, count) for a, b in zip(low, high, strict=True))
    sides = [np.column_stack([x, np.full(count, edge)]) for edge in (low[1], high[1])]
    sides += [np.column_stack([np.full(count - 2, edge), y[1:-1]]) for edge in (low[0], high[0])]
    return np.vstack(sides)

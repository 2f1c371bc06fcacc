"""Renders a talking face: one person in one light, frame by frame.

The static appearance is painted once (`appearance.py`), at twice the size of the image. For each frame, jaw and brows
are moved, lids and mouth drawn, and everything is warped by the pose of the head and reduced: 2.3 ms at 256 × 256.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from data_prep.synthetic.appearance import Appearance, eye_outline, paint
from data_prep.synthetic.canvas import Canvas, fixed
from data_prep.synthetic.mouth import mouth_geometry, render_mouth
from data_prep.synthetic.people import Person

EYE_DISTANCE = 62 / 256  # of the image's side, in the neutral pose
EYE_LEVEL = 0.44  # y of the eyes, of the image's side
SUPERSAMPLING = 2  # canvas pixels per image pixel
MARGIN = 1.25  # side of the canvas, of the image's side: room for the head to move
JAW = 0.55  # drop of the chin, of the mouth's opening


@dataclass(frozen=True)
class Light:
    """Direction and colour of the light."""

    direction: tuple[float, float, float]  # towards the light: x right, y down, z out of the image
    contrast: float  # 0 flat … 1 hard
    colour: tuple[float, float, float]  # gains of red, green, blue


@dataclass(frozen=True)
class Pose:
    """Pose of the head, with lids and brows."""

    x: float = 0.0  # shift in eye distances
    y: float = 0.0
    scale: float = 1.0
    roll: float = 0.0  # degrees, clockwise
    blink: float = 0.0  # 0 open … 1 shut
    brows: float = 0.0  # −1 lowered … 1 raised


@dataclass(frozen=True)
class LabelledImage:
    """A rendered image with its ground truth."""

    image: np.ndarray  # uint8 [S, S, 3], RGB
    points: np.ndarray  # float64 [5, 2], (x, y) in pixels: eyes, nose, mouth corners, the left ones first
    opening: float  # height of the gap between the lips, in eye distances


class Face:
    """One person in one light, ready to be rendered.

    Args:
      size: side of the images in pixels.
    """

    def __init__(self, person: Person, size: int, light: Light):
        self.person, self.size = person, size
        self.canvas = canvas_of(size)
        appearance = _appearance(person, size)
        shading = _shading(appearance, light)
        gloss = appearance.gloss * np.maximum(shading - 1.05, 0) * 255
        lit = appearance.colour * (shading[..., None] * np.float32(light.colour)) + gloss[..., None]
        self._layer = cv2.merge([*cv2.split(np.clip(lit, 0, 255)), 255 * appearance.cover]).astype(np.uint8)
        self._wall = np.clip(_wall(person, size) * np.float32(light.colour), 0, 255).astype(np.uint8)
        self._mouth_light = self._light_at(shading, 0, person.mouth) * np.array(light.colour)
        self._lid_light = {side: self._light_at(shading, side * 0.5, 0) * np.array(light.colour) for side in (-1, 1)}
        self._jaw, self._brows = _jaw_field(person, self.canvas), _brow_field(person, self.canvas)

    def render(self, shape: np.ndarray, pose: Pose) -> LabelledImage:
        """Renders one frame.

        Args:
          shape: of the mouth, `[6]` (`motion.FIELDS`, scaled for this person).
        """
        mouth = mouth_geometry(self.person, shape)
        layer = self._layer.copy()
        self._jaw.move(layer, JAW * mouth.opening * self.canvas.unit)
        self._brows.move(layer, -0.06 * pose.brows * self.canvas.unit)
        if pose.blink > 0:
            self._close_eyes(layer, pose.blink)
        render_mouth(layer, self.canvas, self.person, mouth, shape, self._mouth_light)
        matrix = pose_matrix(pose, self.canvas, self.size)
        extended = {"flags": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}  # the shoulders continue below
        moved = cv2.warpAffine(layer, matrix, (self.size, self.size), **extended)
        hidden = cv2.merge([moved[..., 3]] * 3)
        image = cv2.add(cv2.multiply(self._wall, 255 - hidden, scale=1 / 255), moved[..., :3])
        corners = mouth.outer_upper[[0, -1]]
        points = np.vstack([[(-0.5, 0), (0.5, 0), (0, self.person.nose - 0.07)], corners])
        return LabelledImage(image, self.canvas.pixels(points) @ matrix[:, :2].T + matrix[:, 2], mouth.opening)

    def _light_at(self, shading: np.ndarray, x: float, y: float) -> float:
        column, row = np.round(self.canvas.pixels([[x, y]])[0]).astype(int)
        near = round(0.25 * self.canvas.unit)
        return float(shading[row - near : row + near, column - near : column + near].mean())

    def _close_eyes(self, layer: np.ndarray, blink: float) -> None:
        for side in (-1, 1):
            outline = eye_outline(self.person, side, blink)
            skin = (*np.clip(0.9 * np.array(self.person.skin) * self._lid_light[side], 0, 255), 255)
            pixels = fixed(self.canvas.pixels(outline))
            cv2.fillPoly(layer, [pixels], skin, cv2.LINE_AA, 4)
            lash = max(1, round(0.8 * self.person.lashes * self.canvas.unit))
            cv2.polylines(layer, [pixels[len(pixels) // 2 :]], False, (34, 24, 24, 255), lash, cv2.LINE_AA, 4)


class _Field:
    """A vertical displacement of one part of the canvas, which falls smoothly to 0 at the edges of the part."""

    def __init__(self, canvas: Canvas, low: tuple[float, float], high: tuple[float, float], strength):
        first = np.maximum(np.round(canvas.pixels([low])[0]).astype(int), 0)
        last = np.minimum(np.round(canvas.pixels([high])[0]).astype(int), canvas.size)
        self._box = slice(first[1], last[1]), slice(first[0], last[0])
        x, y = canvas.grid()
        self._strength = strength(x[:, self._box[1]], y[self._box[0]]).astype(np.float32)
        rows, columns = np.indices(self._strength.shape, np.float32)
        self._rows, self._columns = rows, columns

    def move(self, layer: np.ndarray, pixels: float) -> None:
        if abs(pixels) > 0.1:
            rows = self._rows - np.float32(pixels) * self._strength
            part = layer[self._box]
            layer[self._box] = cv2.remap(part, self._columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _jaw_field(person: Person, canvas: Canvas) -> _Field:
    wide = 1.15 * person.face_width

    def strength(x, y):
        falls = _step(person.mouth - 0.05, person.mouth + 0.45, y) * (1 - _step(person.chin, person.chin + 0.55, y))
        return falls * (1 - _step(0.55 * wide, wide, np.abs(x)))

    return _Field(canvas, (-wide, person.mouth - 0.1), (wide, person.chin + 0.6), strength)


def _brow_field(person: Person, canvas: Canvas) -> _Field:
    def strength(x, y):
        band = _step(person.brow_height - 0.4, person.brow_height - 0.12, y) * (1 - _step(-0.33, -0.24, y))
        return band * (1 - _step(0.7, 0.95, np.abs(x)))

    return _Field(canvas, (-1, person.brow_height - 0.4), (1, -0.24), strength)


def _step(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """0 below `low`, 1 above `high`, smooth in between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def pose_matrix(pose: Pose, canvas: Canvas, size: int) -> np.ndarray:
    """Affine map `[2, 3]` from canvas pixels to those of an image of `size` pixels; integers are pixel centres."""
    scale, angle = pose.scale / SUPERSAMPLING, np.deg2rad(pose.roll)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    unit = EYE_DISTANCE * size
    eyes = np.array([size / 2 + pose.x * unit, EYE_LEVEL * size + pose.y * unit]) - 0.5
    return np.column_stack([turn, eyes - turn @ (canvas.x, canvas.y)])


def canvas_of(size: int) -> Canvas:
    """The canvas on which a face of images of `size` pixels is painted."""
    fine, side = SUPERSAMPLING * size, round(MARGIN * SUPERSAMPLING * size)
    return Canvas(side, EYE_DISTANCE * fine, side / 2, (MARGIN - 1) / 2 * fine + EYE_LEVEL * fine)


@lru_cache(maxsize=2)
def _appearance(person: Person, size: int) -> Appearance:
    return paint(person, canvas_of(size))


def _shading(appearance: Appearance, light: Light) -> np.ndarray:
    """Brightness `[S, S]`: 1 where a surface faces the viewer, higher towards the light, lower away from it."""
    direction = np.array(light.direction, np.float32)
    direction /= np.linalg.norm(direction)
    faced = np.clip(appearance.normals @ direction, 0, 1) / direction[2]
    return 1 + light.contrast * (np.clip(faced, 0, 1.5) - 1)


def _wall(person: Person, size: int) -> np.ndarray:
    """A blurred room behind the person, float32 `[size, size, 3]`."""
    rng = np.random.default_rng(person.wall_pattern)
    wall = np.empty((size, size, 3), np.float32)
    wall[:] = person.wall
    for _ in range(rng.integers(0, 5)):
        low = rng.uniform(-0.2, 0.9, 2) * size
        high = low + rng.uniform(0.15, 0.5, 2) * size
        shade = tuple(np.array(person.wall) * rng.uniform(0.72, 1.25))
        cv2.rectangle(wall, low.astype(int).tolist(), high.astype(int).tolist(), shade, -1)
    wall = cv2.GaussianBlur(wall, (0, 0), size / 28)
    slope = np.linspace(1.06, 0.9, size, dtype=np.float32)[:, None, None]
    return wall * slope

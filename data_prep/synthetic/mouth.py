"""The mouth: its geometry for a given shape, and its rendering."""

from dataclasses import dataclass

import cv2
import numpy as np

from data_prep.synthetic.canvas import Canvas, fixed
from data_prep.synthetic.people import Person

LIFT, CORNER = 0.2, 0.12  # rise of the upper lip and drop of the corners, of the opening
TEETH, TONGUE, CAVITY = (238, 232, 222), (190, 88, 92), (52, 18, 22)
ACROSS = np.linspace(-1, 1, 33)  # places of the points of a curve, from the left corner to the right


@dataclass(frozen=True)
class Mouth:
    """Curves `[N, 2]` from the left to the right corner, in face units."""

    outer_upper: np.ndarray
    inner_upper: np.ndarray
    inner_lower: np.ndarray
    outer_lower: np.ndarray

    @property
    def opening(self) -> float:
        """Height of the gap between the lips in its middle, in eye distances."""
        middle = len(ACROSS) // 2
        return float(self.inner_lower[middle, 1] - self.inner_upper[middle, 1])


def mouth_geometry(person: Person, shape: np.ndarray) -> Mouth:
    """The lips of a person for a shape `[6]` (`motion.FIELDS`)."""
    opening, width, rounding, _, tuck, press = shape
    half = 0.5 * person.mouth_width * (1 + 0.17 * width - 0.42 * rounding - 0.10 * opening)
    thick = 1 + 0.25 * rounding - 0.10 * width - 0.32 * press - 0.3 * opening
    upper, lower = person.upper_lip * thick, person.lower_lip * thick * (1 - 0.4 * tuck)
    corner = person.mouth + CORNER * opening - 0.025 * width
    above, below = (LIFT + CORNER) * opening - 0.025 * width, (1 - LIFT - CORNER) * opening + 0.025 * width
    x = half * ACROSS
    inner = (0.93 - 0.28 * rounding) * x
    lens = 1 - np.abs(ACROSS) ** 2.2
    gap = lens ** (0.95 - 0.4 * max(rounding, opening))  # spread lips part like a lens, round ones like a ring
    bow = 1 - person.bow * np.exp(-((ACROSS / 0.13) ** 2))
    return Mouth(
        outer_upper=np.stack([x, corner - (above + upper * bow) * lens**0.85], 1),
        inner_upper=np.stack([inner, corner - above * gap], 1),
        inner_lower=np.stack([inner, corner + below * gap], 1),
        outer_lower=np.stack([x, corner + (below + lower) * lens**0.75], 1),
    )


def render_mouth(
    image: np.ndarray, canvas: Canvas, person: Person, mouth: Mouth, shape: np.ndarray, light: np.ndarray
) -> None:
    """Renders lips, teeth and tongue into a uint8 `[S, S, 4]` image, in place.

    Args:
      light: colour of the light on the mouth, `[3]`; 1 is neutral.
    """
    low = np.floor(canvas.pixels([[-0.85, person.mouth - 0.45]])[0]).astype(int)
    high = np.ceil(canvas.pixels([[0.85, person.mouth + 0.85]])[0]).astype(int)
    patch = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0], :3])

    def polygon(*curves: np.ndarray) -> np.ndarray:
        return fixed(canvas.pixels(np.vstack([curves[0], *(curve[::-1] for curve in curves[1:])])) - low)

    lip = np.array(person.lip_colour) * light
    shadow = polygon(np.add(mouth.outer_lower, (0, 0.05)), mouth.outer_lower)
    _soften(patch, shadow, 0.05 * canvas.unit, 0.55, 0.35)
    _fill(patch, polygon(mouth.outer_upper, mouth.outer_lower), lip)
    _fill(patch, polygon(mouth.outer_upper, mouth.inner_upper), 0.84 * lip)
    ridge = 0.5 * (mouth.inner_lower + mouth.outer_lower)
    gleam = polygon(np.add(ridge[9:-9], (0, -0.012)), np.add(ridge[9:-9], (0, 0.02)))
    _soften(patch, gleam, 0.022 * canvas.unit, 1.6, 0.7)
    gap = polygon(mouth.inner_upper, mouth.inner_lower)
    if mouth.opening > 0.005:
        drawn = inside(patch.shape, canvas, low, person, mouth, shape, light)
        mask = np.zeros(patch.shape[:2], np.uint8)
        cv2.fillPoly(mask, [gap], 255, shift=4)
        cv2.copyTo(drawn, mask, patch)  # a hard edge; the rim drawn next covers it
    cv2.polylines(patch, [gap], True, tuple(0.42 * lip), max(1, round(0.014 * canvas.unit)), cv2.LINE_AA, 4)
    image[low[1] : high[1], low[0] : high[0], :3] = patch


def inside(extent, canvas: Canvas, low, person: Person, mouth: Mouth, shape, light) -> np.ndarray:
    """The inside of the mouth: teeth and tongue in front of a dark cavity."""
    opening, width, rounding, tongue, tuck, _ = shape
    drawn = np.empty(extent, np.uint8)
    drawn[:] = np.clip(np.array(CAVITY) * light, 0, 255)
    half, bottom = np.abs(mouth.inner_lower[0, 0]), mouth.inner_lower[len(ACROSS) // 2, 1]
    shade = 0.62 + 0.38 * (1 - rounding)  # rounded lips shade the teeth

    def oval(y: float, a: float, b: float, colour) -> None:
        centre, axes = fixed(canvas.pixels([[0, y]])[0] - low), fixed(np.array([a, b]) * canvas.unit)
        colour = tuple(np.clip(np.array(colour) * light, 0, 255))
        cv2.ellipse(drawn, centre.tolist(), axes.tolist(), 0, 0, 360, colour, -1, cv2.LINE_AA, 4)

    edge = person.mouth + 0.05 + 0.03 * width - 0.05 * rounding + 0.2 * tuck  # of the upper teeth
    if tongue < 0.9:
        oval(bottom + 0.02 - 0.8 * tongue * opening, 0.72 * half, 0.16 + 0.3 * opening, TONGUE)
    oval(edge - 0.30, 1.1 * half, 0.30, np.array(TEETH) * shade)
    if width > 0.2:
        oval(bottom + 0.10 - 0.07 * width, 0.9 * half, 0.10, np.array(TEETH) * 0.86)
    if tongue >= 0.9:
        oval(bottom - 0.35 * opening, 0.5 * half, 0.5 * opening, 1.1 * np.array(TONGUE))
    return drawn


def _fill(patch: np.ndarray, outline: np.ndarray, colour) -> None:
    colour = colour if np.isscalar(colour) else tuple(np.clip(colour, 0, 255))
    cv2.fillPoly(patch, [outline], colour, cv2.LINE_AA, 4)


def _soften(patch: np.ndarray, outline: np.ndarray, blur: float, gain: float, strength: float) -> None:
    """Darkens or brightens a patch by `gain` around an outline, in place."""
    reach = round(3 * blur)
    low = np.maximum((outline.min(axis=0) >> 4) - reach, 0)
    high = np.minimum((outline.max(axis=0) >> 4) + reach, patch.shape[1::-1])
    part = patch[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(part.shape[:2], np.uint8)
    _fill(mask, outline - (low << 4), round(255 * strength))
    share = cv2.merge([cv2.GaussianBlur(mask, (0, 0), blur)] * 3)
    changed = cv2.multiply(cv2.convertScaleAbs(part, alpha=gain), share, scale=1 / 255)
    part[:] = cv2.add(cv2.multiply(part, 255 - share, scale=1 / 255), changed)  # cv2.add saturates, numpy wraps around

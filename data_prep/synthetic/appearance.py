"""The static appearance of a person: skin, hair, eyes, clothes, and the surface normals for the light.

Mouth, lids and motion are added in `rendering.py`.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from data_prep.synthetic.canvas import Canvas, blend, ellipse, mirrored, smooth
from data_prep.synthetic.hair import paint_hair_behind, paint_hair_in_front, paint_strands
from data_prep.synthetic.people import Person


@dataclass(frozen=True)
class Appearance:
    """A person at rest, without mouth, before lighting."""

    colour: np.ndarray  # float32 [S, S, 3], RGB, 0…255
    cover: np.ndarray  # float32 [S, S], 1 where the person is, 0 where the wall shows
    normals: np.ndarray  # float32 [S, S, 3], unit vectors; z points out of the image
    gloss: np.ndarray  # float32 [S, S], strength of the highlights


def paint(person: Person, canvas: Canvas) -> Appearance:
    """Paints a person from back to front."""
    colour = np.zeros((canvas.size, canvas.size, 3), np.float32)
    cover = np.zeros((canvas.size, canvas.size), np.float32)
    head = canvas.mask(head_outline(person))
    skin = np.array(person.skin)

    strands = paint_strands(person, canvas)
    paint_hair_behind(person, canvas, colour, cover, strands)
    _paint_body(person, canvas, colour, cover, skin)
    _paint_ears(person, canvas, colour, cover, skin)
    _lay(colour, cover, head, skin)
    _paint_skin(person, canvas, colour, head, skin)
    _paint_nose(person, canvas, colour, skin)
    _paint_beard(person, canvas, colour, head)
    for side in (-1, 1):
        _paint_eye(person, canvas, colour, side)
        blend(colour, canvas.mask(brow(person, side), blur=0.012), person.brow_colour)
    paint_hair_in_front(person, canvas, colour, cover, head, strands)
    _paint_glasses(person, canvas, colour)
    return Appearance(colour, cover, _normals(person, canvas, head), 0.10 * head)


def head_outline(person: Person) -> np.ndarray:
    """Outline of head and jaw without ears and hair."""
    cheek, jaw, chin = person.face_width, person.jaw_width, person.chin
    right = [
        (0, person.crown),
        (0.62 * cheek, 0.88 * person.crown),
        (0.95 * cheek, -0.62),
        (cheek, 0.1),
        (0.5 * cheek + 0.5 * jaw + 0.06, 0.72),
        (jaw, 0.62 * chin),
        (0.62 * jaw, 0.88 * chin),
        (0.26 * jaw, 0.99 * chin),
        (0, chin),
    ]
    return smooth(mirrored(right))


def eye_outline(person: Person, side: int, lid: float = 0.0) -> np.ndarray:
    """Outline of the open eye; with `lid` above 0, the part that the upper lid covers (1: all of it)."""
    across = np.linspace(-1, 1, 25)
    arch = 1 - np.abs(across) ** 2.2
    upper = -person.eye_height * arch * (1 + 0.15 * -across)  # higher on the inner side
    lower = 0.72 * person.eye_height * arch * (1 + 0.15 * across)
    edge = upper + min(1.0, lid) * (lower - upper) if lid else lower
    tilt = -person.eye_slant * across
    x = side * (0.5 + person.eye_width * across)
    return np.vstack([np.stack([x, upper + tilt], 1), np.stack([x, edge + tilt], 1)[::-1]])


def brow(person: Person, side: int) -> np.ndarray:
    """Outline of a brow."""
    t = np.linspace(0, 1, 20)  # from the inner to the outer end
    x = 0.5 + person.eye_width * (-1.25 + 2.65 * t)
    y = person.brow_height + person.brow_slant * t - 0.09 * np.sin(np.pi * np.clip(t * 1.05, 0, 1))
    half = person.brow_width * (0.5 - 0.42 * t**2) * np.clip(t * 8 + 0.5, 0, 1)
    return np.vstack([np.stack([side * x, y - half], 1), np.stack([side * x, y + half], 1)[::-1]])


def _lay(colour, cover, mask, paint) -> None:
    """Paints an opaque part of the person, which hides the wall."""
    blend(colour, mask, paint)
    np.maximum(cover, mask, out=cover)


def _paint_body(person: Person, canvas: Canvas, colour, cover, skin) -> None:
    chin, neck = person.chin, 0.66 * person.jaw_width
    shoulders = mirrored([
        (0, chin + 0.30), (neck + 0.08, chin + 0.28), (neck + 0.4, chin + 0.42), (1.75, chin + 0.72),
        (2.35, chin + 1.3), (2.5, chin + 2.4), (0, chin + 2.4),
    ])  # fmt: skip
    throat = mirrored([
        (0, 0.6), (neck, 0.6), (0.96 * neck, chin), (neck + 0.16, chin + 0.42), (neck + 0.1, chin + 0.9),
        (0, chin + 1.2),
    ])  # fmt: skip
    clothes = np.array(person.clothes)
    cloth = canvas.mask(smooth(shoulders))
    _lay(colour, cover, cloth, clothes)
    for x in (-1.35, -0.7, 0.75, 1.4):  # folds
        fold = [(x, chin + 0.75), (x * 1.04, chin + 1.3), (x * 1.02, chin + 2.0)]
        blend(colour, 0.35 * canvas.stroke(smooth(fold, closed=False), 0.05, blur=0.05), 0.72 * clothes)
    depth = {"round": 0.62, "v": 1.05, "shirt": 0.78, "high": 0.3}[person.collar]
    neckline = mirrored([(0, chin), (neck + 0.2, chin), (neck + 0.12, chin + 0.36), (0.02, chin + depth)])
    neckline = neckline if person.collar in ("v", "shirt") else smooth(neckline)
    throat_mask = canvas.mask(throat) * np.maximum(canvas.mask(neckline), canvas.grid()[1] < chin + 0.3)
    blend(colour, 0.6 * cloth * canvas.mask(neckline, blur=0.05), 0.55 * clothes)
    _lay(colour, cover, throat_mask, 0.9 * skin)
    shadow = canvas.mask(np.add(head_outline(person), (0.03, 0.16)), blur=0.07)
    blend(colour, 0.62 * shadow * throat_mask, 0.5 * skin)
    if person.collar == "shirt":
        for side in (-1, 1):
            wing = [
                (neck + 0.05, chin + 0.2),
                (neck + 0.34, chin + 0.44),
                (0.42, chin + 1),
                (0.04, chin + 0.8),
            ]
            _lay(colour, cover, canvas.mask(np.multiply(wing, (side, 1))), 0.5 * clothes + 122)
    if person.collar == "high":
        band = mirrored([(0, chin + 0.18), (neck + 0.1, chin + 0.05), (neck + 0.2, chin + 0.46), (0, chin + 0.62)])
        _lay(colour, cover, canvas.mask(smooth(band)), 0.88 * clothes)


def _paint_ears(person: Person, canvas: Canvas, colour, cover, skin) -> None:
    x, height = 1.02 * person.face_width, 0.34 * person.ears
    for side in (-1, 1):
        _lay(colour, cover, canvas.mask(ellipse(side * x, 0.16, 0.15 * person.ears, height)), 0.93 * skin)
        inner = canvas.mask(ellipse(side * (x + 0.04), 0.15, 0.07 * person.ears, 0.6 * height), blur=0.03)
        blend(colour, 0.6 * inner, 0.66 * skin)
        if person.earrings:
            _lay(
                colour,
                cover,
                canvas.mask(ellipse(side * (x + 0.03), 0.2 + height, 0.05, 0.05)),
                (236, 208, 130),
            )


def _paint_skin(person: Person, canvas: Canvas, colour, head, skin) -> None:
    dark, warm = skin * (0.66, 0.60, 0.58), 0.72 * skin + 0.28 * np.array((226, 92, 84))
    for side in (-1, 1):
        cheek = canvas.mask(ellipse(side * 0.68, 0.62, 0.3, 0.24), blur=0.14)
        blend(colour, head * cheek * (0.25 + person.blush), warm)
        socket = canvas.mask(ellipse(side * 0.5, -0.04, 0.36, 0.2), blur=0.09)
        blend(colour, 0.4 * socket, skin * (0.74, 0.68, 0.68))
        side_of_jaw = canvas.mask(ellipse(side * 1.12 * person.jaw_width, 1.1, 0.14, 0.5), blur=0.1)
        blend(colour, head * 0.22 * side_of_jaw, dark)
        fold = smooth([(side * 0.32, 0.52), (side * 0.47, 0.74), (side * 0.58, 0.98)], closed=False)
        blend(colour, (0.10 + 0.4 * person.age) * canvas.stroke(fold, 0.035, blur=0.03), dark)
        bag = smooth([(side * 0.3, 0.17), (side * 0.5, 0.235), (side * 0.7, 0.18)], closed=False)
        blend(colour, (0.1 + 0.3 * person.age) * canvas.stroke(bag, 0.025, blur=0.02), dark)
    if person.age > 0.55:
        for y in (-0.66, -0.76):
            line = smooth([(-0.45, y + 0.02), (0, y - 0.02), (0.45, y + 0.02)], closed=False)
            blend(colour, 0.5 * (person.age - 0.4) * canvas.stroke(line, 0.02, blur=0.018), dark)
    if person.freckles:
        rng = np.random.default_rng(person.wall_pattern)
        spots = [ellipse(x, y, 0.014, 0.014, 12) for x, y in rng.normal((0, 0.4), (0.42, 0.13), (70, 2))]
        blend(colour, 0.3 * head * canvas.mask(*spots, blur=0.006), skin * (0.72, 0.55, 0.45))


def _paint_nose(person: Person, canvas: Canvas, colour, skin) -> None:
    base, half = person.nose, person.nose_width
    dark = skin * (0.60, 0.50, 0.48)
    under = smooth([(-half, base - 0.03), (0, base + 0.075), (half, base - 0.03), (0, base + 0.015)])
    blend(colour, 0.5 * canvas.mask(under, blur=0.03), dark)
    for side in (-1, 1):
        wing = smooth(
            [(side * (half - 0.05), base - 0.15), (side * half, base - 0.06), (side * (half - 0.05), base)],
            closed=False,
        )
        blend(colour, 0.5 * canvas.stroke(wing, 0.025, blur=0.016), dark)
        nostril = smooth(
            [
                (side * 0.04, base + 0.005),
                (side * 0.10, base - 0.035),
                (side * (half - 0.06), base - 0.005),
                (side * 0.09, base + 0.022),
            ]
        )
        blend(colour, 0.85 * canvas.mask(nostril, blur=0.010), skin * (0.28, 0.18, 0.16))
        bridge = smooth([(side * 0.17, -0.2), (side * 0.12, 0.05), (side * 0.13, 0.3)], closed=False)
        blend(colour, 0.16 * canvas.stroke(bridge, 0.05, blur=0.05), dark)


def _paint_beard(person: Person, canvas: Canvas, colour, head) -> None:
    if person.beard == "none":
        return
    jaw, chin, mouth, half = person.jaw_width, person.chin, person.mouth, 0.5 * person.mouth_width
    cheeks = smooth(mirrored([
        (0, mouth + 0.22), (half + 0.02, mouth + 0.12), (half + 0.16, mouth - 0.1),
        (0.98 * jaw, mouth - 0.35), (1.25 * jaw, 0.3), (1.3 * jaw, mouth), (jaw, chin), (0, chin + 0.2),
    ]))  # fmt: skip
    lip = smooth(mirrored([
        (0, person.nose + 0.12), (0.25, person.nose + 0.12), (half + 0.03, mouth - 0.07),
        (half + 0.06, mouth + 0.06), (half - 0.1, mouth - 0.13), (0, mouth - 0.17),
    ]))  # fmt: skip
    chin_patch = smooth(mirrored([(0, mouth + 0.30), (0.16, mouth + 0.28), (0.30, chin - 0.12), (0, chin + 0.1)]))
    shapes = {
        "stubble": (cheeks, lip), "full": (cheeks, lip), "moustache": (lip,), "goatee": (lip, chin_patch),
    }[person.beard]  # fmt: skip
    strength = 0.28 if person.beard == "stubble" else 0.9
    grain = np.random.default_rng(person.wall_pattern).normal(1, 0.10, head.shape).astype(np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 0.01 * canvas.unit)
    hair = np.array(person.hair_colour, np.float32) * (0.8 + 0.6 * (grain[..., None] - 0.8))
    blend(colour, head * strength * canvas.mask(*shapes, blur=0.035), hair)


def _paint_eye(person: Person, canvas: Canvas, colour, side: int) -> None:
    eye = canvas.mask(eye_outline(person, side))
    x, iris = side * 0.5, 0.86 * person.eye_height + 0.022
    iris_colour = np.array(person.eye_colour)
    blend(colour, eye, (240, 236, 232))
    for scale, paint in ((1.0, 0.45 * iris_colour), (0.86, iris_colour), (0.45, (14, 12, 14))):
        blend(colour, eye * canvas.mask(ellipse(x, -0.012, scale * iris, scale * iris), blur=0.006), paint)
    lit = canvas.mask(ellipse(x, 0.35 * iris, 0.55 * iris, 0.3 * iris), blur=0.02)
    blend(colour, 0.35 * eye * lit, 1.35 * iris_colour + 30)
    shade = canvas.mask(eye_outline(person, side, 0.35), blur=0.025)
    blend(colour, 0.5 * eye * shade, (70, 56, 56))
    blend(colour, canvas.mask(ellipse(x - 0.035, -0.05, 0.024, 0.024), blur=0.004), (255, 255, 255))
    outline = eye_outline(person, side)
    blend(colour, 0.95 * canvas.stroke(outline[:25], person.lashes, blur=0.006), (34, 24, 24))
    blend(colour, 0.45 * canvas.stroke(outline[25:], 0.016, blur=0.008), 0.5 * np.array(person.skin))
    blend(
        colour,
        0.45 * canvas.stroke(outline[:25] * (1, 1.05) - (0, 0.075), 0.018, blur=0.012),
        0.5 * np.array(person.skin),
    )


def _paint_glasses(person: Person, canvas: Canvas, colour) -> None:
    if person.glasses == "none":
        return
    ink = (38, 34, 36) if sum(person.hair_colour) < 330 else (110, 70, 52)
    for side in (-1, 1):
        if person.glasses == "round":
            rim = ellipse(side * 0.5, 0.04, 0.36, 0.33)
        else:
            rim = ellipse(side * 0.5, 0.04, 0.37, 0.27, power=4.5)
        blend(colour, 0.10 * canvas.mask(rim), (235, 245, 255))
        blend(colour, canvas.stroke(rim, 0.045, closed=True), ink)
        blend(colour, canvas.stroke(np.array([(0.86, -0.06), (1.12, -0.1)]) * (side, 1), 0.04), ink)
    blend(colour, canvas.stroke(smooth([(-0.15, -0.02), (0, -0.07), (0.15, -0.02)], closed=False), 0.04), ink)


def _normals(person: Person, canvas: Canvas, head: np.ndarray) -> np.ndarray:
    """Surface normals of a rounded head with brows, nose, lips and chin, on rounded shoulders."""
    x, y = canvas.grid()
    middle, half = (person.chin + person.crown) / 2, (person.chin - person.crown) / 2
    bowl = 1 - (x / (1.22 * max(person.face_width, person.jaw_width))) ** 2 - ((y - middle) / (1.15 * half)) ** 2
    relief = 0.95 * np.sqrt(np.maximum(bowl, 0.02))

    def bump(at_x, at_y, wide, high):
        return np.exp(-(((x - at_x) / wide) ** 2) - ((y - at_y) / high) ** 2)

    rise = np.clip((y + 0.25) / (person.nose + 0.2), 0, 1) * np.clip((person.nose + 0.05 - y) / 0.13, 0, 1)
    relief = relief + 0.30 * rise * np.exp(-((x / (0.10 + 0.05 * rise)) ** 2))
    relief = relief + 0.10 * bump(0, person.nose - 0.08, 0.8 * person.nose_width, 0.10)
    relief = relief + 0.07 * bump(0, person.mouth, 0.45, 0.22) + 0.06 * bump(0, person.chin - 0.22, 0.28, 0.16)
    for side in (-1, 1):
        relief = relief - 0.10 * bump(side * 0.5, -0.02, 0.28, 0.16) + 0.05 * bump(side * 0.66, 0.5, 0.3, 0.25)
    relief = cv2.GaussianBlur(relief.astype(np.float32), (0, 0), 0.03 * canvas.unit)
    scale = canvas.unit / 8
    slope_x, slope_y = (cv2.Sobel(relief, cv2.CV_32F, *order, scale=scale) for order in ((1, 0), (0, 1)))
    inside = cv2.GaussianBlur(head, (0, 0), 0.02 * canvas.unit)
    body_x = np.clip(x / 2.4, -0.7, 0.7)
    normal_x = inside * -slope_x + (1 - inside) * body_x
    normal_y = inside * -slope_y + (1 - inside) * np.clip((y - 2.6) / 4, -0.3, 0.3)
    normals = np.stack([normal_x, normal_y, np.ones_like(normal_x)], axis=-1)
    return normals / np.linalg.norm(normals, axis=-1, keepdims=True)

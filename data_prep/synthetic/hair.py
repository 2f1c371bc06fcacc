"""Hair: the part behind the head, the part in front, and its strands."""

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from data_prep.synthetic.canvas import Canvas, blend, ellipse, mirrored, smooth
from data_prep.synthetic.people import Person

CURLED = ("curly", "afro")


def paint_hair_behind(person: Person, canvas: Canvas, colour: np.ndarray, cover: np.ndarray, strands) -> None:
    """Paints the hair behind head, neck and shoulders."""
    shapes = _behind(person)
    if shapes:
        mask = canvas.mask(*shapes, blur=0.01)
        blend(colour, mask, 0.72 * strands)
        np.maximum(cover, mask, out=cover)


def paint_hair_in_front(person: Person, canvas: Canvas, colour: np.ndarray, cover: np.ndarray, head, strands) -> None:
    """Paints the hair on the head, with its soft shadow on the forehead."""
    if person.hair == "bald":
        return
    shapes = _front(person)
    mask = canvas.mask(*shapes, blur=0.012)
    if person.hair == "buzz":
        mask = 0.8 * cv2.GaussianBlur(mask, (0, 0), 0.05 * canvas.unit) * np.maximum(head, mask > 0.6)
    shadow = canvas.mask(*[np.add(shape, (0.02, 0.07)) for shape in shapes], blur=0.06)
    blend(colour, 0.35 * shadow * head, 0.55 * np.array(person.skin))
    blend(colour, mask, strands)
    np.maximum(cover, mask, out=cover)


def paint_strands(person: Person, canvas: Canvas) -> np.ndarray:
    """Hair colour with strands from the crown, or with curls: float32 `[S, S, 3]`."""
    rng = np.random.default_rng(person.wall_pattern)
    if person.hair in CURLED:
        noise = rng.normal(0, 1, (canvas.size, canvas.size)).astype(np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), 0.035 * canvas.unit)
    else:
        polar = rng.normal(0, 1, (900, 32)).astype(np.float32)  # angle × distance
        polar = gaussian_filter(polar, sigma=(1.5, 6), mode=("wrap", "nearest"))
        parting = 0.5 if person.hair == "parted" else 0.0
        centre = canvas.pixels(np.array([[parting, person.crown - 0.05]]))[0]
        polar = cv2.resize(polar, (canvas.size, 1800), interpolation=cv2.INTER_LINEAR)
        polar_to_plain = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
        noise = cv2.warpPolar(polar, (canvas.size, canvas.size), centre, 1.4 * canvas.size, polar_to_plain)
    noise /= noise.std()
    x, y = canvas.grid()
    sheen = np.exp(-(((np.hypot(x, y) + 0.74 * person.crown) / 0.16) ** 2)) * (y < 0)
    light = 1 + 0.085 * noise + 0.16 * sheen * (1 + 0.4 * noise)
    return np.clip(light[..., None] * np.array(person.hair_colour, np.float32) + 8 * sheen[..., None], 0, 255)


def _cloud(outline: np.ndarray, radius: float, seed: int, count: int) -> list[np.ndarray]:
    """Curls: overlapping discs along an outline, and the outline itself."""
    rng = np.random.default_rng(seed)
    at = outline[np.linspace(0, len(outline) - 1, count).astype(int)]
    sizes = radius * rng.uniform(0.8, 1.2, count)
    return [outline] + [ellipse(x, y, size, size, 24) for (x, y), size in zip(at, sizes, strict=True)]


def _behind(person: Person) -> list[np.ndarray]:
    wide, crown, chin = person.face_width, person.crown, person.chin
    if person.hair in ("long", "long fringe"):
        half = [(0, crown - 0.16), (0.75 * wide, 0.86 * crown), (1.16 * wide, -0.4), (1.24 * wide, 0.6),
                (1.32 * wide, chin), (1.22 * wide, chin + 0.75), (0.7, chin + 0.9), (0, chin)]  # fmt: skip
        return [smooth(mirrored(half))]
    if person.hair == "wavy":
        side = [(1.18 * wide + 0.09 * np.sin(5.5 * y + 0.6), y) for y in np.linspace(-0.5, chin + 0.6, 14)]
        half = [(0, crown - 0.2), (0.8 * wide, 0.86 * crown), *side, (0.6, chin + 0.8), (0, chin + 0.5)]
        return [smooth(mirrored(half), count=300)]
    if person.hair in ("bob", "fringe bob"):
        half = [(0, crown - 0.16), (0.8 * wide, 0.86 * crown), (1.2 * wide, -0.3), (1.3 * wide, 0.6),
                (1.22 * wide, 1.12), (0.9, 1.3), (0, 1.0)]  # fmt: skip
        return [smooth(mirrored(half))]
    if person.hair == "bun":
        return [ellipse(0, crown - 0.28, 0.42, 0.36)]
    if person.hair == "afro":
        return _cloud(ellipse(0, 0.42 * crown, 1.42 * wide, 1.22), 0.2, person.wall_pattern, 34)
    return []


def _cap(person: Person, lift: float, sides: float) -> list[tuple[float, float]]:
    """Right half of the outer edge of hair, `lift` above the skull, from the crown down to y = `sides`."""
    wide, crown = person.face_width, person.crown
    return [
        (0, crown - lift),
        (0.64 * wide, 0.89 * crown - lift),
        (0.97 * wide + 0.6 * lift, -0.66),
        (1.01 * wide + 0.4 * lift, min(-0.3, sides - 0.1)),
        (1.0 * wide, sides),
    ]


def _front(person: Person) -> list[np.ndarray]:
    if person.hair == "parted":
        return [_parted(person)]
    wide, line = person.face_width, person.hairline
    fringe = [(0.9 * wide, 0.1), (0.82 * wide, -0.4), (0.4, -0.50), (0, -0.47)]
    curtain = [(0.93 * wide, 0.5), (0.9 * wide, -0.1), (0.62, -0.62), (0.2, line - 0.1), (0.03, 1.2 * line)]
    temples = [(0.92 * wide, -0.05), (0.93 * wide, -0.5), (0.72, 1.12 * line), (0.4, 1.34 * line)]
    peak = [*temples, (0, 1.18 * line)]
    round_line = [(0.95 * wide, -0.3), (0.85 * wide, -0.62), (0.4, line), (0, line - 0.02)]
    plain = [(0.88 * wide, -0.6), (0.62, line - 0.06), (0.3, line - 0.12), (0, line - 0.1)]
    lift, sides, hairline = {
        "fringe": (0.14, 0.15, fringe),
        "fringe bob": (0.14, 0.5, fringe),
        "long fringe": (0.14, 0.5, fringe),
        "long": (0.15, 0.7, curtain),
        "wavy": (0.15, 0.7, curtain),
        "bob": (0.15, 0.7, curtain),
        "receding": (0.04, 0.1, peak),
        "curly": (0.12, -0.1, round_line),
        "afro": (0.3, -0.1, round_line),
        "bun": (0.05, -0.35, [(0.95 * wide, -0.45), *plain]),
        "buzz": (0.0, 0.0, [(0.95 * wide, -0.1), *plain]),
        "quiff": (0.26, 0.0, [(0.95 * wide, -0.1), *plain]),
        "short": (0.11, 0.0, [(0.95 * wide, -0.1), *plain]),
    }[person.hair]
    shape = _under(mirrored(_cap(person, lift, sides)), hairline)
    return _cloud(shape, 0.13, person.wall_pattern + 1, 46) if person.hair in CURLED else [shape]


def _parted(person: Person) -> np.ndarray:
    wide, line = person.face_width, person.hairline
    outer = np.array(_cap(person, 0.14, 0.05))
    inner = [
        (0.95 * wide, -0.05), (0.88 * wide, -0.42), (0.6, line + 0.24), (0.1, line + 0.06),
        (-0.35, line - 0.2), (-0.6, line - 0.12), (-0.9 * wide, -0.55), (-0.94 * wide, -0.1),
    ]  # fmt: skip
    both_sides = np.vstack([outer[::-1] * (-1, 1), outer[1:]])
    return np.vstack([smooth(both_sides, closed=False), smooth(inner, closed=False)])


def _under(cap: np.ndarray, hairline) -> np.ndarray:
    """Closes a cap (outer edge, both sides) with a hairline, given on the right from outside inwards."""
    half = len(cap) // 2 + 1
    outer = np.vstack([cap[half:], cap[:half]])  # from the left end over the crown to the right end
    right = np.asarray(hairline, np.float64)
    left = right[::-1] * (-1, 1)
    inner = np.vstack([right, left[np.abs(left[:, 0]) > 1e-9]])
    return np.vstack([smooth(outer, closed=False), smooth(inner, closed=False)])

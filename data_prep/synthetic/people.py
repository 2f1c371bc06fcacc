"""Random parameters of one person: face, hair, clothes and voice."""

import zlib
from dataclasses import dataclass

import numpy as np

from data_prep.synthetic.speech import Voice

Colour = tuple[float, float, float]  # RGB, 0…255

LIGHT_SKINS = ((255, 222, 198), (246, 208, 180), (236, 190, 158), (226, 176, 142), (214, 160, 122))
DARK_SKINS = ((192, 138, 102), (168, 116, 84), (142, 96, 68), (122, 82, 58), (106, 70, 50))
DARK_HAIR = ((30, 26, 26), (48, 34, 28), (66, 46, 34))
LIGHT_HAIR = ((98, 66, 42), (126, 78, 46), (150, 70, 38), (190, 104, 54), (176, 138, 88), (220, 186, 122))
OLD_HAIR = ((128, 126, 126), (184, 182, 180))
EYES = ((70, 44, 28), (96, 62, 36), (66, 92, 60), (70, 108, 140), (96, 120, 136), (50, 40, 36))
CLOTHES = (
    (38, 48, 72), (60, 92, 130), (128, 48, 56), (52, 96, 84), (196, 168, 120), (230, 226, 220),
    (70, 70, 76), (150, 90, 130), (214, 120, 72), (104, 124, 160), (34, 34, 38), (226, 184, 90),
)  # fmt: skip
WALLS = (
    (196, 210, 220), (170, 190, 176), (220, 204, 186), (120, 140, 168), (206, 184, 196), (92, 106, 120),
    (232, 226, 212), (150, 120, 110), (104, 132, 130), (240, 200, 170), (70, 80, 104), (178, 176, 200),
)  # fmt: skip
WOMENS_HAIR = ("long", "wavy", "bob", "fringe bob", "bun", "curly", "afro", "long fringe", "short")
MENS_HAIR = ("short", "parted", "quiff", "fringe", "curly", "afro", "buzz", "receding", "bald", "long")
BEARDS = ("none", "none", "none", "stubble", "moustache", "goatee", "full", "full")
LANGUAGES = (
    "en", "en-us", "en-us", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-029", "en-us-nyc",
)  # fmt: skip
WOMENS_VOICES = (
    "f1", "f2", "f3", "f4", "f5", "Alicia", "Andrea", "Annie", "anika", "belinda", "linda", "shelby", "steph",
)  # fmt: skip
MENS_VOICES = (
    "m1", "m2", "m3", "m4", "m5", "m6", "m7", "klatt", "klatt3", "Andy", "Denis", "Lee", "Michael", "Reed",
    "adam", "edward", "quincy", "robert", "travis", "victor",
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """The parameters of a person, the same in all clips. Lengths are in eye distances."""

    voice: Voice
    energy: float  # factor of the mouth's opening
    spread: float  # factor of its changes in width

    skin: Colour
    face_width: float  # half width at the cheekbones
    jaw_width: float  # half width at the mouth
    chin: float  # y of its lowest point
    crown: float  # y of the top of the head, negative
    ears: float  # size; 1 is average

    hair: str
    hair_colour: Colour
    hairline: float  # y, negative
    brow_colour: Colour
    brow_height: float  # y, negative
    brow_width: float  # thickness
    brow_slant: float  # y of the outer end minus y of the inner

    eye_colour: Colour
    eye_width: float  # half width
    eye_height: float  # half height when open
    eye_slant: float
    lashes: float  # thickness of the upper lid's line

    nose: float  # y of its base
    nose_width: float  # half width

    mouth: float  # y of the line between the closed lips
    mouth_width: float  # at rest
    upper_lip: float  # thickness
    lower_lip: float
    bow: float  # depth of the dip in the upper lip
    lip_colour: Colour

    beard: str
    glasses: str  # none, round, square
    age: float  # 0…1: depth of the wrinkles
    blush: float
    freckles: float
    earrings: bool
    clothes: Colour
    collar: str  # round, v, shirt, high
    wall: Colour
    wall_pattern: int  # seed of the background's shapes
    photo: str = ""  # file of a real photo, whose face takes the place of the drawn one


def random_person(rng: np.random.Generator, unseen: bool = False) -> Person:
    """Samples a person; attributes are independent where they are independent in reality.

    A quarter of the voices is reserved for `unseen` people, so that no voice of val and test occurs in training.
    """
    woman, age, dark = bool(rng.integers(2)), float(rng.beta(1.2, 1.8)), bool(rng.random() < 0.35)
    skin = _tint(rng, _pick(rng, DARK_SKINS if dark else LIGHT_SKINS), 5)
    hair_colour = _hair_colour(rng, dark, age)
    hair = str(_pick(rng, WOMENS_HAIR if woman else MENS_HAIR))
    jaw = rng.uniform(0.80, 0.94) if woman else rng.uniform(0.86, 1.04)
    beard = "none" if woman else str(_pick(rng, BEARDS))
    return Person(
        voice=_voice(rng, woman, unseen),
        energy=rng.uniform(0.88, 1.15),
        spread=rng.uniform(0.8, 1.2),
        skin=skin,
        face_width=rng.uniform(1.02, 1.16),
        jaw_width=jaw,
        chin=rng.uniform(1.62, 1.84),
        crown=rng.uniform(-1.55, -1.38),
        ears=rng.uniform(0.8, 1.2),
        hair=hair,
        hair_colour=hair_colour,
        hairline=rng.uniform(-0.98, -0.78),
        brow_colour=tuple(0.75 * np.array(hair_colour) + 0.1 * np.array(skin)),
        brow_height=rng.uniform(-0.44, -0.34),
        brow_width=rng.uniform(0.045, 0.08) if woman else rng.uniform(0.07, 0.12),
        brow_slant=rng.uniform(-0.05, 0.08),
        eye_colour=_tint(rng, _pick(rng, EYES[:2] if dark else EYES), 8),
        eye_width=rng.uniform(0.22, 0.275),
        eye_height=rng.uniform(0.095, 0.14),
        eye_slant=rng.uniform(-0.03, 0.05),
        lashes=rng.uniform(0.035, 0.055) if woman else rng.uniform(0.02, 0.032),
        nose=rng.uniform(0.56, 0.68),
        nose_width=rng.uniform(0.19, 0.29),
        mouth=rng.uniform(0.99, 1.10),
        mouth_width=rng.uniform(0.84, 1.0),
        upper_lip=rng.uniform(0.09, 0.15),
        lower_lip=rng.uniform(0.13, 0.2),
        bow=rng.uniform(0.1, 0.4),
        lip_colour=_lips(rng, skin, painted=woman and rng.random() < 0.5),
        beard=beard,
        glasses=str(rng.choice(["none", "round", "square"], p=[0.74, 0.13, 0.13])),
        age=age,
        blush=rng.uniform(0.0, 0.5),
        freckles=float(rng.random() < 0.12 and not dark),
        earrings=bool(woman and rng.random() < 0.4),
        clothes=_tint(rng, _pick(rng, CLOTHES), 10),
        collar=str(rng.choice(["round", "v", "shirt", "high"])),
        wall=_tint(rng, _pick(rng, WALLS), 10),
        wall_pattern=int(rng.integers(1 << 16)),
    )


def _pick(rng: np.random.Generator, choices):
    return choices[rng.integers(len(choices))]


def _tint(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    """Varies mainly the brightness: independent channels would give green hair."""
    change = rng.normal(0, amount) + rng.normal(0, 0.3 * amount, 3)
    return tuple(float(value) for value in np.clip(np.array(colour) + change, 0, 255))


def _hair_colour(rng: np.random.Generator, dark: bool, age: float) -> Colour:
    if age > 0.8:
        return _tint(rng, _pick(rng, OLD_HAIR), 5)
    return _tint(rng, _pick(rng, DARK_HAIR if dark else DARK_HAIR + LIGHT_HAIR), 6)


def _lips(rng: np.random.Generator, skin: Colour, painted: bool) -> Colour:
    rose = np.array((186, 40, 62) if painted else (188, 72, 80))
    share = rng.uniform(0.6, 0.9) if painted else rng.uniform(0.4, 0.6)
    return _tint(rng, tuple(share * rose + (1 - share) * 0.85 * np.array(skin)), 6)


def _voice(rng: np.random.Generator, woman: bool, unseen: bool) -> Voice:
    variants = WOMENS_VOICES if woman else MENS_VOICES
    names = [f"{language}+{variant}" for language in LANGUAGES for variant in variants]
    name = _pick(rng, [name for name in names if (zlib.crc32(name.encode()) % 4 == 0) == unseen])
    rate, pitch, span = rng.integers(140, 176), rng.integers(30, 71), rng.integers(30, 71)
    return Voice(name, int(rate), int(pitch), int(span))

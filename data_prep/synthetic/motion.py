"""Motion of a face: the mouth follows the phonemes; head, lids and brows move at random."""

from collections.abc import Sequence

import numpy as np
from scipy.interpolate import PchipInterpolator

from data_prep.synthetic.rendering import Pose
from data_prep.synthetic.speech import Phoneme, SpeechError

# The components of a mouth shape, for an average person:
#   opening   height of the gap between the lips, in eye distances
#   width     0 at rest … 1 spread as in "see"
#   rounding  0 … 1 rounded and protruded as in "who"
#   tongue    0 hidden … 1 between the teeth
#   tuck      1: the lower lip is under the upper teeth, as in "f"
#   press     1: the lips are pressed together, as in "m"
FIELDS = ("opening", "width", "rounding", "tongue", "tuck", "press")
REST = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
TARGETS = {  # by IPA letter; diphthongs and affricates pass through the shapes of their letters
    **dict.fromkeys("pbm", (0.0, 0.0, 0.0, 0.0, 0.0, 1.0)),
    **dict.fromkeys("fv", (0.08, 0.1, 0.0, 0.0, 1.0, 0.0)),
    **dict.fromkeys("tdnɾ", (0.10, 0.25, 0.0, 0.5, 0.0, 0.0)),
    **dict.fromkeys("sz", (0.07, 0.5, 0.0, 0.0, 0.0, 0.0)),
    **dict.fromkeys("θð", (0.11, 0.2, 0.0, 1.0, 0.0, 0.0)),
    **dict.fromkeys("ʃʒ", (0.11, 0.0, 0.7, 0.0, 0.0, 0.0)),
    **dict.fromkeys("kɡŋxʔ", (0.14, 0.15, 0.0, 0.0, 0.0, 0.0)),
    **dict.fromkeys("ɹr", (0.11, 0.0, 0.5, 0.2, 0.0, 0.0)),
    "l": (0.17, 0.2, 0.0, 0.8, 0.0, 0.0),
    "j": (0.10, 0.7, 0.0, 0.0, 0.0, 0.0),
    "h": (0.20, 0.1, 0.0, 0.0, 0.0, 0.0),
    **dict.fromkeys("wʍ", (0.07, 0.0, 1.0, 0.0, 0.0, 0.0)),
    "u": (0.09, 0.0, 1.0, 0.0, 0.0, 0.0),
    "ʉ": (0.10, 0.0, 0.9, 0.0, 0.0, 0.0),
    "ʊ": (0.13, 0.0, 0.7, 0.0, 0.0, 0.0),
    "o": (0.20, 0.0, 0.8, 0.0, 0.0, 0.0),
    "ɔ": (0.28, 0.0, 0.6, 0.0, 0.0, 0.0),
    "ɒ": (0.34, 0.0, 0.35, 0.0, 0.0, 0.0),
    "ɑ": (0.42, 0.0, 0.0, 0.0, 0.0, 0.0),
    "a": (0.42, 0.1, 0.0, 0.0, 0.0, 0.0),
    "æ": (0.38, 0.4, 0.0, 0.0, 0.0, 0.0),
    "ʌ": (0.29, 0.1, 0.0, 0.0, 0.0, 0.0),
    "ɐ": (0.22, 0.1, 0.0, 0.0, 0.0, 0.0),
    "ə": (0.17, 0.1, 0.0, 0.0, 0.0, 0.0),
    "ɚ": (0.16, 0.0, 0.3, 0.1, 0.0, 0.0),
    "ɜ": (0.20, 0.0, 0.3, 0.0, 0.0, 0.0),
    "ɛ": (0.28, 0.5, 0.0, 0.0, 0.0, 0.0),
    "e": (0.21, 0.7, 0.0, 0.0, 0.0, 0.0),
    **dict.fromkeys("ɪᵻ", (0.16, 0.6, 0.0, 0.0, 0.0, 0.0)),
    "i": (0.11, 1.0, 0.0, 0.0, 0.0, 0.0),
}
MARKS = "ˈˌː:ʲ\u0329\u032a"  # stress, length, palatal, syllabic, dental: the shape is the letter's
BILABIALS = "pbm"
CLOSURE = 0.055  # s; the lips close before the burst of a "p", at which eSpeak NG starts the phoneme
ONSET, RELEASE = 0.12, 0.18  # s from rest to the first phoneme, and from the last back to rest
PAUSE = 0.3  # s of silence after which the mouth comes to rest


def mouth_shapes(phonemes: Sequence[Phoneme], times: np.ndarray) -> np.ndarray:
    """Mouth shapes of a person who speaks.

    A shape is held in the middle of its phoneme. Between phonemes it is interpolated by monotone cubics, which do not
    overshoot, so that the lips close where they must.

    Args:
      phonemes: in their order.
      times: float `[T]`, s.

    Returns:
      float64 `[T, 6]`, the FIELDS.

    Raises:
      SpeechError: a phoneme has a letter that is not in TARGETS.
    """
    keys = [(phonemes[0].start - ONSET, REST)]
    for phoneme in phonemes:
        if phoneme.start - keys[-1][0] > PAUSE:
            keys += [(keys[-1][0] + RELEASE / 2, REST), (phoneme.start - ONSET, REST)]
        for start, end, target in _holds(phoneme):
            start = max(start, keys[-1][0] + 0.01)
            keys += [(start, target), (max(end, start + 0.005), target)]
    keys.append((phonemes[-1].end + RELEASE, REST))
    moments, shapes = zip(*keys, strict=True)
    return PchipInterpolator(moments, np.array(shapes))(np.clip(times, moments[0], moments[-1]))


def _holds(phoneme: Phoneme) -> list[tuple]:
    """(start, end, target) for each letter of a phoneme."""
    letters = [letter for letter in phoneme.symbol if letter not in MARKS]
    if unknown := [letter for letter in letters if letter not in TARGETS]:
        raise SpeechError(f"no mouth shape is known for {unknown[0]!r} in {phoneme.symbol!r}", "choose other words")
    length = (phoneme.end - phoneme.start) / max(1, len(letters))
    holds = []
    for index, letter in enumerate(letters):
        start = phoneme.start + index * length
        first, last = (0.05, 0.75) if letter in BILABIALS else (0.3, 0.65)
        before = CLOSURE if letter == "p" else 0.0
        holds.append((start + first * length - before, start + last * length, TARGETS[letter]))
    return holds


def poses(rng: np.random.Generator, times: np.ndarray) -> list[Pose]:
    """Head poses of a person who talks to a camera: a random position with a little sway, and blinks.

    Args:
      times: float `[T]`, s.
    """
    x, y, roll = rng.normal(0, 0.07), rng.normal(0, 0.05), rng.normal(0, 2.5)
    scale = rng.uniform(0.93, 1.07)
    spells = np.arange(times[0], times[-1] + 4, 4)  # s; one blink in each
    blink_at = spells + rng.uniform(0, 4, len(spells))
    blink = np.max([1 - np.abs(times - at) / 0.11 for at in blink_at], axis=0).clip(0)
    sway = {name: _sway(rng, times) for name in ("x", "y", "scale", "roll", "brows")}
    return [
        Pose(
            x=x + 0.05 * sway["x"][t],
            y=y + 0.03 * sway["y"][t],
            scale=scale * (1 + 0.012 * sway["scale"][t]),
            roll=roll + 1.6 * sway["roll"][t],
            blink=float(blink[t]),
            brows=0.7 * sway["brows"][t],
        )
        for t in range(len(times))
    ]


def _sway(rng: np.random.Generator, times: np.ndarray) -> np.ndarray:
    """A slow random motion `[T]` around 0, of order 1."""
    waves = zip(rng.uniform(0.15, 1.3, 3), rng.uniform(0, 2 * np.pi, 3), rng.normal(0, 0.6, 3), strict=True)
    return sum(height * np.sin(2 * np.pi * speed * times + phase) for speed, phase, height in waves)

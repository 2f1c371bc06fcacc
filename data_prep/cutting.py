"""Where the clips of a recording lie: around its labelled words, and one after the other where it has none."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from davs_jax.constants import CLIP_FRAMES, FPS

APART = 3  # frames that two labelled clips are apart at least; nearer ones would show the same under two labels


class Word(NamedTuple):
    """A timed word of a recording."""

    text: str
    start: float  # s from the recording's first frame
    end: float
    line: int  # of the table

    @property
    def middle(self) -> float:
        """In frames."""
        return (self.start + self.end) / 2 * FPS


class Placed(NamedTuple):
    """A clip of CLIP_FRAMES frames, beginning with frame `start`."""

    start: int
    word: Word | None = None  # None: no label

    @property
    def off_middle(self) -> float:
        """Frames from the clip's middle to the word's."""
        return self.word.middle - self.start - CLIP_FRAMES / 2


class Lost(NamedTuple):
    """A word that gets no clip, and why."""

    word: Word
    reason: str


def around_words(
    words: Iterable[Word], stretches: Sequence[range], off_middle: float
) -> tuple[list[Placed], list[Lost]]:
    """Clips with a word in the middle of each, in their order in time.

    A clip stays within its stretch (a shot), so at the edges its word is off the middle. A clip's label is the word
    nearest to its middle: of words whose clips would begin less than APART frames apart, only the one nearest to the
    middle of its clip is kept.

    Args:
      stretches: frames that may be cut, in rising order.
      off_middle: frames by which a word may be off its clip's middle.

    Returns:
      the clips, and the words without one.
    """
    placed, lost = [], []
    for word in words:
        clip = _nearest(word, stretches)
        if isinstance(clip, Lost):
            lost.append(clip)
        elif abs(clip.off_middle) > off_middle:
            reason = f"it would be {abs(clip.off_middle):.1f} frames off the middle of its clip, {off_middle:g} may be"
            lost.append(Lost(word, reason))
        else:
            placed.append(clip)
    kept: dict[int, Placed] = {}  # by first frame
    for clip in sorted(placed, key=lambda clip: (abs(clip.off_middle), clip.word.middle)):
        near = next((kept[s] for s in range(clip.start - APART + 1, clip.start + APART) if s in kept), None)
        if near:
            lost.append(Lost(clip.word, f"its clip would be that of '{near.word.text}', which is nearer to the middle"))
        else:
            kept[clip.start] = clip
    return [kept[start] for start in sorted(kept)], lost


def fill(placed: Sequence[Placed], stretches: Sequence[range]) -> list[Placed]:
    """`placed`, and consecutive clips without a label wherever a stretch has room between them; in rising order."""
    found = []
    for stretch in stretches:
        within = [clip for clip in placed if stretch.start <= clip.start < stretch.stop]
        starts = [stretch.start, *(clip.start + CLIP_FRAMES for clip in within)]
        stops = [*(clip.start for clip in within), stretch.stop]
        for start, stop in zip(starts, stops, strict=True):
            found += [Placed(first_frame(middle)) for middle in consecutive(range(start, stop))]
        found += within
    return sorted(found, key=lambda clip: clip.start)


def consecutive(stretch: range, most: int | None = None) -> list[float]:
    """The middles, in frames, of as many clips as a stretch holds, but at most `most`, each in the middle of an equal
    share of it."""
    fitting = len(stretch) // CLIP_FRAMES
    count = fitting if most is None else min(most, fitting)
    return [stretch.start + (i + 0.5) * len(stretch) / count for i in range(count)]


def first_frame(middle: float) -> int:
    """The first frame of the clip with this middle, in frames."""
    return math.floor(middle - CLIP_FRAMES / 2 + 0.5)


def _nearest(word: Word, stretches: Sequence[range]) -> Placed | Lost:
    """The clip, within the stretch that holds the word's middle, whose middle is nearest to it."""
    stretch = next((stretch for stretch in stretches if stretch.start <= word.middle < stretch.stop), None)
    if stretch is None:
        end = stretches[-1].stop if stretches else 0
        return Lost(word, f"its middle is at frame {word.middle:.1f}, the recording's usable frames end at {end}")
    if len(stretch) < CLIP_FRAMES:
        return Lost(word, f"its shot has {len(stretch)} frames, {CLIP_FRAMES} are needed")
    return Placed(int(np.clip(first_frame(word.middle), stretch.start, stretch.stop - CLIP_FRAMES)), word)

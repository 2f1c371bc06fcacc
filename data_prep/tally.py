"""Running counts and histograms over records; their size does not grow with the number of records."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

LABELS = ("word", "speaker", "identity")  # features that are classes
SMALLEST = 1e-2  # of a measure on an octave scale; an image of one colour has a sharpness of 0


class Measure(NamedTuple):
    """How a measure is displayed."""

    title: str
    step: float  # width of a histogram's bar, in the measure's unit, or in octaves
    meaning: str
    octaves: bool = False  # where values span orders of magnitude
    form: str = "{:.1f}"

    def bar(self, value: float) -> int:
        """Index of the bar that contains a value."""
        return round((math.log2(max(value, SMALLEST)) if self.octaves else value) / self.step)

    def value(self, bar: float) -> float:
        """The value at the bar's middle."""
        return 2 ** (bar * self.step) if self.octaves else bar * self.step


MEASURES = {
    "face_size": Measure("face size, px", 1 / 16, "side in the source of the square that was aligned", True, "{:.0f}"),
    "eye_distance": Measure("eye distance, px", 1 / 8, "in the source, median over the frames", True, "{:.0f}"),
    "sharpness": Measure("sharpness (low: blur)", 1 / 8, "variance of the Laplacian from brow to lip", True, "{:.0f}"),
    "loudness": Measure("loudness, dBFS", 1, "root mean square of the clip's audio; 0 is full scale"),
    "jitter": Measure("jitter, %", 0.02, "acceleration of the face points, in % of the eye distance", form="{:.2f}"),
    "found": Measure("face found", 0.05, "share of the frames looked at that show the face", form="{:.2f}"),
    "second_face": Measure("second face", 0.05, "share of the frames looked at that show another face", form="{:.2f}"),
    "off_middle": Measure("word off the middle, frames", 0.5, "from the clip's middle to its word's", form="{:+.1f}"),
    "audio_offset": Measure("audio offset, frames", 1, "of the recording, by a model: audio late", form="{:+.0f}"),
    "offset_confidence": Measure("confidence of the offset", 0.005, "as of davs-sync", form="{:.3f}"),
    "offset_removed": Measure("offset removed, frames", 1, "0: in time, or left as it is", form="{:+.0f}"),
    "offset_hint": Measure("offset hint, frames", 1, "estimated delay of the audio, from lip motion", form="{:+.0f}"),
    "offset_strength": Measure("strength of the hint", 0.05, "correlation of lip motion with loudness", form="{:.2f}"),
}


class Tally:
    """Counts of records by split and class, and histograms of their measures over all splits.

    Attributes:
      classes: by feature and split, the number of records by label; −1 is unknown.
      bars: by measure, the number of records by bar.
      offsets: number of records by what was done about the offset of their recording.
    """

    def __init__(self):
        self.classes: dict[str, dict[str, Counter[int]]] = {}
        self.bars: dict[str, Counter[int]] = {}
        self.offsets: Counter[str] = Counter()
        self._lip_sound, self._clips = 0, 0

    def add(self, split: str, record: Mapping[str, Any], measures: Mapping[str, Any]) -> None:
        for name in LABELS:
            if name in record:
                self.classes.setdefault(name, {}).setdefault(split, Counter())[int(record[name])] += 1
        for name, measure in MEASURES.items():
            if measures.get(name) is not None:
                self.bars.setdefault(name, Counter())[measure.bar(measures[name])] += 1
        if "offset_outcome" in measures:
            self.offsets[measures["offset_outcome"]] += 1
        if "lip_sound" in measures:
            self._lip_sound, self._clips = self._lip_sound + np.array(measures["lip_sound"]), self._clips + 1

    @property
    def lip_sound(self) -> np.ndarray | None:
        """`[2·REACH + 1]`, the mean over clips of `measures.lip_sound`; None where no clip has it."""
        return self._lip_sound / self._clips if self._clips else None

    def unlabelled(self, split: str) -> int:
        """How many clips of a split have no word."""
        return self.classes.get("word", {}).get(split, Counter())[-1]

    def members(self, name: str, split: str) -> list[int]:
        """The classes of a feature that a split has records of, rising; without −1."""
        return sorted(set(self.classes.get(name, {}).get(split, ())) - {-1})

    def measured(self) -> list[str]:
        """The measures that any record has, in the order of MEASURES."""
        return [name for name in MEASURES if name in self.bars]

    def quantile(self, name: str, share: float) -> str:
        """The value of a measure below which a share of the records lies, accurate to half a bar."""
        bars = sorted(self.bars[name].items())
        below = np.cumsum([count for _, count in bars])
        value = MEASURES[name].value(bars[int(np.searchsorted(below, share * below[-1]))][0])
        return MEASURES[name].form.format(value)

    def histogram(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(edges `[N + 1]`, records `[N]`) of a measure's bars, with an empty bar at each end."""
        counted, measure = self.bars[name], MEASURES[name]
        numbers = np.arange(min(counted) - 1, max(counted) + 2)
        edges = [measure.value(number - 0.5) for number in (*numbers, numbers[-1] + 1)]
        return np.array(edges), np.array([counted[number] for number in numbers])

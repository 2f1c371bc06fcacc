"""Measures the audio-video offset of a recording with a trained model's word encoders, and removes it."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_prep import folders
from data_prep.cutting import Word
from data_prep.plan import PreparationError
from data_prep.speaker import Tracked
from davs_jax.command_line import real
from davs_jax.constants import FPS, SAMPLES_PER_FRAME
from davs_jax.media.offsets import COMPARED, SURE

IN_TIME, REMOVED, UNCERTAIN, UNMEASURED = "in time", "removed", "left: uncertain", "left: too short to measure"


class Synchrony(NamedTuple):
    """The measured offset of a recording, and what was done about it."""

    outcome: str
    frames: int | None = None  # by which the audio is late; None where it could not be measured
    confidence: float | None = None
    removed: int = 0  # frames

    @property
    def measures(self) -> dict[str, Any]:
        return {
            "audio_offset": self.frames,
            "offset_confidence": self.confidence,
            "offset_outcome": self.outcome,
            "offset_removed": self.removed,
        }


def add_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("audio-video offset")
    group.add_argument(
        "--fix-offset",
        action="store_true",
        help="measure the offset of each recording with a trained model, and remove it where it is certain. Times of "
        "words are those of the audio, and move with it",
    )
    group.add_argument(
        "--judge",
        metavar="RUN",
        help="the model that measures it: a workdir, one checkpoint in it, or an exported folder (default: the demo "
        "model of the package, which is rarely certain of real people)",
    )
    group.add_argument(
        "--min-offset-confidence",
        type=real(0, 10),
        metavar="C",
        default=SURE,
        help=f"confidence from which an offset is removed (default {SURE}, measured with the demo model: "
        "docs/inputs.md; another model needs its own, see tests/benchmarks/sync_confidence.py)",
    )


def options(args: argparse.Namespace) -> dict[str, Any]:
    """The options in a plan.

    Raises:
      CheckpointError, PreparationError: the judge cannot be loaded, or has no word encoders.
    """
    if not args.fix_offset:
        if args.judge:
            raise PreparationError(f"--judge {args.judge}: no offset is measured", "add --fix-offset")
        return {"fix_offset": False}
    from data_prep import judge  # only here: the import takes seconds, in every worker process too

    run = folders.absolute(folders.folder(args.judge)) if args.judge else judge.DEMO
    judge.load(run)
    return {"fix_offset": True, "judge": run, "min_offset_confidence": args.min_offset_confidence}


def measure(path: Path, samples: np.ndarray, tracked: Tracked, options: Mapping[str, Any]) -> Synchrony:
    """The offset of one recording.

    Args:
      path: of the video.
      samples: float32 `[T · 640]`, its audio.
      tracked: the speaker's face in all its T frames.
    """
    from data_prep import judge  # as in `options`

    found = judge.measure(options["judge"], path, samples, tracked)
    if found is None:
        return Synchrony(UNMEASURED)
    confidence = round(found.confidence, 4)
    doubtful = confidence < options["min_offset_confidence"] or found.compared < COMPARED
    if doubtful or abs(found.frames) == judge.REACH:
        return Synchrony(UNCERTAIN, found.frames, confidence)
    return Synchrony(REMOVED if found.frames else IN_TIME, found.frames, confidence, found.frames)


def shifted(samples: np.ndarray, late: int) -> np.ndarray:
    """Samples `[T · 640]` that are `late` frames late, moved so that they are in time; what is missing is silence."""
    moved = np.zeros_like(samples)
    count = max(0, len(samples) - abs(late) * SAMPLES_PER_FRAME)
    source, target = (max(0, frames) * SAMPLES_PER_FRAME for frames in (late, -late))
    moved[target : target + count] = samples[source : source + count]
    return moved


def shifted_word(word: Word, late: int) -> Word:
    """A word of the audio at its time after `shifted`; what would begin before the recording begins with it."""
    start, end = (max(0.0, time - late / FPS) for time in (word.start, word.end))
    return word._replace(start=start, end=end)


def heard(stretch: range, frames: int, late: int) -> range:
    """The frames of a stretch whose audio exists after `shifted`, in a recording of `frames` frames."""
    return range(max(stretch.start, -late), max(stretch.start, -late, min(stretch.stop, frames - late)))

"""Filters of clips by their measures. Each is an option; what it sets aside has its own column in the report."""

import argparse
from collections.abc import Mapping
from typing import Any, NamedTuple

from data_prep.shards import Unusable
from davs_jax.command_line import real

SECOND_FACE = 1 / 3  # of the searched frames of a clip, from which --single-face sets it aside


class Least(NamedTuple):
    """A filter that sets a clip aside where a measure is below an option's value."""

    measure: str
    stage: str  # of its rejections
    metavar: str
    limits: tuple[float, float]  # of the option
    meaning: str

    @property
    def unit(self) -> str:
        return {"PIXELS": " px", "DB": " dBFS"}.get(self.metavar, "")


LEAST = {  # by option
    "min_sharpness": Least("sharpness", "sharpness", "S", (0, 1e6), "variance of the Laplacian from brow to lip"),
    "min_face": Least("eye_distance", "small face", "PIXELS", (0, 1e5), "median eye distance in the source"),
    "min_loudness": Least("loudness", "loudness", "DB", (-200, 0), "root mean square in dBFS, such as -45"),
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("filters", "default: none; the report shows the distribution of each measure")
    for option, least in LEAST.items():
        flag = "--" + option.replace("_", "-")
        text = f"set clips aside whose {least.measure.replace('_', ' ')} is below it: {least.meaning}"
        group.add_argument(flag, type=real(*least.limits), metavar=least.metavar, help=text)
    group.add_argument(
        "--single-face",
        action="store_true",
        help="set clips aside that show a second face, of at least half the speaker's eye distance, in at least a "
        "third of the frames in which faces are detected",
    )


def options(args: argparse.Namespace) -> dict[str, Any]:
    """The filters, for a plan."""
    return {name: getattr(args, name) for name in (*LEAST, "single_face")}


def check(measures: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Raises Unusable where a clip's measures do not pass the filters."""
    for option, least in LEAST.items():
        limit, value = options[option], measures[least.measure]
        if limit is not None and value < limit:
            flag, name = "--" + option.replace("_", "-"), least.measure.replace("_", " ")
            reason = f"its {name} is {value:g}{least.unit}, below {flag} {limit:g}"
            raise Unusable(least.stage, reason, f"leave it out, or lower {flag}")
    if options["single_face"] and measures["second_face"] >= SECOND_FACE:
        reason = f"a second face is in {measures['second_face']:.0%} of its searched frames"
        raise Unusable("second face", reason, "leave it out, or prepare without --single-face")

"""An evaluation onto the disk: report.json, report.html, the examples to see and hear, and what made them."""

import importlib.metadata
import json
import platform
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from davs_jax.data.sources import ClipSource, DataError
from davs_jax.display import plots
from davs_jax.evaluate.pictures import Pictures
from davs_jax.evaluate.report import page
from davs_jax.media.video.write import Writer
from davs_jax.provenance.credentials import METADATA

SHEET_FRAMES = (4, 8, 12, 16, 20, 24)  # of each example, beside its photo
VIDEO_SIDE = 160  # pixels; smaller pictures are enlarged for the example video
PACKAGES = ("davs_jax", "jax", "flax", "numpy", "scikit-learn")

Examples = dict[int, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
      clips: how many were counted, each once.
      intervals: what the bootstrap resamples.
      figures: by section and name, as report.json holds them.
      skipped: by name, why a part could not be computed.
      pictures: the generated frames' raw figures and examples; None where the weights cannot generate.
      curves: the examples' mouth openings, as `plots.openings` takes them.
      confusions: counts `[words, words]` of what was said and read, from audio, video and both.
    """

    clips: int
    intervals: str
    figures: dict
    skipped: dict[str, str]
    pictures: Pictures | None = None
    curves: list = field(default_factory=list)
    confusions: dict[str, np.ndarray] = field(default_factory=dict)


def example_sheet(examples: Examples) -> np.ndarray:
    """Three rows per example: the photo and its real frames, those driven by sound, those driven by video."""
    rows = []
    for variants in examples.values():
        photo = variants["photo"][0]
        beside = (photo, *(plots.named(f"from {what}", len(photo)) for what in ("sound", "video")))
        names = ("real", "audio", "video")
        rows += [[first, *variants[n][list(SHEET_FRAMES)]] for first, n in zip(beside, names, strict=True)]
    return plots.sheet(rows)


def example_video(examples: Examples, source: ClipSource, path: Path) -> None:
    """The examples one after the other, photo, real, from sound and from video side by side, with the real sound."""
    names = ("photo", "real", "audio", "video")
    sound = np.concatenate([source.record(i)["audio"] for i in examples]).astype(np.float32) / 2**15
    with Writer(path, samples=sound, metadata=METADATA) as writer:
        for variants in examples.values():
            for pictures_now in zip(*(variants[name] for name in names), strict=True):
                writer.write(plots.sheet([pictures_now], side=VIDEO_SIDE))


def save(evaluation: Evaluation, source: ClipSource, config: ConfigDict, folder: Path, evaluated: dict) -> dict:
    """Writes report.json and report.html.

    Args:
      evaluated: what was evaluated with what, by name, for the reader.

    Returns:
      what report.json holds.
    """
    record = {
        "evaluated": evaluated,
        "clips": evaluation.clips,
        "figures": evaluation.figures,
        "skipped": evaluation.skipped,
        "config": json.loads(config.to_json()),
    }
    media, generated = {}, evaluation.pictures
    if generated:
        media["sheet"] = example_sheet(generated.examples)
        with tempfile.TemporaryDirectory() as place:
            films = {"examples": generated.examples} | generated.extremes
            for name, examples in films.items():
                example_video(examples, source, Path(place) / f"{name}.mp4")
            media["films"] = {name: (Path(place) / f"{name}.mp4").read_bytes() for name in films}
    if evaluation.confusions:
        media["confusions"] = plots.confusions(evaluation.confusions, source.words)
    if evaluation.curves:
        media["openings"] = evaluation.curves
    page.write_report(folder, record, _curves(evaluated["checkpoint"]), media)
    return record


def read(folder: Path) -> dict:
    """What the report.json of a report's folder holds.

    Raises:
      DataError: there is none, or it is damaged.
    """
    path = folder if folder.suffix == ".json" else folder / "report.json"
    try:
        record = json.loads(path.read_text())
        return {key: record[key] for key in ("evaluated", "clips", "figures", "skipped", "config")}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is not a report ({error}); make one with python -m davs_jax.evaluate") from error


def control(folder: Path, source: ClipSource, clips: int) -> dict:
    """The figures of another model's report on the same clips.

    Raises:
      DataError: no report, or one on other clips.
    """
    record = read(folder)
    evaluated = record["evaluated"]
    found = (evaluated["data"], evaluated["split"], record["clips"])
    if found != (source.folder, source.split, clips):
        raise DataError(
            f"{folder} reports {found[2]} clips of split {found[1]!r} in {found[0]}, not {clips} of {source.split!r} "
            f"in {source.folder}; evaluate the control on the same clips"
        )
    return record["figures"]


def _curves(path: str) -> epath.Path | None:
    """metrics.jsonl of the workdir that the weights come from: `path`, or the folder of the checkpoints it lies in."""
    places = (epath.Path(path), epath.Path(path).parent.parent)
    return next((p / "metrics.jsonl" for p in places if (p / "metrics.jsonl").exists()), None)


def provenance() -> dict[str, str]:
    """What ran: versions, device, and the commit where the code lies in a git checkout."""
    describe = ("git", "describe", "--always", "--dirty", "--abbrev=40")
    commit = ""
    if shutil.which("git"):
        commit = subprocess.run(describe, cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    return {
        "commit": commit or "not a git checkout",
        "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
        "device": f"{jax.device_count()} × {jax.devices()[0].device_kind}",
    }

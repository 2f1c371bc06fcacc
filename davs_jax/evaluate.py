"""How good a trained model is: every clip of a split, counted once, in one report.

    python -m davs_jax.evaluate --checkpoint runs/joint --data data/lrw --output runs/joint/report

writes report.json (every figure) and report.html (the same to read, with pictures and an example video).
"""

import argparse
import importlib.metadata
import itertools
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from davs_jax import checkpoint, generate, mouth, pictures, plots, recognition, report, sharding
from davs_jax.data import eval_batches, open_clips, open_faces
from davs_jax.inference import Davs
from davs_jax.media.video import MediaError, Writer
from davs_jax.pictures import Pictures
from davs_jax.progress import progress
from davs_jax.recognition import Vectors
from davs_jax.sources import ClipSource, DataError, FaceSource
from davs_jax.state import init_state
from davs_jax.weights import DEMO, CheckpointError

BATCH = 16  # clips
SHEET_FRAMES = (4, 8, 12, 16, 20, 24)  # of each example, beside its photo
VIDEO_SIDE = 160  # pixels; smaller pictures are enlarged for the example video
PACKAGES = ("davs_jax", "jax", "flax", "numpy", "scikit-learn")


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
    """

    clips: int
    intervals: str
    figures: dict
    skipped: dict[str, str]
    pictures: Pictures | None = None
    curves: list = field(default_factory=list)


def evaluate(
    model: Davs, source: ClipSource, faces: FaceSource | None = None, limit: int | None = None, seed: int = 0
) -> Evaluation:
    """Evaluates a model on every clip of a source.

    Args:
      faces: identity images, for the person probes of corpora whose speakers are not known.
      limit: count the first so many clips only.
      seed: of bootstrap, folds and fresh weights.

    Raises:
      DataError: the clips do not fit the model, or a record is damaged.
      RuntimeError: a clip was missed or counted twice.
    """
    _check_fit(model, source)
    count = min(limit or len(source), len(source))

    def batches() -> Iterator[dict]:
        return _first(eval_batches(source, BATCH), count)

    figures, skipped, vectors, people = {}, {}, None, None
    if model.has("visual_encoder", "audio_encoder"):
        bar = progress(batches(), total=-(-count // BATCH), desc="reading", unit="batch")
        vectors = recognition.encode(model, bar, persons=model.has("person_encoder"))
        _check_count(vectors.index, count)
        people = vectors.people
        figures["retrieval"] = recognition.retrieval(vectors)
        if model.has("word_classifier"):
            figures["accuracy"] = recognition.accuracies(model, vectors, seed)
        else:
            skipped["accuracy"] = "the weights have no word classifier"
        figures["probes"], reasons = recognition.probes(vectors, seed)
        skipped |= reasons
    else:
        skipped["recognition"] = "the weights have no word encoders"
    if faces is not None:
        figures["face_probes"], reasons = recognition.face_probes(model, faces, seed)
        skipped |= reasons
    if vectors is None or not model.has("person_encoder", "decoder"):
        skipped["pictures"] = "the weights have no person encoder, word encoders and decoder together"
        return Evaluation(count, resampled(people), figures, skipped)
    try:
        ruler = _ruler(source, vectors)
    except ValueError as error:
        ruler, skipped["motion"] = None, str(error)
    generated = pictures.measure(model, untrained(model, seed), source, batches(), vectors.word, ruler)
    _check_count(generated.index, count)
    figures["pictures"] = pictures.picture_table(generated, people, seed)
    if ruler:
        figures["motion"] = pictures.motion_table(generated, vectors.mouth_opening, people, seed)
        curves = pictures.opening_curves(generated, vectors.mouth_opening)
    return Evaluation(count, resampled(people), figures, skipped, generated, curves if ruler else [])


def _ruler(source: ClipSource, vectors: Vectors) -> mouth.Ruler:
    """A ruler for mouths, fitted on the training split without the people of this one.

    Raises:
      ValueError: there is nothing to fit it on, or nothing to compare it with.
    """
    known = vectors.mouth_opening[np.isfinite(vectors.mouth_opening).all(1)]
    if not np.ptp(known, axis=1).any():
        raise ValueError("no clip has a known mouth opening that changes")
    return mouth.fit_ruler(eval_batches(open_clips(source.folder, "train"), BATCH), vectors.speaker)


def resampled(people: np.ndarray | None) -> str:
    """What the intervals stand for, in words."""
    if people is None:
        return "resampling clips"
    return f"resampling the {len(np.unique(people))} people, whose clips resemble each other"


def untrained(model: Davs, seed: int) -> Davs:
    """The same networks with fresh weights: what the topology gives without training."""
    config = model.config.copy_and_resolve_references()
    config.seed = seed
    mesh = sharding.make_mesh(ConfigDict({"data": 1, "fsdp": 1}), jax.local_devices()[:1])
    state = init_state(config, mesh)
    return Davs(config, state.params, state.batch_stats)


def _check_fit(model: Davs, source: ClipSource) -> None:
    found = {"image_size": source.image_size, "num_words": len(source.words)}
    for name, value in found.items():
        if value != model.config.model[name]:
            raise DataError(
                f"{source.folder} has {name} {value} but the weights were trained with {model.config.model[name]}; "
                "evaluate on clips prepared as the training's were"
            )


def _first(batches: Iterable[dict], count: int) -> Iterator[dict]:
    """Masks out all clips beyond the first `count`."""
    for batch in itertools.takewhile(lambda batch: batch["index"][0] < count, batches):
        yield {**batch, "mask": batch["mask"] & (batch["index"] < count)}


def _check_count(index: np.ndarray, count: int) -> None:
    if not np.array_equal(np.sort(index), np.arange(count)):
        raise RuntimeError(f"{len(index)} clips were read, {len(np.unique(index))} different; there are {count}")


def example_sheet(examples: dict[int, dict[str, np.ndarray]]) -> np.ndarray:
    """Three rows per example: the photo and its real frames, those driven by sound, those driven by video."""
    rows = []
    for variants in examples.values():
        photo = variants["photo"][0]
        beside = (photo, np.full_like(photo, 255), np.full_like(photo, 255))
        names = ("real", "audio", "video")
        rows += [[first, *variants[n][list(SHEET_FRAMES)]] for first, n in zip(beside, names, strict=True)]
    return plots.sheet(rows)


def example_video(examples: dict[int, dict[str, np.ndarray]], source: ClipSource, path: Path) -> None:
    """The examples one after the other, photo, real, from sound and from video side by side, with the real sound."""
    names = ("photo", "real", "audio", "video")
    sound = np.concatenate([source.record(i)["audio"] for i in examples]).astype(np.float32) / 2**15
    with Writer(path, samples=sound, metadata=generate.METADATA) as writer:
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
            example_video(generated.examples, source, video := Path(place) / "examples.mp4")
            media["video"] = video.read_bytes()
    if evaluation.curves:
        media["openings"] = evaluation.curves
    report.write_report(folder, record, _curves(evaluated["checkpoint"]), media)
    return record


def _curves(path: str) -> epath.Path | None:
    """metrics.jsonl of the workdir that the weights come from: `path`, or the folder of the checkpoints it lies in."""
    places = (epath.Path(path), epath.Path(path).parent.parent)
    return next((p / "metrics.jsonl" for p in places if (p / "metrics.jsonl").exists()), None)


def _provenance() -> dict[str, str]:
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


def main(argv: list[str] | None = None) -> int:
    """Command line: evaluates weights on a split and writes the report."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        args.output.mkdir(parents=True, exist_ok=True)  # before the work, not after it
        config, params, batch_stats = checkpoint.load_weights(args.checkpoint)
        source = open_clips(args.data, args.split)
        faces = open_faces(args.faces, args.faces_split) if args.faces else None
        evaluation = evaluate(Davs(config, params, batch_stats), source, faces, args.limit, args.seed)
        evaluated = {
            "checkpoint": args.checkpoint,
            "data": args.data,
            "split": args.split,
            "words": len(source.words),
            "clips": f"{evaluation.clips} of {len(source)}",
            "faces": args.faces or "none",
            "seed": args.seed,
            "intervals": evaluation.intervals,
        } | _provenance()
        record = save(evaluation, source, config, args.output, evaluated)
    except (CheckpointError, DataError, MediaError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from error
    except OSError as error:
        raise SystemExit(
            f"{parser.prog}: {error.filename or args.output} cannot be written ({error.strerror})"
        ) from error
    print(report.summary(record))
    print(f"{args.output / 'report.html'}: {evaluation.clips} clips")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="davs-evaluate",
        description="Measure lip reading, retrieval, disentanglement and generated frames on a split; write a report.",
        epilog="example: davs-evaluate --checkpoint runs/joint --data data/lrw --split test --output runs/joint/report",
    )
    add = parser.add_argument
    add(
        "--checkpoint",
        default=DEMO,
        metavar="W",
        help="a workdir, one checkpoint in it, or an exported folder (default: the demo model of the package)",
    )
    add("--data", required=True, metavar="CLIPS", help="folder of clip shards made by data_prep")
    add("--split", default="test", help="default: %(default)s")
    add("--faces", metavar="FACES", help="folder of identity shards, to probe for people where speakers are not known")
    add("--faces-split", default="train", help="default: %(default)s")
    add("--output", type=Path, default=Path("report"), metavar="DIR", help="default: %(default)s")
    add("--limit", type=_positive, metavar="N", help="count the first N clips only; default: all")
    add("--seed", type=int, default=0, help="of bootstrap, folds and fresh weights; default: %(default)s")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of clips above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())

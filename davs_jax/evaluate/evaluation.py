"""How good a trained model is: every clip of a split, counted once, in one report.

    python -m davs_jax.evaluate --checkpoint runs/joint --data data/lrw --output runs/joint/report

writes report.json (every figure) and report.html (the same to read, with pictures and an example video).
"""

import argparse
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from davs_jax import command_line, inference
from davs_jax.checkpoint.export import DEMO, CheckpointError
from davs_jax.data.pipeline import eval_batches, open_clips, open_faces
from davs_jax.data.sources import ClipSource, DataError, FaceSource
from davs_jax.display.progress import progress
from davs_jax.errors import ConfigError
from davs_jax.evaluate import landmarks, metrics, mouth, pictures, recognition, swap
from davs_jax.evaluate.lip_sync import Scorer
from davs_jax.evaluate.perceptual import ALEXNET, INCEPTION, Judge
from davs_jax.evaluate.recognition import Vectors
from davs_jax.evaluate.report import compare, page, results
from davs_jax.evaluate.report.results import Evaluation
from davs_jax.inference import Davs
from davs_jax.media.video.streams import MediaError
from davs_jax.parallel import processes, sharding
from davs_jax.training.state import fresh_weights

BATCH = 16  # clips
UNMEASURED = {
    "CPBD": "no picture with a published value is at hand to check an implementation by",
    "blinks": "nothing here finds eyelids",
}
CONTROLLED = ("probes", "face_probes", "swap")  # what is shown beside another model's


def evaluate(
    model: Davs,
    source: ClipSource,
    faces: FaceSource | None = None,
    limit: int | None = None,
    seed: int = 0,
    scorer: Scorer | None = None,
    judge: Judge | None = None,
    control: dict | None = None,
) -> Evaluation:
    """Evaluates a model on every clip of a source.

    Args:
      faces: identity images, for the person probes of corpora whose speakers are not known.
      limit: count the first so many clips only.
      seed: of bootstrap, folds and fresh weights.
      scorer: SyncNet with its weights.
      judge: the networks of LPIPS and FID with theirs.
      control: figures of another model on the same clips, beside which the probes are shown: one without adversaries.

    Raises:
      DataError: the clips do not fit the model, or a record is damaged.
      RuntimeError: a clip was missed or counted twice.
    """
    _check_fit(model, source)
    count = min(limit or len(source), len(source))

    def batches() -> Iterator[dict]:
        return _first(eval_batches(source, BATCH), count)

    figures, skipped, vectors, people, confusions = {}, {}, None, None, {}
    fresh = untrained(model, seed)
    both = model.has("visual_encoder", "audio_encoder")
    if model.has("visual_encoder") or model.has("audio_encoder"):
        bar = progress(batches(), total=-(-count // BATCH), desc="reading", unit="batch")
        vectors = recognition.encode(model, bar, persons=model.has("person_encoder"), every_frame=both)
        _check_count(vectors.index, count)
        people = vectors.people
        if both:
            figures["retrieval"] = recognition.retrieval(vectors, model.mesh)
            figures["sync"] = recognition.synchronisation(vectors, seed)
        else:
            skipped["retrieval, sync"] = "the weights have one word encoder of the two"
        if model.has("word_classifier"):
            read = recognition.logits(model, vectors)
            answers = {name: values.argmax(1) for name, values in read.items()}
            confusions = {n: metrics.confusion(a, vectors.word, len(source.words)) for n, a in answers.items()}
            figures["accuracy"] = recognition.accuracies(read, vectors, seed)
            bar = progress(batches(), total=-(-count // BATCH), desc="untrained", unit="batch")
            figures["accuracy_baselines"] = recognition.baselines(fresh, bar, read, vectors, seed)
            figures["words"] = recognition.word_table(confusions, source.words)
        else:
            skipped["accuracy"] = "the weights have no word classifier"
        figures["probes"], reasons = recognition.probes(vectors, seed)
        skipped |= reasons
    else:
        skipped["recognition"] = "the weights have no word encoder"
    if scorer is None:
        skipped["lip_sync"] = "no weights of SyncNet were given (--syncnet)"
    skipped |= judge.missing if judge else {"LPIPS, FID": "no weights of their networks were given (--perceptual)"}
    skipped |= UNMEASURED
    if control is None:
        skipped["control"] = "no report of a model without adversaries was given (--control)"
    else:
        figures["control"] = {key: control[key] for key in CONTROLLED if key in control}
    if faces is not None:
        figures["face_probes"], reasons = recognition.face_probes(model, faces, seed)
        skipped |= reasons
    if not (both and model.has("person_encoder", "decoder")):
        skipped["pictures"] = "the weights have no person encoder, both word encoders and decoder together"
        return Evaluation(count, resampled(people), figures, skipped, confusions=confusions)
    try:
        ruler = _ruler(source, vectors)
    except ValueError as error:
        ruler, skipped["motion"] = None, str(error)
    try:
        figures["swap"] = swap.swap_test(model, source, vectors, seed)
    except ValueError as error:
        skipped["swap"] = str(error)
    generated = pictures.measure(model, fresh, source, batches(), vectors.word, ruler, scorer, judge)
    _check_count(generated.index, count)
    figures["pictures"] = pictures.picture_table(generated, people, seed)
    figures["landmarks"] = landmarks.table(generated.corners, source.image_size)
    try:
        figures["activity"] = pictures.activity_table(generated, people, seed)
    except ValueError as error:
        skipped["activity"] = str(error)
    if scorer:
        figures["lip_sync"] = pictures.lip_sync_table(generated)
    if judge:
        figures["perceptual"] = judge.table(people, seed)
    if ruler:
        figures["motion"] = pictures.motion_table(generated, vectors.mouth_opening, people, seed)
        curves = pictures.opening_curves(generated, vectors.mouth_opening)
    return Evaluation(count, resampled(people), figures, skipped, generated, curves if ruler else [], confusions)


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
    mesh = model.mesh or sharding.make_mesh(ConfigDict({"data": 1, "fsdp": 1}), jax.local_devices()[:1])
    return Davs(config, *fresh_weights(config, model.networks, mesh), model.mesh)


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


def main(argv: list[str] | None = None) -> int:
    """Command line: evaluates weights on a split and writes the report."""
    parser = _parser()
    args = parser.parse_args(argv)
    if not (args.data or args.compare):
        parser.error("name the clips with --data, or reports with --compare")
    try:
        processes.initialize()
        if args.compare:
            print(f"{compare.write_comparison(args.compare, args.output)}: {len(args.compare)} reports")
            return 0
        args.output.mkdir(parents=True, exist_ok=True)  # before the work, not after it
        made_by = results.provenance()  # so too: a checkout may move on while this runs
        model = inference.load(args.checkpoint, "job", audio_gain=args.audio_gain, video_gain=args.video_gain)
        source = open_clips(args.data, args.split)
        faces = open_faces(args.faces, args.faces_split) if args.faces else None
        scorer = Scorer.load(args.syncnet) if args.syncnet else None
        judge = Judge(args.perceptual) if args.perceptual else None
        clips = min(args.limit or len(source), len(source))
        control = results.control(Path(args.control), source, clips) if args.control else None
        evaluation = evaluate(model, source, faces, args.limit, args.seed, scorer, judge, control)
        evaluated = {
            "checkpoint": args.checkpoint,
            "data": args.data,
            "split": args.split,
            "words": len(source.words),
            "clips": f"{evaluation.clips} of {len(source)}",
            "faces": args.faces or "none",
            "syncnet": args.syncnet or "none",
            "perceptual": args.perceptual or "none",
            "control": args.control or "none",
            "gains": ", ".join(f"{name} {gain:g}" for name, gain in model.gains.items()),
            "seed": args.seed,
            "intervals": evaluation.intervals,
        } | made_by
        if jax.process_index():  # all processes of a job hold all figures; the first one writes them
            return 0
        record = results.save(evaluation, source, model.config, args.output, evaluated)
    except (CheckpointError, ConfigError, DataError, MediaError, processes.JobError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from error
    except OSError as error:
        raise SystemExit(
            f"{parser.prog}: {error.filename or args.output} cannot be written ({error.strerror})"
        ) from error
    print(page.summary(record))
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
    add("--data", metavar="CLIPS", help="folder of clip shards made by data_prep")
    add("--compare", nargs="+", type=Path, metavar="DIR", help="evaluate nothing: write these reports side by side")
    add("--split", default="test", help="default: %(default)s")
    add("--faces", metavar="FACES", help="folder of identity shards, to probe for people where speakers are not known")
    add("--faces-split", default="train", help="default: %(default)s")
    add("--control", metavar="DIR", help="report of a model without adversaries, to show beside the probes")
    add(
        "--syncnet",
        metavar="W",
        help="SyncNet's weights (syncnet_v2.model, .npz, or a run of configs/syncnet.py): report LSE-D and LSE-C",
    )
    add(
        "--perceptual",
        metavar="DIR",
        help=f"folder with weights of Inception ({INCEPTION}), AlexNet ({ALEXNET}) or both, such as "
        "~/.cache/torch/hub/checkpoints: report FID and LPIPS; needs davs_jax[perceptual]",
    )
    command_line.add_gain_options(add)
    add("--output", type=Path, default=Path("report"), metavar="DIR", help="default: %(default)s")
    add("--limit", type=_positive, metavar="N", help="count the first N clips only; default: all")
    add("--seed", type=int, default=0, help="of bootstrap, folds and fresh weights; default: %(default)s")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of clips above 0")
    return int(text)

"""Command line: evaluates every clip of a split, each counted once, in one report.

    python -m davs_jax.evaluate --checkpoint runs/joint --data data/lrw --output runs/joint/report

writes report.json (all figures) and report.html (the same to read, with images and example videos).
"""

import argparse
import json
import sys
from pathlib import Path

import jax

from davs_jax import command_line, inference
from davs_jax.checkpoint.export import DEMO
from davs_jax.command_line import add_checkpoint_option, add_gain_options, whole
from davs_jax.data.sources import ClipSource, open_clips, open_faces
from davs_jax.errors import DataError
from davs_jax.evaluate.evaluation import Evaluation, evaluate
from davs_jax.evaluate.lip_sync import Scorer
from davs_jax.evaluate.perceptual import ALEXNET, INCEPTION, PerceptualMetrics
from davs_jax.evaluate.report import comparison, page, record
from davs_jax.evaluate.report.environment import environment
from davs_jax.evaluate.report.record import Evaluated, Report
from davs_jax.inference import Davs
from davs_jax.parallel import processes
from davs_jax.talker import Talker


@command_line.command
def main(argv: list[str] | None = None) -> int:
    """Evaluates weights on a split and writes the report, or compares reports."""
    parser = _parser()
    args = parser.parse_args(argv)
    if not (args.data or args.compare):
        parser.error("name the clips with --data, or reports with --compare")
    with command_line.sentences(parser.prog, args.output):
        processes.initialize()
        if args.compare:
            print(f"{comparison.write_comparison(args.compare, args.output)}: {len(args.compare)} reports")
        else:
            _evaluate(args)
    return 0


def _evaluate(args: argparse.Namespace) -> None:
    args.output.mkdir(parents=True, exist_ok=True)  # fails before the work, not after it
    made_by = environment()  # before the work, too: the checkout may change while it runs
    model = inference.load(args.checkpoint, "job", audio_gain=args.audio_gain, video_gain=args.video_gain)
    words = model.config.get("words", ()) if model.has("word_classifier") else ()  # others read none
    source = open_clips(args.data, args.split, words)
    clips = min(args.limit or len(source), len(source))
    evaluation = evaluate(
        model,
        source,
        faces=open_faces(args.faces, args.faces_split) if args.faces else None,
        limit=args.limit,
        seed=args.seed,
        scorer=Scorer.load(args.syncnet) if args.syncnet else None,
        distances=PerceptualMetrics(args.perceptual) if args.perceptual else None,
        control=record.read_control(Path(args.control), source, clips) if args.control else None,
        judge=_judge(args, source),
    )
    if jax.process_index():  # all processes of a job hold all figures; the first one writes them
        return
    report = _report(args, model, source, evaluation, made_by)
    page.save(evaluation, report, source, args.output)
    print(page.summary(report.figures))
    print(f"{args.output / page.PAGE}: {evaluation.clips} clips")


def _judge(args: argparse.Namespace, source: ClipSource) -> Davs | None:
    """The weights whose encoders compare identities and read the frames; None is those that are evaluated.

    Raises:
      DataError: they are not DAVS's, or of another image size than the clips.
    """
    if not args.judge:
        return None
    judge = inference.load(args.judge, "job")
    if not isinstance(judge, Davs) or judge.image_size != source.image_size:
        raise DataError(f"{args.judge} cannot judge these clips", f"name weights of DAVS for {source.image_size} px")
    return judge


def _report(
    args: argparse.Namespace, model: Talker, source: ClipSource, evaluation: Evaluation, made_by: dict[str, str]
) -> Report:
    evaluated = Evaluated(
        checkpoint=args.checkpoint or DEMO,
        data=args.data,
        split=args.split,
        words=len(source.words),
        clips=f"{evaluation.clips} of {len(source)}",
        faces=args.faces or "none",
        syncnet=args.syncnet or "none",
        perceptual=args.perceptual or "none",
        control=args.control or "none",
        judge=args.judge or "none",
        gains=", ".join(f"{name} {gain:g}" for name, gain in model.gains.items()),
        seed=args.seed,
        intervals=evaluation.intervals,
        **made_by,
    )
    return Report(
        evaluated=evaluated,
        clips=evaluation.clips,
        figures=evaluation.figures,
        skipped=evaluation.skipped,
        config=json.loads(model.config.to_json()),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="davs-evaluate",
        description="Measure lip reading, retrieval, disentanglement and generated frames on a split; write a report.",
        epilog="example: davs-evaluate --checkpoint runs/joint --data data/lrw --split test --output runs/joint/report",
    )
    add = parser.add_argument
    add_checkpoint_option(add)
    add("--data", metavar="CLIPS", help="folder of clip shards made by data_prep")
    add("--compare", nargs="+", type=Path, metavar="DIR", help="evaluate nothing; show these reports side by side")
    add("--split", default="test", help="default: %(default)s")
    add("--faces", metavar="FACES", help="folder of identity shards: probe people on them if speakers are not known")
    add("--faces-split", default="train", help="default: %(default)s")
    add("--control", metavar="DIR", help="report of a model without adversaries, shown beside the probes")
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
    add(
        "--judge",
        metavar="W",
        help="weights of DAVS whose encoders compare identities and, where they know the clips' words, read generated "
        "frames (default: those evaluated); to compare systems, give the same ones",
    )
    add_gain_options(add)
    add("--output", type=Path, default=Path("report"), metavar="DIR", help="default: %(default)s")
    add("--limit", type=whole(1), metavar="N", help="count the first N clips only; default: all")
    add("--seed", type=whole(), default=0, help="of bootstrap, folds and fresh weights; default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())

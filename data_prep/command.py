"""The flags and the body that all preparation commands share."""

import argparse
import os
from collections.abc import Callable

from data_prep import beam, dataset, folders, report, shards
from data_prep.plan import Plan, PreparationError
from data_prep.status import exit_status
from davs_jax.command_line import whole
from davs_jax.constants import IMAGE_SIZES
from davs_jax.errors import DavsError


def parser(description: str, example: str) -> argparse.ArgumentParser:
    """A parser with the flags that every source has."""
    result = argparse.ArgumentParser(
        prog=example.partition(" --")[0],
        description=description,
        epilog=f"example:\n  {example}\n\nRerun the same command to resume a killed or stopped preparation.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--input", required=True, metavar="DIR", help="folder of the corpus, local or in a bucket (gs://…)"
    )
    result.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the shards, local or in a bucket (gs://…)"
    )
    result.add_argument(
        "--image-size",
        type=int,
        choices=IMAGE_SIZES,
        default=256,
        help="input size of the networks in pixels; frames are stored at 260/256 of it (default 256)",
    )
    result.add_argument("--workers", type=whole(1), default=os.cpu_count(), help="processes (default: one per core)")
    result.add_argument("--seed", type=int, default=0, help="of the order and the splits (default 0)")
    result.add_argument(
        "--shard",
        type=_task,
        metavar="I/N",
        help="make only the shards of task I = 0 … N − 1 of a job array; afterwards the command without --shard checks "
        "them all and finishes",
    )
    result.add_argument(
        "--runner",
        metavar="NAME",
        help="make the shards on this Apache Beam runner (extra `beam`) instead of local processes: DirectRunner, "
        "DataflowRunner, FlinkRunner, …; options after a lone -- go to it: -- --project=P --region=R",
    )
    result.add_argument("runner_options", nargs="*", metavar="-- OPTION", help="of the runner")
    result.add_argument("--overwrite", action="store_true", help="delete what another command made in --output")
    return result


def run(args: argparse.Namespace, make_plan: Callable[[argparse.Namespace], Plan]) -> int:
    """Plans, makes the missing shards, finishes, and reports. Returns the exit status."""
    stopped = "stopped; run the same command again to make the remaining shards"
    return exit_status(lambda: _prepare(args, make_plan), args.output, stopped)


def _prepare(args: argparse.Namespace, make_plan: Callable[[argparse.Namespace], Plan]) -> None:
    args.input, args.output = folders.folder(args.input), folders.shard_folder(args.output)
    try:
        _check(args)
        plan = make_plan(args)
        pending = shards.open_output(plan, args.output, args.overwrite)
        if args.shard:
            pending = shards.share(plan, pending, *args.shard)
        if args.runner:
            beam.make_all(plan, pending, args.output, args.runner, args.runner_options)
        else:
            shards.make_all(plan, pending, args.output, args.workers)
        if args.shard:
            print("this task's shards are made; when all tasks have ended, run the command without --shard")
            return
        print(report.make(plan, args.output, dataset.finish(plan, args.output)))
    except (DavsError, OSError):
        raise
    except Exception as error:  # each bucket's package raises errors of its own kinds
        remote = [path for path in (args.input, args.output) if not folders.is_local(path)]
        if not remote:
            raise
        raise folders.unreachable(remote[-1], error) from error


def _check(args: argparse.Namespace) -> None:
    if not args.input.is_dir():
        raise PreparationError(f"--input {args.input}: no such folder", "check the path")
    if args.runner_options and not args.runner:
        raise PreparationError(f"{args.runner_options[0]}: unknown option", "name the --runner that it is for")
    if args.runner and args.shard:
        raise PreparationError("--shard is for a job array and --runner for Beam", "leave one of them out")
    if args.shard and args.overwrite:
        raise PreparationError("--overwrite would delete what other tasks of --shard made", "empty --output first")


def _task(text: str) -> tuple[int, int]:
    task, _, tasks = text.partition("/")
    if not (task.isdecimal() and tasks.isdecimal() and int(task) < int(tasks)):
        raise argparse.ArgumentTypeError(f"{text} is not I/N with I in 0 … N − 1, such as 0/8")
    return int(task), int(tasks)

"""What the preparation commands have in common: flags, and the run with its report at the end."""

import argparse
import os
import sys
from collections.abc import Callable

from data_prep import beam, dataset, folders, report, shards
from data_prep.folders import FolderError
from data_prep.plan import Plan, PreparationError
from davs_jax.data.sources import DataError
from davs_jax.media.faces.detectors import DetectorError

IMAGE_SIZES = (64, 128, 256, 512)


def parser(description: str, example: str) -> argparse.ArgumentParser:
    """The flags that every source has."""
    result = argparse.ArgumentParser(
        prog=example.partition(" --")[0],
        description=description,
        epilog=f"example:\n  {example}\n\nKilled or stopped, the same command goes on where it was.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--input", required=True, metavar="DIR", help="folder of the corpus, here or in a bucket (gs://…)"
    )
    result.add_argument(
        "--output", required=True, metavar="DIR", help="folder for the shards, here or in a bucket (gs://…)"
    )
    result.add_argument(
        "--image-size",
        type=int,
        choices=IMAGE_SIZES,
        default=256,
        help="of the networks, in pixels; frames are stored at 260/256 of it (default 256)",
    )
    result.add_argument("--workers", type=positive, default=os.cpu_count(), help="processes (default: one per core)")
    result.add_argument("--seed", type=int, default=0, help="of the order and the splits (default 0)")
    result.add_argument(
        "--shard",
        type=_part,
        metavar="I/N",
        help="make only the shards of task I = 0 … N − 1 of a job array; afterwards the command without it checks and "
        "finishes the whole",
    )
    result.add_argument(
        "--runner",
        metavar="NAME",
        help="make the shards on this runner of Apache Beam (extra `beam`) instead of local processes: DirectRunner, "
        "DataflowRunner, FlinkRunner, …; what stands behind a lone -- goes to it, as in -- --project=P --region=R",
    )
    result.add_argument("runner_options", nargs="*", metavar="-- OPTION", help="of the runner")
    result.add_argument("--overwrite", action="store_true", help="delete what another command made in --output")
    return result


def run(args: argparse.Namespace, make_plan: Callable[[argparse.Namespace], Plan]) -> int:
    """Plans, makes the missing shards, finishes, and reports. Returns the exit status."""
    try:
        args.input, args.output = folders.folder(args.input), folders.shard_folder(args.output)
        if not args.input.is_dir():
            raise PreparationError(f"--input {args.input}: no such folder; check the path")
        if args.runner_options and not args.runner:
            raise PreparationError(f"{args.runner_options[0]}: is no option; name the --runner that it is for")
        if args.runner and args.shard:
            raise PreparationError("--shard is for a job array, where no --runner works; leave one of them out")
        if args.shard and args.overwrite:
            raise PreparationError("--overwrite would delete what other tasks of --shard made; empty --output first")
        plan = make_plan(args)
        pending = shards.open_output(plan, args.output, args.overwrite)
        if args.shard:
            pending = shards.share(plan, pending, *args.shard)
        if args.runner:
            beam.make_all(plan, pending, args.output, args.runner, args.runner_options)
        else:
            shards.make_all(plan, pending, args.output, args.workers)
        if args.shard:
            print("the task's shards are made; when all tasks are through, the command without --shard finishes")
            return 0
        print(report.make(plan, args.output, dataset.finish(plan, args.output)))
    except (PreparationError, FolderError, DetectorError, DataError) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        place, trouble = error.filename or args.output, error.strerror or error
        print(f"{place}: {trouble}; check the folder and its disk", file=sys.stderr)
        return 1
    except Exception as error:  # a bucket's layer has kinds of its own
        remote = [path for path in (args.input, args.output) if not folders.is_local(path)]
        if not remote:
            raise
        print(folders.unreached(remote[-1], error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on with the shards that are missing", file=sys.stderr)
        return 130
    return 0


def positive(text: str) -> int:
    """A flag's value of at least 1."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def _part(text: str) -> tuple[int, int]:
    task, _, tasks = text.partition("/")
    if not (task.isdecimal() and tasks.isdecimal() and int(task) < int(tasks)):
        raise argparse.ArgumentTypeError(f"{text} is not I/N with I in 0 … N − 1, such as 0/8")
    return int(task), int(tasks)

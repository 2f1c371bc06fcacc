"""Makes a plan's shards by an Apache Beam pipeline, on a cluster or any other runner, with the same `make_shard`.

The pipeline carries only the names of the shards, because a plan may be larger than the graph that a runner accepts.
Each worker reads the plan from the output folder, so every worker must reach input and output under the same paths and
have davs_jax installed. A shard that a runner makes twice has the same bytes twice, and appears whole.
"""

import functools
from collections.abc import Sequence

import cv2

from data_prep.folders import AnyPath
from data_prep.plan import Plan, PreparationError, Shard, digest, read_plan
from data_prep.shards import make_shard
from davs_jax.errors import first_line

# Beam's in-process runner, in memory. The name DirectRunner alone would first download a server; of the runner's other
# modes one has lost records, so its default mode is kept.
IN_PROCESS = {"DirectRunner": "apache_beam.runners.portability.fn_api_runner.FnApiRunner"}


def make_all(plan: Plan, pending: Sequence[Shard], output: AnyPath, runner: str, options: Sequence[str]) -> None:
    """Makes the pending shards on a runner and waits for them; `dataset.finish` checks them, as after any run.

    Args:
      runner: Beam's name of it: DirectRunner, DataflowRunner, FlinkRunner, …
      options: of Beam and of the runner, such as `--project=…`.

    Raises:
      PreparationError: Beam is not installed, does not know the runner, or the pipeline failed.
    """
    try:  # only here: the import takes as long as all others together, in every worker process too
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    except ImportError as error:
        install = "pip install 'davs_jax[beam]'"
        raise PreparationError(f"--runner {runner}: Apache Beam is not installed", install) from error
    if not pending:
        return
    settings = PipelineOptions(list(options))
    settings.view_as(StandardOptions).runner = IN_PROCESS.get(runner, runner)
    print(f"{plan.dataset}: {len(pending)} shards by {runner}")
    try:
        with apache_beam.Pipeline(options=settings) as pipeline:
            names = pipeline | "Shards" >> apache_beam.Create([shard.name for shard in pending])
            names = names | "Spread" >> apache_beam.Reshuffle()
            _ = names | "Make" >> apache_beam.Map(make_named, output, digest(plan))
    except Exception as error:  # runners raise errors of many kinds
        raise PreparationError(
            f"--runner {runner}: the pipeline failed ({first_line(error, 1000)})",
            "finished shards are kept: correct the cause and run the same command again",
        ) from error


def make_named(name: str, output: AnyPath, stamp: str) -> str:
    """Makes the shard of that name, on a Beam worker, and returns the name.

    Args:
      output: folder that holds the plan.
      stamp: the plan's digest.

    Raises:
      PreparationError: the folder that this worker sees holds another plan, or none.
    """
    cv2.setNumThreads(1)  # a worker's processes share its cores already
    plan, shards = _plan(output, stamp)
    make_shard(plan, shards[name], output)
    return name


@functools.lru_cache(1)
def _plan(output: AnyPath, stamp: str) -> tuple[Plan, dict[str, Shard]]:
    """Reads the plan once per worker process, which may outlive the preparation."""
    plan = read_plan(output)
    if plan is None or digest(plan) != stamp:
        raise PreparationError(f"a worker does not find the plan in {output}", "give an --output that all workers see")
    return plan, {shard.name: shard for shard in plan.shards()}

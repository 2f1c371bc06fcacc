"""A preparation's shards as an Apache Beam pipeline, for a cluster: the same function makes one, on whatever runner.

The pipeline carries the shards' names only, for a plan may be larger than the graph that a runner accepts; each
worker reads the plan from the output folder. So input and output must be reachable by all workers under the same
paths, and davs_jax be installed there. A shard that a runner makes twice is the same twice, and appears whole.
"""

import functools
from collections.abc import Sequence

import cv2

from data_prep.folders import AnyPath
from data_prep.plan import Plan, PreparationError, Shard, digest, read_plan
from data_prep.shards import make_shard

try:
    import apache_beam
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
except ImportError:
    apache_beam = None

# Beam's in-process runner, in memory, under the name people know. That name alone would first fetch a server from the
# network; of its other modes one has lost records, so the default is kept.
IN_PROCESS = {"DirectRunner": "apache_beam.runners.portability.fn_api_runner.FnApiRunner"}


def make_all(plan: Plan, pending: Sequence[Shard], output: AnyPath, runner: str, options: Sequence[str]) -> None:
    """Makes the pending shards on a runner, and waits for it. What was made is checked afterwards, as everywhere.

    Args:
      runner: as Beam calls it: DirectRunner, DataflowRunner, FlinkRunner, …
      options: Beam's and the runner's own, such as `--project=…`.

    Raises:
      PreparationError: Beam is not installed, knows no such runner, or the pipeline failed.
    """
    if apache_beam is None:
        raise PreparationError(f"--runner {runner}: Apache Beam is not installed; pip install 'davs_jax[beam]'")
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
    except Exception as error:  # whatever a runner raises; the shards that it finished are kept
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise PreparationError(
            f"--runner {runner}: the pipeline failed ({reason}); finished shards are kept: mend the cause and run the "
            "same command again"
        ) from error


def make_named(name: str, output: AnyPath, stamp: str) -> str:
    """Makes the shard of that name of the plan in a folder. Runs on a worker.

    Args:
      stamp: the plan's digest.

    Raises:
      PreparationError: the folder that the worker sees holds another plan, or none.
    """
    cv2.setNumThreads(1)  # a worker's processes share its cores already
    plan, shards = _plan(output, stamp)
    make_shard(plan, shards[name], output)
    return name


@functools.lru_cache(1)
def _plan(output: AnyPath, stamp: str) -> tuple[Plan, dict[str, Shard]]:
    """Read once per worker process, which may outlive the preparation."""
    plan = read_plan(output)
    if plan is None or digest(plan) != stamp:
        raise PreparationError(f"a worker does not find the plan in {output}; give an --output that all workers see")
    return plan, {shard.name: shard for shard in plan.shards()}

"""Who am I in this job: told by named variables of the environment, never by trying and failing."""

import dataclasses
import os
import re
from collections.abc import Mapping

import jax

KINDS = ("alone", "coordinator", "slurm", "tpu")


class JobError(ValueError):
    """An environment that announces several processes but does not say which one this is."""


@dataclasses.dataclass(frozen=True)
class Job:
    """This process's place.

    Attributes:
      kind: one of KINDS.
      coordinator: host:port of process 0; None where JAX asks the TPU's metadata, or alone.
      num_processes, process_id: None where JAX asks the TPU's metadata.
      local_devices: numbers of the visible GPUs that are this process's own; None is all of them.
    """

    kind: str
    coordinator: str | None = None
    num_processes: int | None = 1
    process_id: int | None = 0
    local_devices: tuple[int, ...] | None = None

    def __str__(self) -> str:
        if self.kind == "alone":
            return "one process"
        if self.kind == "tpu":
            return "one process of a TPU pod"
        return f"process {self.process_id} of {self.num_processes} ({self.kind}; process 0 is at {self.coordinator})"


def describe(environ: Mapping[str, str]) -> Job:
    """What the environment says; the first that applies:

    * `DAVS_JOB` is `alone`, `slurm` or `tpu`: that, and nothing else is looked at.
    * `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`: what they say.
    * `TPU_WORKER_HOSTNAMES` (or `TPU_PROCESS_ADDRESSES`) lists several hosts: a TPU pod.
    * a SLURM step of several tasks.

    Raises:
      JobError: variables that contradict each other or are incomplete.
    """
    match environ.get("DAVS_JOB"):
        case "alone":
            return Job("alone")
        case "tpu":
            return Job("tpu", None, None, None)
        case "slurm":
            return _slurm(environ)
        case None:
            pass
        case other:
            raise JobError(f"DAVS_JOB is {other!r}; it must be alone, slurm or tpu (or not set)")
    if "JAX_COORDINATOR_ADDRESS" in environ:
        return _coordinator(environ)
    if "," in environ.get("TPU_PROCESS_ADDRESSES", environ.get("TPU_WORKER_HOSTNAMES", "")):
        return Job("tpu", None, None, None)
    if _tasks(environ) > 1:
        return _slurm(environ)
    return Job("alone")


def _coordinator(environ: Mapping[str, str]) -> Job:
    address = environ["JAX_COORDINATOR_ADDRESS"]
    processes, process = (_number(environ, name) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
    if ":" not in address or not 0 <= process < processes:
        raise JobError(
            f"JAX_COORDINATOR_ADDRESS={address}, JAX_NUM_PROCESSES={processes}, JAX_PROCESS_ID={process}: expected "
            "host:port, and process ids from 0 up to the number of processes"
        )
    return Job("coordinator", address, processes, process)


def _tasks(environ: Mapping[str, str]) -> int:
    """Tasks of this SLURM step; of the whole job where the process was not started by srun; 1 outside SLURM."""
    name = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environ else "SLURM_NTASKS"
    return _number(environ, name) if name in environ else 1


def _slurm(environ: Mapping[str, str]) -> Job:
    tasks = _tasks(environ)
    if "SLURM_STEP_NODELIST" not in environ:
        raise JobError(
            f"SLURM gives this job {tasks} tasks, but this process was not started by srun: start it with srun, "
            "or set DAVS_JOB=alone to train in one process"
        )
    # The list is like node7,other or node[07-09,12]: its first host is process 0's.
    prefix, number = re.match(r"([^,\[]+)(?:\[([^,\-\]]+))?", environ["SLURM_STEP_NODELIST"]).groups("")
    # By job, so that two jobs which share a node do not meet; in the range that no service has registered.
    port = environ.get("JAX_COORDINATOR_PORT") or 61440 + _number(environ, "SLURM_JOB_ID") % 4096
    return Job("slurm", f"{prefix}{number}:{port}", tasks, _number(environ, "SLURM_PROCID"), _local_gpus(environ))


def _local_gpus(environ: Mapping[str, str]) -> tuple[int, ...] | None:
    """This task's share of the GPUs that it sees together with the other tasks of its node.

    None where SLURM has already given it its own: with one task on the node, or fewer visible GPUs than tasks.
    """
    visible = [gpu for gpu in environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    here = int(re.match(r"\d+", environ.get("SLURM_STEP_TASKS_PER_NODE", "1")).group())
    share = len(visible) // here
    if here == 1 or share == 0:
        return None
    first = _number(environ, "SLURM_LOCALID") * share
    return tuple(range(first, first + share))


def _number(environ: Mapping[str, str], name: str) -> int:
    value = environ.get(name)
    if value is None or not value.isdigit():
        raise JobError(f"{name} is {'not set' if value is None else repr(value)}; expected a whole number")
    return int(value)


def initialize(environ: Mapping[str, str] = os.environ) -> Job:
    """Joins the job that `describe` finds; to be called before anything else asks JAX for its devices.

    Raises:
      JobError: as `describe`.
    """
    job = describe(environ)
    if job.kind == "tpu":
        jax.distributed.initialize()
    elif job.kind != "alone":
        jax.distributed.initialize(
            job.coordinator,
            job.num_processes,
            job.process_id,
            job.local_devices,
            # Else JAX gives a SLURM task only the one GPU of its local number.
            cluster_detection_method="deactivate",
        )
    return job

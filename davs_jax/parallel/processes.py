"""Who am I in this job: told by named variables of the environment, never by trying and failing; and its end."""

import contextlib
import dataclasses
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils

KINDS = ("alone", "coordinator", "tpu", "kubernetes", "slurm")
JOIN = 50  # seconds that process 0 has to answer, and then all processes to come together
SILENCE = 30  # seconds without a sign of life after which a process counts as dead, and all others end
TEXT = 4096  # bytes of what process 0 tells the others
PORT = 8476  # of process 0 on TPUs and Kubernetes, where JAX_COORDINATOR_PORT names no other


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
        if self.coordinator is None:
            return "one process of a TPU pod (tpu; JAX asks the machine's metadata which)"
        return f"process {self.process_id} of {self.num_processes} ({self.kind}; process 0 is at {self.coordinator})"


def describe(environ: Mapping[str, str]) -> Job:
    """What the environment says; the first that applies:

    * `DAVS_JOB` is one of KINDS: that, and nothing else is looked at. Cloud TPU VMs need `tpu`, because no variable
      tells of their pod: JAX then asks the machine's metadata.
    * `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`: what they say.
    * `TPU_WORKER_HOSTNAMES` (or `TPU_PROCESS_ADDRESSES`) lists several hosts, or `MEGASCALE_NUM_SLICES` is above 1: a
      TPU pod, of which this is `TPU_WORKER_ID` of slice `MEGASCALE_SLICE_ID`. GKE sets all of them.
    * `KUBERNETES_SERVICE_HOST` and `JOB_COMPLETION_INDEX`, which Kubernetes sets in an Indexed Job: pod of a JobSet,
      whose file must tell `JAX_NUM_PROCESSES`, `JOBSET_NAME` and `REPLICATED_JOB_NAME` (two labels of the pod).
    * a SLURM step of several tasks.

    Raises:
      JobError: variables that contradict each other or are incomplete.
    """
    readers = {"coordinator": _coordinator, "tpu": _tpu, "kubernetes": _kubernetes, "slurm": _slurm}
    if asked := environ.get("DAVS_JOB"):
        if asked not in KINDS:
            raise JobError(f"DAVS_JOB is {asked!r}; it must be one of {', '.join(KINDS)} (or not set)")
        return readers[asked](environ) if asked != "alone" else Job("alone")
    if "JAX_COORDINATOR_ADDRESS" in environ:
        return _coordinator(environ)
    if len(_tpu_hosts(environ)) > 1 or environ.get("MEGASCALE_NUM_SLICES", "1") != "1":
        return _tpu(environ)
    if {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= environ.keys():
        return _kubernetes(environ)
    if _tasks(environ) > 1:
        return _slurm(environ)
    return Job("alone")


def _coordinator(environ: Mapping[str, str]) -> Job:
    address = _text(environ, "JAX_COORDINATOR_ADDRESS")
    processes, process = (_number(environ, name) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
    if ":" not in address or not 0 <= process < processes:
        raise JobError(
            f"JAX_COORDINATOR_ADDRESS={address}, JAX_NUM_PROCESSES={processes}, JAX_PROCESS_ID={process}: expected "
            "host:port, and process ids from 0 up to the number of processes"
        )
    return Job("coordinator", address, processes, process)


def _tpu_hosts(environ: Mapping[str, str]) -> list[str]:
    """Hosts of this slice, in the order of their numbers."""
    listed = environ.get("TPU_PROCESS_ADDRESSES") or environ.get("TPU_WORKER_HOSTNAMES") or ""
    return [host.partition(":")[0] for host in listed.split(",") if host]


def _tpu(environ: Mapping[str, str]) -> Job:
    hosts = _tpu_hosts(environ)
    if not hosts:
        return Job("tpu", None, None, None)
    slices = _number({"MEGASCALE_NUM_SLICES": "1", **environ}, "MEGASCALE_NUM_SLICES")
    own = _number({"MEGASCALE_SLICE_ID": "0", **environ}, "MEGASCALE_SLICE_ID")
    first = environ.get("MEGASCALE_COORDINATOR_ADDRESS", hosts[0]).partition(":")[0]
    process = own * len(hosts) + _number(environ, "TPU_WORKER_ID")
    return Job("tpu", f"{first}:{_port(environ)}", slices * len(hosts), process)


def _kubernetes(environ: Mapping[str, str]) -> Job:
    if "JAX_NUM_PROCESSES" not in environ:
        raise JobError(
            "Kubernetes runs this as one pod of an Indexed Job, but JAX_NUM_PROCESSES does not say of how many: set it "
            "in the pod's env, or DAVS_JOB=alone to train in one process"
        )
    processes, process = (_number(environ, name) for name in ("JAX_NUM_PROCESSES", "JOB_COMPLETION_INDEX"))
    if processes == 1:
        return Job("alone")
    # A JobSet gives pod I of its job J the name SET-JOB-J-I, within the service SET.
    jobset, job = (_text(environ, name) for name in ("JOBSET_NAME", "REPLICATED_JOB_NAME"))
    return Job("kubernetes", f"{jobset}-{job}-0-0.{jobset}:{_port(environ)}", processes, process)


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


def _port(environ: Mapping[str, str]) -> str:
    return environ.get("JAX_COORDINATOR_PORT") or str(PORT)


def _text(environ: Mapping[str, str], name: str) -> str:
    if not (value := environ.get(name)):
        raise JobError(f"{name} is not set, which this kind of job needs")
    return value


def _number(environ: Mapping[str, str], name: str) -> int:
    value = environ.get(name)
    if value is None or not value.isdigit():
        raise JobError(f"{name} is {'not set' if value is None else repr(value)}; expected a whole number")
    return int(value)


def initialize(environ: Mapping[str, str] = os.environ) -> Job:
    """Joins the job that `describe` finds; to be called before anything else asks JAX for its devices.

    Raises:
      JobError: as `describe`; process 0 cannot be reached within `JOIN` seconds. Where it can, but others do not come
        within these, the process ends with a sentence: JAX would abort it with a misleading one.
    """
    job, deadline = describe(environ), time.monotonic() + JOIN
    if job.kind == "alone":
        return job
    if job.coordinator and job.process_id:
        _reach(job.coordinator, deadline)
    place = {
        "coordinator_address": job.coordinator,
        "num_processes": job.num_processes,
        "process_id": job.process_id,
        "local_device_ids": job.local_devices,
        # Else JAX gives a SLURM task only the one GPU of its local number.
        "cluster_detection_method": "deactivate",
    }
    times = {
        "initialization_timeout": JOIN + 10,
        "heartbeat_timeout_seconds": SILENCE,
        "shutdown_timeout_seconds": SILENCE,
    }
    waiting = threading.Timer(max(deadline - time.monotonic(), 1), end, [f"{job}: {_NOT_ALL}"])
    waiting.daemon = True
    waiting.start()
    try:
        jax.distributed.initialize(**(place if job.coordinator else {}), **times)
    except RuntimeError as error:
        raise JobError(f"{job}: it could not join the others ({_line(error)}); start all of them again") from error
    finally:
        waiting.cancel()
    return job


_NOT_ALL = (
    f"not all processes of this job came together within {JOIN} s; look for those that did not start, and start all of "
    "them again"
)


def _reach(address: str, deadline: float) -> None:
    """Waits until process 0 listens, at most until `deadline`."""
    host, _, port = address.rpartition(":")
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=5):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise JobError(
                    f"process 0 of this job, at {address}, cannot be reached ({error}) after {JOIN} s; is it running, "
                    "is the name right, and does the network let this port through?"
                ) from error
        time.sleep(0.5)


@contextlib.contextmanager
def together(before_end: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Ends this process at once, with a sentence, where a computation of all processes fails.

    Then another one is gone, most likely. Nothing may be waited for any more, not even a save: it needs them all. Where
    nothing fails but hangs, JAX itself aborts this process `SILENCE` seconds after the other one's last sign of life.

    Args:
      before_end: called before the process ends; must not wait for other processes.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        before_end()
        end(
            f"process {jax.process_index()} of {jax.process_count()} ends, because another one is gone or cannot be "
            f"reached ({_line(error)}); start all again: the run goes on from its last checkpoint"
        )


def told(text: str) -> str:
    """The text of process 0, in every process; all of them make this call. At most `TEXT` bytes of it arrive."""
    if jax.process_count() == 1:
        return text
    given = np.zeros(TEXT, np.uint8)
    data = np.frombuffer(text.encode()[:TEXT], np.uint8)
    given[: len(data)] = data
    return multihost_utils.broadcast_one_to_all(given).tobytes().rstrip(b"\0").decode(errors="ignore")


def end(sentence: str) -> None:
    """Ends the process without waiting for anything: what JAX does at its end waits for the others."""
    print(f"davs_jax: {sentence}", file=sys.stderr, flush=True)
    os._exit(1)


def _line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]

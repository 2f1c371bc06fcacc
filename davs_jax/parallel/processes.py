"""Joins the processes of a job, and ends them together.

`jax.distributed.initialize` finds a process's place in its job under SLURM and Open MPI, on TPU pods, and on Kubernetes
with the package `kubernetes`. This module adds what it lacks: the place stated by three variables, all GPUs of a SLURM
or Open MPI task, a time limit with a clear message, and refusal to train alone where several processes were started.
"""

import contextlib
import itertools
import os
import re
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from jax._src.distributed import global_state  # no public function returns the address of process 0
from jax.experimental import multihost_utils

from davs_jax.errors import DavsError, first_line

JOIN = 50  # seconds within which all processes must have joined
SILENCE = 30  # seconds without a heartbeat after which a process counts as dead, and all others end
TEXT = 4096  # bytes of a message from process 0 to the others
PLACE = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
STATE_IT = f"set {', '.join(PLACE[:2])} and {PLACE[2]}, or DAVS_JOB=alone to run as one process"

_calls = itertools.count()  # of `everywhere`: keys of the job's store cannot be set twice


class JobError(DavsError):
    """The environment announces several processes, but this one's place is unclear or the others do not join."""


def announced(environ: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The launcher of this process, and the arguments that `jax.distributed.initialize` needs for it.

    The first that applies:

    * `DAVS_JOB=alone`, or `JAX_NUM_PROCESSES=1`: "alone", one process. `DAVS_JOB=tpu`: "tpu"; Cloud TPU VMs need it,
      because no variable announces their pod, and JAX asks the metadata server.
    * `JAX_COORDINATOR_ADDRESS` (host:port of process 0), `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`: "coordinator".
    * Several processes of Open MPI's mpirun ("ompi"), several hosts or slices of a TPU pod on GKE ("tpu"), several
      tasks of a SLURM step ("slurm"), a pod of an Indexed Job on Kubernetes ("kubernetes"): JAX finds the place.

    Raises:
      JobError: variables that are incomplete or contradict each other.
    """
    asked = environ.get("DAVS_JOB", "")
    if asked not in ("", "alone", "tpu"):
        raise JobError(f"DAVS_JOB is {asked!r}", "set it to alone or tpu, or not at all")
    if asked:
        return asked, {}
    if environ.get("JAX_NUM_PROCESSES") == "1":
        return "alone", {}
    if "JAX_COORDINATOR_ADDRESS" in environ or "JAX_NUM_PROCESSES" in environ:
        return "coordinator", _stated_place(environ)
    if _number(environ, "OMPI_COMM_WORLD_SIZE", 1) > 1:
        siblings = _number(environ, "OMPI_COMM_WORLD_LOCAL_SIZE")
        return "ompi", {"local_device_ids": _own_gpus(environ, "OMPI_COMM_WORLD_LOCAL_RANK", siblings)}
    hosts = environ.get("TPU_PROCESS_ADDRESSES") or environ.get("TPU_WORKER_HOSTNAMES", "")
    if "," in hosts or _number(environ, "MEGASCALE_NUM_SLICES", 1) > 1:
        return "tpu", {}
    tasks = _number(environ, "SLURM_STEP_NUM_TASKS", _number(environ, "SLURM_NTASKS", 1))
    if tasks > 1:
        if "SLURM_STEP_NODELIST" not in environ:
            raise JobError(
                f"SLURM gives this job {tasks} tasks, but this process was not started by srun",
                "start it with srun, or set DAVS_JOB=alone to run as one process",
            )
        siblings = int(re.match(r"\d+", environ.get("SLURM_STEP_TASKS_PER_NODE", "1")).group())
        return "slurm", {"num_processes": tasks, "local_device_ids": _own_gpus(environ, "SLURM_LOCALID", siblings)}
    if {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= environ.keys() and not hosts:
        return "kubernetes", {}
    return "alone", {}


def _stated_place(environ: Mapping[str, str]) -> dict[str, Any]:
    if missing := [name for name in PLACE if not environ.get(name)]:
        stated = " and ".join(f"{name}={environ[name]}" for name in PLACE if environ.get(name))
        raise JobError(f"the environment has {stated}, but {' and '.join(missing)} is not set", STATE_IT)
    if not re.fullmatch(r".+:\d+", environ[PLACE[0]]):
        raise JobError(f"JAX_COORDINATOR_ADDRESS is {environ[PLACE[0]]!r}", "set it to host:port of process 0")
    return {
        "coordinator_address": environ[PLACE[0]],
        "num_processes": _number(environ, PLACE[1]),
        "process_id": _number(environ, PLACE[2]),
        "cluster_detection_method": "deactivate",
    }


def _own_gpus(environ: Mapping[str, str], rank: str, siblings: int) -> list[int] | None:
    """Indices, among the visible GPUs, of this process's share; JAX itself would give it one GPU only.

    [] is all visible GPUs: the launcher has shared them out, or no other process of the job runs on this node. None is
    JAX's own choice, where the launcher does not say which GPUs are visible.
    """
    if siblings == 1:
        return []
    if "CUDA_VISIBLE_DEVICES" not in environ:
        return None
    visible = [gpu for gpu in environ["CUDA_VISIBLE_DEVICES"].split(",") if gpu]
    share = len(visible) // siblings
    first = _number(environ, rank) * share
    return list(range(first, first + share))


def _number(environ: Mapping[str, str], name: str, default: int | None = None) -> int:
    value = environ.get(name)
    if value is None and default is not None:
        return default
    if value is None or not value.isdecimal():
        raise JobError(
            f"{name} is {'not set' if value is None else repr(value)}", f"a whole number is needed; {STATE_IT}"
        )
    return int(value)


def initialize() -> str:
    """Joins the job that the environment announces; to be called before anything asks JAX for its devices.

    Where some process has not joined within `JOIN` seconds, this one ends with a sentence: JAX would abort it with a
    misleading one, and a stack trace.

    Returns:
      this process's place in words, as "process 1 of 4 (slurm; process 0 is at gpu07:62055)", or "one process".

    Raises:
      JobError: as `announced`; JAX cannot tell this process's place; or process 0 cannot open its port.
    """
    launcher, arguments = announced(os.environ)
    if launcher == "alone":
        return "one process"
    limit = threading.Timer(JOIN, _end_unjoined, [launcher])
    limit.daemon = True
    limit.start()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Kubernetes environment detected")  # the error below says it
            jax.distributed.initialize(
                **arguments,
                initialization_timeout=JOIN + 30,
                heartbeat_timeout_seconds=SILENCE,
                shutdown_timeout_seconds=SILENCE,
            )
    except Exception as error:  # each kind of cluster has its own errors
        announcement, line = f"{launcher}: several processes are announced", first_line(error)
        if global_state.coordinator_address is None:
            raise JobError(f"{announcement}, but JAX cannot tell which one this is ({line})", STATE_IT) from error
        raise JobError(f"{announcement}, but this one cannot join ({line})", "start all of them again") from error
    finally:
        limit.cancel()
    place = f"process {global_state.process_id} of {global_state.num_processes}"
    return f"{place} ({launcher}; process 0 is at {global_state.coordinator_address})"


def _end_unjoined(launcher: str) -> None:
    """Ends this process with a sentence about what keeps it from joining."""
    address = global_state.coordinator_address
    try:
        if address:
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        end(
            f"process 0 of this job ({launcher}), at {address}, cannot be reached ({error}) after {JOIN} s; is it "
            "running, is the name right, and does the network let this port through?"
        )
    end(
        f"{launcher}: not all processes of this job came together within {JOIN} s; look for those that did not start, "
        "and start all of them again"
    )


@contextlib.contextmanager
def together(before_end: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Ends this process at once, with a sentence, where a computation of all processes fails.

    Most likely another process is gone then. This one must not wait for anything that needs all of them, not even a
    save. Where a computation hangs instead, JAX itself aborts this process `SILENCE` seconds after the other one's last
    heartbeat.

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
            f"reached ({first_line(error)}); start all again: the run resumes from its last checkpoint"
        )


def told(text: str) -> str:
    """The text of process 0, in every process; all of them must make this call. At most `TEXT` bytes of it arrive."""
    if jax.process_count() == 1:
        return text
    given = np.zeros(TEXT, np.uint8)
    data = np.frombuffer(text.encode()[:TEXT], np.uint8)
    given[: len(data)] = data
    return multihost_utils.broadcast_one_to_all(given).tobytes().rstrip(b"\0").decode(errors="ignore")


def everywhere(holds: bool) -> bool:
    """Whether it holds in every process; all of them must make this call, within half an hour of one another.

    Without a computation: on CPUs these wait 30 s for one another, and a start may take one process longer.
    """
    if jax.process_count() == 1:
        return holds
    client, call = global_state.client, next(_calls)
    client.key_value_set(f"davs_jax/everywhere/{call}/{jax.process_index()}", str(holds))
    answers = [
        client.blocking_key_value_get(f"davs_jax/everywhere/{call}/{i}", 1_800_000) for i in range(jax.process_count())
    ]
    return answers == [str(True)] * len(answers)


def end(sentence: str) -> None:
    """Ends the process at once: an ordinary exit would wait for the other processes."""
    print(f"davs_jax: {sentence}", file=sys.stderr, flush=True)
    os._exit(1)

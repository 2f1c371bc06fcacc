import os
import socket
import subprocess
import sys

import jax
import pytest

from davs_jax.parallel import processes
from davs_jax.parallel.processes import Job, JobError, describe

SRUN = {
    "SLURM_JOB_ID": "4711",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "gpu[07-09,12]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x4)",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}


def test_an_empty_environment_is_one_process():
    assert describe({}) == Job("alone", None, 1, 0)


def test_a_slurm_task_finds_its_number_and_the_first_node():
    assert describe(SRUN) == Job("slurm", "gpu07:62055", 8, 3, None)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("gpu7", "gpu7"), ("gpu7,cpu2", "gpu7"), ("a[001-015],b2", "a001"), ("rack-2-n[4,7-9]", "rack-2-n4")],
)
def test_the_first_node_is_read_from_every_form_of_list(nodes, first):
    assert describe(SRUN | {"SLURM_STEP_NODELIST": nodes}).coordinator == f"{first}:62055"


@pytest.mark.parametrize(
    ("visible", "tasks_here", "local_id", "own"),
    [
        ("0,1,2,3", "1(x2)", "0", None),  # one task per node drives all its GPUs
        ("0,1,2,3", "4(x2)", "2", (2,)),  # one task per GPU
        ("0,1,2,3", "2(x2)", "1", (2, 3)),
        ("0", "4(x2)", "2", None),  # --gpus-per-task=1: SLURM has shared them out itself
    ],
)
def test_slurm_tasks_share_the_gpus_of_their_node(visible, tasks_here, local_id, own):
    environ = {"CUDA_VISIBLE_DEVICES": visible, "SLURM_STEP_TASKS_PER_NODE": tasks_here, "SLURM_LOCALID": local_id}
    assert describe(SRUN | environ).local_devices == own


def test_a_step_of_one_task_in_a_larger_job_is_alone():
    assert describe(SRUN | {"SLURM_STEP_NUM_TASKS": "1"}).kind == "alone"


def test_several_tasks_without_srun_are_refused_instead_of_training_on_one():
    with pytest.raises(JobError, match=r"SLURM gives this job 8 tasks.*start it with srun"):
        describe({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "4711"})


def test_a_tpu_pod_is_known_by_its_hosts():
    hosts = {"TPU_WORKER_HOSTNAMES": "10.0.0.2,10.0.0.3", "TPU_WORKER_ID": "1"}
    assert describe(hosts) == Job("tpu", "10.0.0.2:8476", 2, 1)
    assert describe({"TPU_PROCESS_ADDRESSES": "a:8471,b:8471", "TPU_WORKER_ID": "0"}) == Job("tpu", "a:8476", 2, 0)
    assert describe({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}).kind == "alone"


def test_slices_of_tpus_are_one_job():
    slices = {
        "MEGASCALE_NUM_SLICES": "4",
        "MEGASCALE_SLICE_ID": "2",
        "MEGASCALE_COORDINATOR_ADDRESS": "run-0-0.run:8081",
    }
    hosts = {"TPU_WORKER_HOSTNAMES": "run-2-0.run,run-2-1.run", "TPU_WORKER_ID": "1"}
    assert describe(slices | hosts) == Job("tpu", "run-0-0.run:8476", 8, 5)


POD = {
    "KUBERNETES_SERVICE_HOST": "10.1.0.1",
    "JOB_COMPLETION_INDEX": "3",
    "JOBSET_NAME": "lrw",
    "REPLICATED_JOB_NAME": "train",
    "JAX_NUM_PROCESSES": "4",
}


def test_a_pod_of_a_jobset_finds_its_number_and_the_first_pod():
    assert describe(POD) == Job("kubernetes", "lrw-train-0-0.lrw:8476", 4, 3)
    assert str(describe(POD)) == "process 3 of 4 (kubernetes; process 0 is at lrw-train-0-0.lrw:8476)"
    assert describe(POD | {"JAX_COORDINATOR_PORT": "1234"}).coordinator == "lrw-train-0-0.lrw:1234"
    assert describe(POD | {"JAX_NUM_PROCESSES": "1"}).kind == "alone"


def test_a_pod_with_tpus_is_known_by_these():
    assert describe(POD | {"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "0"}).kind == "tpu"


def test_a_pod_that_is_not_of_an_indexed_job_is_alone():
    assert describe({"KUBERNETES_SERVICE_HOST": "10.1.0.1"}).kind == "alone"


def test_coordinator_variables_come_before_the_cluster():
    environ = {"JAX_COORDINATOR_ADDRESS": "host:1234", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
    assert describe(SRUN | environ) == Job("coordinator", "host:1234", 2, 1)


def test_davs_job_overrules_everything():
    assert describe(SRUN | {"DAVS_JOB": "alone"}).kind == "alone"
    assert describe({"DAVS_JOB": "tpu"}).kind == "tpu"


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"JAX_COORDINATOR_ADDRESS": "host:1"}, "JAX_NUM_PROCESSES is not set"),
        ({"JAX_COORDINATOR_ADDRESS": "host:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"}, "JAX_PROCESS_ID=2"),
        ({"JAX_COORDINATOR_ADDRESS": "host", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}, "expected host:port"),
        ({"DAVS_JOB": "pod"}, "DAVS_JOB is 'pod'; it must be one of alone, coordinator, tpu, kubernetes, slurm"),
        ({"DAVS_JOB": "coordinator"}, "JAX_COORDINATOR_ADDRESS is not set"),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, "TPU_WORKER_ID is not set"),
        ({k: v for k, v in POD.items() if k != "JAX_NUM_PROCESSES"}, "JAX_NUM_PROCESSES does not say of how many"),
        ({k: v for k, v in POD.items() if k != "JOBSET_NAME"}, "JOBSET_NAME is not set"),
        ({"SLURM_NTASKS": "many"}, "SLURM_NTASKS is 'many'; expected a whole number"),
    ],
)
def test_incomplete_variables_are_named(environ, says):
    with pytest.raises(JobError, match=says):
        describe(environ)


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody else can take it, and it refuses
        yield taken.getsockname()[1]


def test_a_first_process_that_cannot_be_reached_is_named_with_its_address(closed_port, monkeypatch):
    monkeypatch.setattr(processes, "JOIN", 1)
    address = f"127.0.0.1:{closed_port}"
    environ = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
    with pytest.raises(
        JobError, match=rf"process 0 of this job, at {address}, cannot be reached \(.*refused\) after 1 s"
    ):
        processes.initialize(environ)


def test_a_first_process_whose_name_is_unknown_is_named_too(monkeypatch):
    monkeypatch.setattr(processes, "JOIN", 0)
    environ = {"JAX_COORDINATOR_ADDRESS": "nobody.invalid:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
    with pytest.raises(JobError, match=r"at nobody.invalid:1, cannot be reached"):
        processes.initialize(environ)


def test_joining_takes_less_than_a_minute_and_so_does_noticing_a_death():
    assert processes.JOIN + 5 < 60  # the last attempt to connect may take 5 s
    assert processes.SILENCE < 60


def test_what_a_process_holds_is_released_before_it_ends_for_the_loss_of_another(monkeypatch):
    did = []
    monkeypatch.setattr(processes.jax, "process_count", lambda: 2)
    monkeypatch.setattr(processes, "end", did.append)
    with processes.together(lambda: did.append("released")):
        raise jax.errors.JaxRuntimeError("Connection reset by peer")
    assert did[0] == "released" and "another one is gone" in did[1]


def test_two_processes_join_by_coordinator_variables():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    code = (
        "import jax; from davs_jax.parallel import processes; job = processes.initialize(); "
        "print(job, jax.process_index(), jax.device_count())"
    )
    variables = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PLATFORMS": "cpu"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **variables, "JAX_PROCESS_ID": str(i), "XLA_FLAGS": ""},
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    try:
        said = [process.communicate(timeout=60)[0].strip() for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert said == [f"process {i} of 2 (coordinator; process 0 is at {address}) {i} 2" for i in range(2)]

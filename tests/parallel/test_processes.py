import os
import socket
import subprocess
import sys

import jax
import pytest

from davs_jax.parallel import processes
from davs_jax.parallel.processes import JobError, announced

SRUN = {
    "SLURM_JOB_ID": "4711",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "gpu[07-09,12]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x4)",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}
MPIRUN = {"OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "2"}
PLACE = {"JAX_COORDINATOR_ADDRESS": "host:1234", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "1"}
POD = {"KUBERNETES_SERVICE_HOST": "10.1.0.1", "JOB_COMPLETION_INDEX": "3"}


def launcher(environ):
    return announced(environ)[0]


def test_an_empty_environment_is_one_process():
    assert announced({}) == ("alone", {})


@pytest.mark.parametrize(
    ("visible", "tasks_here", "local_id", "own"),
    [
        ("0,1,2,3", "1(x2)", "0", []),  # one task per node uses all its GPUs
        (None, "1(x2)", "0", []),
        ("0,1,2,3", "4(x2)", "2", [2]),  # one task per GPU
        ("0,1,2,3", "2(x2)", "1", [2, 3]),
        ("0", "4(x2)", "2", []),  # --gpus-per-task=1: SLURM has shared them out
        (None, "4(x2)", "2", None),  # JAX takes the GPU of the local number
    ],
)
def test_slurm_tasks_share_the_gpus_of_their_node(visible, tasks_here, local_id, own):
    environ = SRUN | {"SLURM_STEP_TASKS_PER_NODE": tasks_here, "SLURM_LOCALID": local_id}
    environ |= {"CUDA_VISIBLE_DEVICES": visible} if visible else {}
    assert announced(environ) == ("slurm", {"num_processes": 8, "local_device_ids": own})


def test_processes_of_open_mpi_share_the_gpus_of_their_node():
    assert announced(MPIRUN) == ("ompi", {"local_device_ids": None})
    assert announced(MPIRUN | {"CUDA_VISIBLE_DEVICES": "0,1,2,3,4,5,6,7"}) == ("ompi", {"local_device_ids": [4, 5]})
    assert launcher(MPIRUN | {"OMPI_COMM_WORLD_SIZE": "1"}) == "alone"


def test_a_step_of_one_task_in_a_larger_job_is_alone():
    assert launcher(SRUN | {"SLURM_STEP_NUM_TASKS": "1"}) == "alone"


def test_several_tasks_without_srun_are_refused_instead_of_training_on_one():
    with pytest.raises(JobError, match=r"SLURM gives this job 8 tasks.*start it with srun"):
        announced({"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_JOB_ID": "4711"})


def test_a_tpu_pod_is_known_by_its_hosts_or_slices():
    assert launcher({"TPU_WORKER_HOSTNAMES": "10.0.0.2,10.0.0.3", "TPU_WORKER_ID": "1"}) == "tpu"
    assert launcher({"TPU_PROCESS_ADDRESSES": "a:8471,b:8471", "TPU_WORKER_ID": "0"}) == "tpu"
    assert launcher({"TPU_WORKER_HOSTNAMES": "run-2-0.run", "MEGASCALE_NUM_SLICES": "4"}) == "tpu"
    assert launcher({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}) == "alone"


def test_a_pod_with_tpus_is_known_by_these():
    assert launcher(POD | {"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "0"}) == "tpu"
    assert launcher(POD | {"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}) == "alone"


def test_a_pod_that_is_not_of_an_indexed_job_is_alone():
    assert launcher({"KUBERNETES_SERVICE_HOST": "10.1.0.1"}) == "alone"
    assert launcher(POD) == "kubernetes"


def test_a_stated_place_comes_before_the_cluster():
    place = {"coordinator_address": "host:1234", "num_processes": 2, "process_id": 1}
    for cluster in (SRUN, MPIRUN, POD):
        assert announced(cluster | PLACE) == ("coordinator", place | {"cluster_detection_method": "deactivate"})
        assert launcher(cluster | {"JAX_NUM_PROCESSES": "1"}) == "alone"


def test_davs_job_overrules_everything():
    assert launcher(SRUN | PLACE | {"DAVS_JOB": "alone"}) == "alone"
    assert launcher({"DAVS_JOB": "tpu"}) == "tpu"


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"JAX_COORDINATOR_ADDRESS": "host:1"}, "JAX_NUM_PROCESSES and JAX_PROCESS_ID is not set"),
        (POD | {"JAX_NUM_PROCESSES": "4"}, "has JAX_NUM_PROCESSES=4, but JAX_COORDINATOR_ADDRESS and JAX_PROCESS_ID"),
        (PLACE | {"JAX_PROCESS_ID": "-1"}, "JAX_PROCESS_ID is '-1'; a whole number is needed"),
        (PLACE | {"JAX_COORDINATOR_ADDRESS": "host"}, "JAX_COORDINATOR_ADDRESS is 'host'; set it to host:port"),
        ({"DAVS_JOB": "pod"}, "DAVS_JOB is 'pod'; set it to alone or tpu"),
        ({"SLURM_NTASKS": "many"}, "SLURM_NTASKS is 'many'; a whole number is needed"),
    ],
)
def test_incomplete_variables_are_named_with_the_remedy(environ, says):
    with pytest.raises(JobError, match=says):
        announced(environ)


JOINING = """
import sys
from davs_jax.parallel import processes
processes.JOIN = {limit}
try:
    job = processes.initialize()
except processes.JobError as error:
    sys.exit(f"refused: {{error}}")
import jax
print(job, jax.process_index(), jax.device_count(), jax.config.values["jax_cuda_visible_devices"], sep="|")
"""


def start(environ, limit=50):
    foreign = ("SLURM_", "OMPI_", "TPU_", "JAX_COORD", "JAX_NUM", "JAX_PROCESS", "KUBERNETES_", "CUDA_", "DAVS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return subprocess.Popen(
        [sys.executable, "-c", JOINING.format(limit=limit)],
        env=kept | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""} | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*started):
    """Exit statuses, and what was printed and complained of."""
    try:
        said = [process.communicate(timeout=60) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.returncode, *text) for process, text in zip(started, said, strict=True)]


@pytest.fixture
def port():
    """A port that nothing listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_two_processes_join_by_a_stated_place(port):
    address = f"127.0.0.1:{port}"
    places = [PLACE | {"JAX_COORDINATOR_ADDRESS": address, "JAX_PROCESS_ID": str(i)} for i in range(2)]
    for i, (status, said, error) in enumerate(finish(*map(start, places))):
        assert status == 0, error
        assert said == f"process {i} of 2 (coordinator; process 0 is at {address})|{i}|2|all\n"


@pytest.mark.parametrize("gpus", ["all", "0,1"])
def test_two_tasks_of_slurm_join_with_all_their_gpus(port, gpus):
    task = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost", "JAX_COORDINATOR_PORT": str(port)}
    task |= {"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}
    if gpus != "all":  # of four that both tasks see
        task |= {"SLURM_STEP_TASKS_PER_NODE": "2", "CUDA_VISIBLE_DEVICES": "4,5,6,7"}
    tasks = [task | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)} for i in range(2)]
    for i, (status, said, error) in enumerate(finish(*map(start, tasks))):
        assert status == 0, error
        own = "all" if gpus == "all" else ("0,1", "2,3")[i]
        assert said == f"process {i} of 2 (slurm; process 0 is at localhost:{port})|{i}|2|{own}\n"


def test_two_processes_of_open_mpi_join(port):
    ours = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "JAX_COORDINATOR_PORT": str(port)}
    ours["OMPI_MCA_orte_hnp_uri"] = "1531576320.0;tcp://127.0.0.1:34911"
    ranks = [ours | {"OMPI_COMM_WORLD_RANK": str(i), "OMPI_COMM_WORLD_LOCAL_RANK": str(i)} for i in range(2)]
    ((status, said, error), _) = finish(*map(start, ranks))
    assert (status, said) == (0, f"process 0 of 2 (ompi; process 0 is at 127.0.0.1:{port})|0|2|0\n"), error


@pytest.mark.parametrize(
    "environ",
    [
        POD,
        {"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "0"},
        {"DAVS_JOB": "tpu"},
        {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_SIZE": "1"},
        PLACE | {"JAX_PROCESS_ID": "2"},
    ],
    ids=["kubernetes", "gke tpu", "tpu vm", "open mpi 5", "stated"],
)
def test_a_job_in_which_jax_does_not_find_its_place_is_refused_instead_of_run_alone(environ):
    ((status, _, error),) = finish(start(environ))
    assert status == 1 and error.count("\n") == 1
    assert "several processes are announced, but JAX cannot tell which one this is" in error
    assert "set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or DAVS_JOB=alone" in error


def test_a_first_process_that_cannot_be_reached_is_named_with_its_address(port):
    address = f"127.0.0.1:{port}"
    ((status, _, error),) = finish(start(PLACE | {"JAX_COORDINATOR_ADDRESS": address}, limit=1))
    assert status == 1 and error.count("\n") == 1
    assert f"process 0 of this job (coordinator), at {address}, cannot be reached (" in error
    assert "refused) after 1 s" in error


def test_a_first_process_whose_name_is_unknown_is_named_too():
    ((status, _, error),) = finish(start(PLACE | {"JAX_COORDINATOR_ADDRESS": "nobody.invalid:1"}, limit=1))
    assert status == 1 and "at nobody.invalid:1, cannot be reached" in error


def test_a_first_process_that_waits_in_vain_says_that_others_are_missing(port):
    place = PLACE | {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}", "JAX_PROCESS_ID": "0"}
    ((status, _, error),) = finish(start(place, limit=1))
    assert status == 1 and "not all processes of this job came together within 1 s" in error


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

"""A job of two processes: one dies, all end, and the job resumes. Minutes: run with -m cluster."""

import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from configs import common
from davs_jax import checkpoint
from davs_jax.checkpoint.export import leaves
from davs_jax.parallel import sharding
from davs_jax.training.stage import Stage
from davs_jax.training.state import abstract_state
from support.runs import events, wait_for
from support.tiny_data import tiny

pytestmark = pytest.mark.cluster
PROCESSES = 2


@pytest.fixture(scope="module")
def job(clips_folder, tmp_path_factory):
    """Starts the processes of a job in a workdir, with two devices each."""
    config = tiny(common.get_config("word"), clips_folder, "")
    config.mesh.fsdp = 2
    config.steps, config.checkpoint.every = 40, 4
    file = tmp_path_factory.mktemp("stage") / "stage.py"
    settings = f"ConfigDict({config.to_dict()!r})"
    file.write_text(f"from ml_collections import ConfigDict\n\ndef get_config():\n    return {settings}\n")

    def start(workdir, *flags, processes=PROCESSES):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        own = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
        if processes > 1:
            own |= {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": str(processes)}
        command = [sys.executable, "-m", "davs_jax.main", f"--config={file}", f"--workdir={workdir}", *flags]
        return [
            subprocess.Popen(
                command,
                env={**os.environ, **own, "JAX_PROCESS_ID": str(i)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for i in range(processes)
        ]

    start.config = config
    return start


def finish(processes, seconds=600):
    """Exit statuses and outputs."""
    try:
        said = [process.communicate(timeout=seconds)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], said


def final_state(workdir, config):
    here = config.copy_and_resolve_references()
    here.mesh.fsdp = 1
    mesh = sharding.make_mesh(here.mesh, jax.devices()[:1])
    abstract = abstract_state(Stage.from_config(here), mesh)
    state, _ = checkpoint.Checkpoints(workdir, 3, "").restore_latest(here, abstract)
    return leaves(state)


@pytest.fixture(scope="module")
def whole(job, tmp_path_factory):
    """The workdir of an uninterrupted run."""
    workdir = tmp_path_factory.mktemp("whole")
    statuses, said = finish(job(workdir))
    assert statuses == [0] * PROCESSES, said
    return workdir


def assert_same(workdir, whole, config, **tolerance):
    expected, found = final_state(whole, config), final_state(workdir, config)
    assert expected["step"] == config.steps and expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, err_msg=name, **tolerance)


@pytest.mark.parametrize("dying", range(PROCESSES))
def test_a_death_ends_the_others_within_a_minute_and_the_restarted_job_resumes_exactly(job, whole, tmp_path, dying):
    processes = job(tmp_path)
    wait_for(lambda: checkpoint.checkpoint_steps(tmp_path), processes[0], 600)
    processes[dying].kill()
    began = time.monotonic()
    statuses, said = finish(processes, 60)
    print(f"process {dying} died; the other one ended {time.monotonic() - began:.0f} s later, status {statuses}:")
    print(*said[1 - dying].strip().splitlines()[-3:], sep="\n")
    assert statuses[dying] == -signal.SIGKILL and statuses[1 - dying] not in (0, 75)
    assert "another one is gone" in said[1 - dying] or "another task died" in said[1 - dying]
    (*_, last) = checkpoint.checkpoint_steps(tmp_path)
    assert last < job.config.steps
    statuses, said = finish(job(tmp_path))
    assert statuses == [0] * PROCESSES, said
    assert "from step" in said[0]
    assert_same(tmp_path, whole, job.config, rtol=0, atol=0)


def test_sigterm_saves_on_all_and_one_process_resumes_alone(job, whole, tmp_path):
    processes = job(tmp_path)
    wait_for(lambda: checkpoint.checkpoint_steps(tmp_path), processes[0], 600)
    processes[1].terminate()  # to any one of them
    time.sleep(0.2)
    processes[1].terminate()
    statuses, said = finish(processes)
    assert statuses == [75] * PROCESSES, said
    (*_, last) = checkpoint.checkpoint_steps(tmp_path)
    assert f"step {last} of {job.config.steps}, saved" in said[0]
    assert events(tmp_path)[-1]["step"] == last < job.config.steps
    statuses, said = finish(job(tmp_path, "--config.mesh.fsdp=1", processes=1))
    assert statuses == [0], said
    assert f"from step {last}" in said[0]
    # Another number of processes sums in another order; Adam amplifies the noise in small gradients.
    told = [events(folder, "loss/word_ce")[-1] for folder in (tmp_path, whole)]
    for name, value in told[1].items():
        np.testing.assert_allclose(told[0][name], value, rtol=0.05, err_msg=name)


def test_missing_processes_end_the_others_within_a_minute(job, tmp_path):
    (first, second) = job(tmp_path)
    second.kill()
    began = time.monotonic()
    (status, _), (said, _) = finish([first, second], 90)
    assert status not in (0, 75) and time.monotonic() - began < 75  # with the seconds that Python takes to start
    print(said)
    assert "not all processes of this job came together within" in said

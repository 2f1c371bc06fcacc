"""One run per workdir. The second run is real, and so is every process that dies."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from etils import epath

import configs
from davs_jax.checkpoint import lock
from davs_jax.errors import CheckpointError
from support.runs import STALLING, wait_for

REPOSITORY = Path(configs.__file__).parent.parent
# Holds a workdir, prints that it does, and keeps it.
HOLDING = """
import sys, time
from etils import epath
from davs_jax.parallel import processes
from davs_jax.checkpoint import lock

processes.initialize()
with lock.held(epath.Path(sys.argv[1])):
    print("held", flush=True)
    if sys.argv[2] == "fail":
        raise ValueError("a run that fails")
    sys.stdin.read() if sys.argv[2] == "ask" else time.sleep(600)
"""


def start(*arguments, **environ):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environ},
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def holding(workdir, how="sleep", **environ):
    """A process that holds the workdir."""
    process = start("-c", HOLDING, workdir, how, **environ)
    assert process.stdout.readline() == "held\n", process.communicate()[1]
    return process


def job(*arguments):
    """Two processes of a job, one device each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    own = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "XLA_FLAGS": ""}
    return [start(*arguments, **own, JAX_PROCESS_ID=str(i)) for i in range(2)]


def contents(folder):
    """Bytes and times of everything in a folder, and of itself."""
    found = {path: path.read_bytes() if path.is_file() else None for path in [folder, *folder.rglob("*")]}
    return {path: (data, path.stat().st_mtime_ns, path.stat().st_ino) for path, data in found.items()}


def hold(workdir):
    """Takes a workdir and releases it."""
    with lock.held(epath.Path(workdir)):
        return json.loads((epath.Path(workdir) / lock.FILE).read_text())


def leave(workdir, silent, **changes):
    """The lock of a killed process; of another machine, unless `changes` says otherwise."""
    now = time.time() - silent
    own = lock._this_process(None)
    holder = dataclasses.replace(own, host="node7", pid=41, boot="another", since=now, renewed=now, run="r")
    text = json.dumps(dataclasses.asdict(dataclasses.replace(holder, **changes)))
    workdir.mkdir(exist_ok=True)
    (workdir / lock.FILE).write_text(text)


@pytest.fixture
def no_flock(monkeypatch):
    """A file system without locks in the kernel, as NFS may be mounted."""

    def refuse(descriptor, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "SETTLE", 0.1)


def test_a_second_run_is_refused_in_one_sentence_and_changes_nothing(audio_config, tmp_path):
    workdir = tmp_path / "run"
    (tmp_path / "stage.json").write_text(audio_config.to_json())
    file = tmp_path / "stage.py"
    settings = f"ConfigDict({audio_config.to_dict()!r})"
    file.write_text(f"from ml_collections import ConfigDict\n\ndef get_config():\n    return {settings}\n")
    with start("-c", STALLING, tmp_path / "stage.json", workdir) as first, contextlib.ExitStack() as at_the_end:
        at_the_end.callback(first.kill)  # a stopped process would be waited for
        wait_for((workdir / "checkpoints" / "3" / "metrics").exists, first)
        first.send_signal(signal.SIGSTOP)  # what it writes itself is no change by the second
        before = contents(workdir)
        second = start("-m", "davs_jax.main", f"--config={file}", f"--workdir={workdir}")
        _, error = second.communicate(timeout=120)
        assert second.returncode == 1
        assert error.startswith(f"davs_jax.main: {workdir} is in use by process {first.pid} on {socket.gethostname()} ")
        assert "; stop that run and try again, or name another --workdir" in error and error.count("\n") == 1
        assert contents(workdir) == before
    assert hold(workdir)["pid"] == os.getpid()


def test_a_killed_holder_is_replaced_at_once_with_a_note(tmp_path, capsys):
    with holding(tmp_path) as process:
        with pytest.raises(CheckpointError, match=f"is in use by process {process.pid} on "):
            hold(tmp_path)
        process.kill()
    began = time.monotonic()
    assert hold(tmp_path)["pid"] == os.getpid()
    assert time.monotonic() - began < 5
    assert f"taken over from process {process.pid} on {socket.gethostname()}" in capsys.readouterr().out


def test_a_lock_whose_process_id_lives_again_is_stale(tmp_path):
    with holding(tmp_path) as process:
        process.kill()
    left = json.loads((tmp_path / lock.FILE).read_text())
    (tmp_path / lock.FILE).write_text(json.dumps(left | {"pid": os.getpid()}))
    assert hold(tmp_path)


def test_a_run_that_fails_releases_its_workdir(tmp_path):
    process = holding(tmp_path / "run", "fail")
    assert "a run that fails" in process.communicate(timeout=60)[1]
    assert not (tmp_path / "run").exists()  # made by it, and empty


def test_a_fresh_lock_of_another_host_refuses_and_says_when_it_expires(tmp_path):
    leave(tmp_path, 30)
    before = contents(tmp_path)
    with pytest.raises(CheckpointError, match=r"process 41 on node7 .* 30 s ago.*if it was killed.* in (59|60) s$"):
        hold(tmp_path)
    assert contents(tmp_path) == before


def test_an_old_lock_of_another_host_is_taken_over_with_a_note(tmp_path, capsys):
    leave(tmp_path, lock.AGE + 1)
    hold(tmp_path)
    assert f"{tmp_path}: taken over from process 41 on node7 (since " in capsys.readouterr().out
    assert not (tmp_path / lock.FILE).exists()


def test_another_mount_or_container_of_this_machine_counts_by_age(tmp_path):
    own = lock._this_process(None)
    for silent, refused in ((30, True), (lock.AGE + 1, False)):
        leave(tmp_path, silent, boot=own.boot, namespace=1, device=1)
        with pytest.raises(CheckpointError) if refused else contextlib.nullcontext():
            hold(tmp_path)


def test_without_flock_a_process_counts_by_its_start(tmp_path, no_flock):
    with holding(tmp_path) as process:
        holder = json.loads((tmp_path / lock.FILE).read_text())
        assert holder["started"] == lock._started(process.pid)
        leave(tmp_path, 0, **holder | {"device": None})
        with pytest.raises(CheckpointError, match=f"is in use by process {process.pid} on "):
            hold(tmp_path)
        leave(tmp_path, 0, **holder | {"device": None, "started": "1"})  # an id that was given again
        hold(tmp_path)
        leave(tmp_path, 0, **holder | {"device": None})
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        hold(tmp_path)  # although it is still a zombie: in a container, nobody may ever wait for it


def test_of_two_that_start_at_once_without_flock_one_is_refused(tmp_path, no_flock, monkeypatch):
    monkeypatch.setattr(lock, "SETTLE", 0.5)
    barrier, ended, results = threading.Barrier(2), threading.Event(), []

    def one():
        barrier.wait()
        try:
            with lock.held(epath.Path(tmp_path)):
                results.append("held")
                ended.wait(10)
        except CheckpointError:
            results.append("refused")
            ended.set()

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["held", "refused"]


def test_a_bucket_is_held_released_and_taken_over(bucket, monkeypatch):
    monkeypatch.setattr(lock, "SETTLE", 0.1)
    workdir = epath.Path("gs://made/runs/word")
    with holding(workdir) as process:
        assert [*bucket] == ["made/runs/word/run.lock"]
        before = dict(bucket)
        with pytest.raises(CheckpointError, match=f"gs://made/runs/word is in use by process {process.pid} on "):
            hold(workdir)
        assert bucket == before
        process.kill()
    assert hold(workdir)["pid"] == os.getpid()
    assert bucket == {}


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"file/run could not be written \(.*Not a directory"):
        hold(tmp_path / "file" / "run")


def test_a_holder_renews_its_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT", 0.05)
    with lock.held(epath.Path(tmp_path)):
        times = set()
        end = time.monotonic() + 10
        while len(times) < 3 and time.monotonic() < end:
            times.add(json.loads((tmp_path / lock.FILE).read_text())["renewed"])
    assert len(times) == 3


def test_a_run_whose_lock_another_has_taken_ends_and_leaves_that_lock(tmp_path):
    code = HOLDING.replace("processes.initialize()", "lock.BEAT = 0.1")
    with start("-c", code, tmp_path, "sleep") as process:
        assert process.stdout.readline() == "held\n"
        (tmp_path / lock.FILE).unlink()
        leave(tmp_path, 0)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"davs_jax: {tmp_path} was taken over by process 41 on node7" in error and error.count("\n") == 1
    assert json.loads((tmp_path / lock.FILE).read_text())["host"] == "node7"


def test_a_job_of_two_processes_counts_as_one(tmp_path):
    processes = job("-c", HOLDING, tmp_path, "ask")
    try:
        for process in processes:
            assert "held\n" in process.stdout, process.communicate()[1]  # behind what Gloo says
        with pytest.raises(CheckpointError, match=f"is in use by process {processes[0].pid} on "):
            hold(tmp_path)
        for process in processes:
            process.stdin.close()
        assert [process.wait(timeout=60) for process in processes] == [0, 0], processes[0].stderr.read()
    finally:
        for process in processes:
            process.kill()
    assert not (tmp_path / lock.FILE).exists()


def test_all_processes_of_a_refused_job_end_with_the_same_sentence(tmp_path, clips_folder):
    with lock.held(epath.Path(tmp_path)):
        flags = ("--config=configs/common.py:word", f"--workdir={tmp_path}", f"--config.data.clips={clips_folder}")
        processes = job("-m", "davs_jax.main", *flags)
        try:
            said = [process.communicate(timeout=100)[1] for process in processes]
        finally:
            for process in processes:
                process.kill()
    sentences = [[line for line in text.splitlines() if line.startswith("davs_jax")] for text in said]
    assert [process.returncode for process in processes] == [1, 1]
    assert sentences[0] == sentences[1] and len(sentences[0]) == 1, said
    assert f"{tmp_path} is in use by process {os.getpid()} on " in sentences[0][0]
    assert "Traceback" not in "".join(said)

"""A trial of launch/slurm.sbatch on a real SLURM, two nodes on this machine: two tasks, one killed, requeued, resumed.

    apt-get install slurmctld slurmd slurm-client munge
    PYTHONPATH=. python tests/support/slurm.py

It needs root (SLURM's daemons change users), and names that resolve: it adds `127.0.0.1 davs1 davs2` to /etc/hosts
while it runs. It trains the word stage on small shards for 40 steps in two processes and kills the second task with
SIGKILL when ten steps are logged. Then the batch script must requeue the job, and the run must resume from its
checkpoint and reach its last step. It prints each event with its time; the exit status is 0 only if all of them
happened. SLURM holds a requeued job back for two minutes.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from configs import common
from davs_jax.data import records
from support.tiny_data import CLIPS, SPEAKERS, WORDS, clip_record, tiny, write_shards

ROOT = Path(__file__).parents[2]
STEPS, KILL_AT = 40, 10
PATIENCE = 3_600  # seconds to wait for any one event
NODES = ("davs1", "davs2")
CONF = """
ClusterName=trial
SlurmctldHost=localhost
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmctldPort=16817
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MpiDefault=none
GresTypes=gpu
NodeName=davs1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=16818 CPUs={cpus} Gres=gpu:1 State=UNKNOWN
NodeName=davs2 NodeHostname=localhost NodeAddr=127.0.0.1 Port=16819 CPUs={cpus} Gres=gpu:1 State=UNKNOWN
PartitionName=trial Nodes=davs[1-2] Default=YES MaxTime=INFINITE State=UP
"""
BEGAN = time.monotonic()


def say(text: str) -> None:
    print(f"{time.monotonic() - BEGAN:7.1f} s  {text}", flush=True)


@contextlib.contextmanager
def hosts() -> Iterator[None]:
    file = Path("/etc/hosts")
    before = file.read_text()
    file.write_text(f"{before.rstrip()}\n127.0.0.1 {' '.join(NODES)}\n")
    try:
        yield
    finally:
        file.write_text(before)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[None]:
    """Runs munged, slurmctld and two slurmd in this process's group, for the block."""
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir()
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, cpus=os.cpu_count()))
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")  # a GPU for SLURM to count; the tasks run on CPUs
    folder.chmod(0o755)  # munged's socket lies in it
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    files = {"key-file": key, "socket": "munge.socket", "pid-file": "munge.pid", "log-file": "munge.log"}
    munged = ["munged", "--foreground", "--force", *(f"--{k}={folder / v}" for k, v in files.items())]
    munged.append(f"--seed-file={folder / 'munge.seed'}")
    conf = ["-D", "-f", str(folder / "slurm.conf")]
    daemons = [munged, ["slurmctld", *conf], *(["slurmd", *conf, "-N", node] for node in NODES)]
    running = []
    try:
        for command in daemons:
            log = (folder / f"{command[0]}.out").open("a")
            running.append(subprocess.Popen(command, stdout=log, stderr=log))
            time.sleep(2)
        wait("two idle nodes", lambda: ask("sinfo", "-h", "-o", "%T %D") == "idle 2")
        yield
    finally:
        for process in reversed(running):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()


def ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def wait(what: str, true) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"no {what} within {PATIENCE} s")
        time.sleep(1)
    say(what)


def write_job(folder: Path) -> Path:
    """Writes shards, and a config that trains on them."""
    (folder / "clips").mkdir()
    splits = {"train": [clip_record(i) for i in range(CLIPS["train"])]}
    clips = write_shards(folder / "clips", "clips", records.clip_features(WORDS, SPEAKERS), splits)
    config = tiny(common.get_config("word"), clips, "")
    config.steps, config.checkpoint.every = STEPS, 5
    config.checkpoint.best = ""
    file = folder / "trial.py"
    file.write_text(
        "import json\nfrom ml_collections import ConfigDict\n\n\n"
        f"def get_config():\n    return ConfigDict(json.loads({config.to_json()!r}))\n"
    )
    return file


def task(number: int) -> int | None:
    """Process id of the training process with this rank."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if f"SLURM_PROCID={number}" in (entry / "environ").read_bytes().decode(errors="replace").split(
                    "\0"
                ) and (b"davs_jax.main" in (entry / "cmdline").read_bytes()):
                    return int(entry.name)
    return None


def steps(workdir: Path) -> list[int]:
    file = workdir / "metrics.jsonl"
    if not file.exists():
        return []
    return [json.loads(line)["step"] for line in file.read_text().splitlines() if line.endswith("}")]


def trial(folder: Path) -> None:
    config, workdir = write_job(folder), folder / "run"
    environment = os.environ | {"VENV": str(Path(sys.prefix)), "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    options = ["--nodes=2", "--gpus-per-node=1", "--cpus-per-task=1", "--parsable", f"--output={folder}/job.log"]
    command = ["sbatch", *options, str(ROOT / "launch/slurm.sbatch"), str(config), str(workdir)]
    job = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()

    def shown(field: str) -> str:
        words = dict(w.partition("=")[::2] for w in ask("scontrol", "show", "job", job).split())
        return words.get(field, "")

    say(f"job {job} submitted")
    wait("the job runs", lambda: shown("JobState") == "RUNNING")
    wait(f"step {KILL_AT} is logged", lambda: max(steps(workdir), default=0) >= KILL_AT)
    os.kill(task(1), signal.SIGKILL)
    say(f"task 1 killed at step {max(steps(workdir))}")
    wait("the job is back in the queue", lambda: shown("Restarts") == "1")
    wait("the job runs again", lambda: shown("JobState") == "RUNNING")
    wait("the job has ended", lambda: shown("JobState") in ("COMPLETED", "FAILED", "CANCELLED"))
    say(f"state {shown('JobState')}, exit {shown('ExitCode')}, restarts {shown('Restarts')}")
    log = (folder / "job.log").read_text()
    for line in log.splitlines():
        if line.startswith(("training in", "ended with", "step ")) or "from step" in line or "4 ×" in line:
            print(f"           log: {line}")
    if shown("JobState") != "COMPLETED" or "from step" not in log or steps(workdir) != list(range(1, STEPS + 1)):
        print(log[-4_000:], file=sys.stderr)
        raise SystemExit("the trial failed")
    say(f"all {STEPS} steps are logged, each once")


def main() -> None:
    for program in ("slurmctld", "slurmd", "munged", "sbatch"):
        if not shutil.which(program):
            raise SystemExit(f"{program} is missing: apt-get install slurmctld slurmd slurm-client munge")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that /etc/hosts is restored and the daemons end
    with tempfile.TemporaryDirectory() as name, hosts():
        os.environ["SLURM_CONF"] = f"{name}/slurm.conf"
        with cluster(Path(name)):
            trial(Path(name))


if __name__ == "__main__":
    main()

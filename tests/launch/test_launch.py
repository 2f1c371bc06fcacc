"""The launch files, checked without a cluster; tests/support/slurm.py runs one on a real SLURM."""

import os
import shutil
import string
import subprocess
from pathlib import Path

import pytest
import yaml

import configs
from davs_jax import command_line
from davs_jax.parallel.processes import announced

LAUNCH = Path(configs.__file__).parents[1] / "launch"
JOBSETS = sorted(LAUNCH.glob("jobset_*.yaml"))
SCRIPTS = [LAUNCH / "slurm.sbatch", LAUNCH / "tpu_vm.sh"]
VALUES = {
    "NAME": "word",
    "IMAGE": "registry/davs_jax:tpu",
    "ACCELERATOR": "tpu-v5-lite-podslice",
    "TOPOLOGY": "4x4",
    "HOSTS": "4",
    "CHIPS_PER_HOST": "4",
    "NODES": "2",
    "GPUS_PER_NODE": "8",
    "CONFIG": "configs/lrw_word.py",
    "CLAIM": "davs",
}


def jobset(path: Path) -> dict:
    return yaml.safe_load(string.Template(path.read_text()).substitute(VALUES))


def container(document: dict) -> dict:
    (job,) = document["spec"]["replicatedJobs"]
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("path", JOBSETS, ids=lambda path: path.stem)
def test_every_variable_of_a_jobset_is_named_at_its_top(path):
    head = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    used = set(string.Template(path.read_text()).get_identifiers())
    assert used and all(f"{name}=" in head for name in used)


@pytest.mark.parametrize("path", JOBSETS, ids=lambda path: path.stem)
def test_a_jobset_gives_its_pods_what_the_command_line_takes(path, monkeypatch):
    monkeypatch.chdir(LAUNCH.parent)
    arguments = container(jobset(path))["args"]
    command_line.check("test", arguments)
    assert "--workdir=/mnt/davs/runs/word" in arguments


def test_a_pod_of_the_gpu_jobset_knows_its_place():
    environ = {entry["name"]: entry.get("value") for entry in container(jobset(LAUNCH / "jobset_gpu.yaml"))["env"]}
    assert environ["JAX_PROCESS_ID"] is None  # Kubernetes sets it from an annotation of the pod
    kubernetes = {"KUBERNETES_SERVICE_HOST": "10.1.0.1", "JOB_COMPLETION_INDEX": "1"}
    launcher, place = announced(kubernetes | environ | {"JAX_PROCESS_ID": "1"})
    assert (launcher, place["num_processes"], place["process_id"]) == ("coordinator", 2, 1)
    assert place["coordinator_address"] == "word-nodes-0-0.word:8476"


@pytest.mark.parametrize("path", JOBSETS, ids=lambda path: path.stem)
def test_a_jobset_fits_the_schema_of_its_kind(path):
    """$JOBSET_CRD is config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml of the JobSet project."""
    jsonschema = pytest.importorskip("jsonschema")
    if not (schema := os.environ.get("JOBSET_CRD")):
        pytest.skip("JOBSET_CRD does not name JobSet's resource definition")
    (version,) = [v for v in yaml.safe_load(Path(schema).read_text())["spec"]["versions"] if v["name"] == "v1alpha2"]
    closed = _closed(version["schema"]["openAPIV3Schema"])
    jsonschema.validate(jobset(path), closed)
    wrong = jobset(path)
    wrong["spec"]["replicatedJobs"][0]["template"]["spec"]["paralelism"] = 1
    with pytest.raises(jsonschema.ValidationError, match="paralelism"):
        jsonschema.validate(wrong, closed)


def _closed(schema):
    """The schema, refusing fields that it does not name, as the server does with strict validation."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    closed = {key: _closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema["properties"].keys() != {"metadata", "name"}:
        # The metadata of objects have a schema of their own, which the definition leaves out.
        closed["properties"].setdefault("metadata", {"type": "object"})
        closed.setdefault("additionalProperties", False)
    return closed


def test_shell_scripts_pass_shellcheck():
    if not (shellcheck := shutil.which("shellcheck")):
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, *SCRIPTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_tpu_script_explains_itself_and_quotes_for_the_hosts(tmp_path):
    gcloud = tmp_path / "gcloud"
    gcloud.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    gcloud.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PROJECT": "p"}

    def call(*arguments):
        command = ["bash", LAUNCH / "tpu_vm.sh", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    nothing = call()
    assert nothing.returncode == 2
    assert "tpu_vm.sh train configs/lrw_word.py" in nothing.stdout
    train = call("train", "configs/lrw_word.py", "/mnt/a b")
    assert train.returncode == 0
    (command,) = [line for line in train.stdout.splitlines() if line.startswith("--command=")]
    (tmp_path / "davs_jax" / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / "davs_jax" / ".venv" / "bin" / "python"
    python.write_text('#!/usr/bin/env bash\nprintf "%s|" "$DAVS_JOB" "$@"\n')
    python.chmod(0o755)
    there = subprocess.run(
        ["bash", "-c", command.removeprefix("--command=")], cwd=tmp_path, capture_output=True, text=True
    )
    assert there.stdout == "tpu|-m|davs_jax.main|--config|configs/lrw_word.py|--workdir|/mnt/a b|"

import os
import shutil
import socket
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from davs_jax.parallel import executables, sharding

MESH = sharding.make_mesh(ConfigDict({"data": -1, "fsdp": 1}))


@pytest.fixture(autouse=True)
def cache(tmp_path):
    """A folder for JAX's cache that holds nothing yet."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "xla"))
    yield tmp_path / "xla"
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def kept(cache, lines):
    """The file of a step that was written."""
    executables.write("a step", MESH, compiled(), lines.append)
    (file,) = (cache / executables.FOLDER).iterdir()
    return file


def compiled():
    layout = sharding.replicated(MESH)
    step = jax.jit(
        lambda state, batch: ({"w": state["w"] + batch.sum()}, {"loss": batch.mean()}),
        in_shardings=layout,
        out_shardings=layout,
        donate_argnums=0,
    )
    return step.lower({"w": jnp.ones(3)}, jnp.ones(4)).compile()


def read(lines, fingerprint="a step"):
    return executables.begin_reading(fingerprint, MESH, lines.append)()


def test_a_kept_step_computes_the_same_and_is_given_its_state(kept, lines):
    step = read(lines)
    state, batch = jax.device_put(
        ({"w": np.ones(3, np.float32)}, np.arange(4.0, dtype=np.float32)), step.input_shardings[0]
    )
    after, metrics = step(state, batch)
    np.testing.assert_array_equal(after["w"], np.full(3, 7.0))
    assert float(metrics["loss"]) == 1.5
    assert state["w"].is_deleted()  # donated, as the compiled step's is
    assert step.memory_analysis().argument_size_in_bytes > 0
    assert lines == []


def test_only_the_user_may_read_or_write_what_is_kept(kept):
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700


def test_another_step_setting_flag_or_number_of_devices_is_another_file(kept, lines, monkeypatch):
    assert read(lines, "another step") is None
    with jax.default_matmul_precision("highest"):
        assert read(lines) is None
    with monkeypatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
        assert read(lines) is None
    with monkeypatch.context() as patch:
        patch.setattr(executables, "_processor", lambda: "an older one")
        assert read(lines) is None
    devices = np.repeat(MESH.devices.flat[:1], 2)
    other = types.SimpleNamespace(devices=devices, shape=dict(zip(sharding.AXES, (2, 1), strict=True)))
    assert executables._file("a step", other) != kept
    assert lines == []
    assert read(lines) is not None


def damaged(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (damaged, "it is damaged, or was made for another step"),
        (lambda file: file.write_bytes(file.read_bytes()[:100]), "it is damaged"),
        (lambda file: file.write_bytes(b""), "it is damaged"),
        (lambda file: file.chmod(0o620), "others than this user may write"),
        (lambda file: file.parent.chmod(0o777), "others than this user may write"),
    ],
)
def test_a_file_that_is_damaged_or_open_to_others_is_not_used_and_one_line_says_so(harm, says, kept, lines):
    harm(kept)
    assert read(lines) is None
    (line,) = lines
    assert str(kept) in line and says in line and "\n" not in line


def test_another_users_file_is_not_used(kept, lines, monkeypatch):
    monkeypatch.setattr(executables.os, "getuid", lambda: os.stat(kept).st_uid + 1)
    assert read(lines) is None
    assert "others than this user may write" in lines[0]


def test_a_renamed_file_does_not_pass_for_another_step(kept, lines):
    other = executables._file("another step", MESH)
    shutil.move(kept, other)
    assert read(lines, "another step") is None
    assert "made for another step" in lines[0]


JOB = """
import sys
import jax
from davs_jax.parallel import executables, processes
processes.initialize()
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
from test_executables import MESH, compiled
executables.write("a step", MESH, compiled(), print)
assert processes.everywhere(True)
found = executables.begin_reading("a step", MESH, print)()
alone = executables.begin_reading("a step" if jax.process_index() else "another step", MESH, print)()
print("found" if found else "none", "found" if alone else "none")
"""


def test_all_processes_of_a_job_use_what_process_0_kept_or_none_does(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    own = {"JAX_PLATFORMS": "cpu", "JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    own["PYTHONPATH"] = os.pathsep.join([*sys.path, os.path.dirname(__file__)])
    job = [
        subprocess.Popen(
            [sys.executable, "-c", JOB, str(tmp_path / "xla")],
            env=os.environ | own | {"JAX_PROCESS_ID": str(i)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    said = [process.communicate(timeout=300) for process in job]
    assert [out.splitlines()[-1] for out, _ in said] == ["found none"] * 2, said
    assert len(list((tmp_path / "xla" / executables.FOLDER).iterdir())) == 1


@pytest.mark.parametrize("folder", [None, "gs://bucket/xla"])
def test_nothing_is_kept_where_jax_keeps_nothing_or_in_a_bucket(folder, lines):
    jax.config.update("jax_compilation_cache_dir", folder)
    executables.write("a step", MESH, compiled(), lines.append)
    assert read(lines) is None
    assert lines == []


def test_a_folder_that_cannot_be_written_does_not_stop_the_run(cache, lines):
    cache.mkdir()
    (cache / executables.FOLDER).write_text("")
    executables.write("a step", MESH, compiled(), lines.append)
    (line,) = lines
    assert line.startswith("the compiled step is not kept in ")


def test_the_file_that_was_used_least_recently_goes_first(kept, lines, monkeypatch):
    monkeypatch.setattr(executables, "KEPT", 2)
    for age, name in ((200, "b"), (100, "c")):
        executables.write(name, MESH, compiled(), lines.append)
        file = executables._file(name, MESH)
        os.utime(file, (file.stat().st_mtime - age,) * 2)
        read(lines)
    assert sorted(kept.parent.iterdir()) == sorted([kept, executables._file("c", MESH)])

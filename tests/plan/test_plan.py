"""The command, and compilation, which needs libtpu."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import configs
from configs import common
from davs_jax.plan import compiling, machines

REPOSITORY = Path(configs.__file__).parents[1]
TINY = (
    "from configs import common\nfrom support.tiny_data import tiny\n\n\ndef get_config():\n"
    '    return tiny(common.get_config("word"), "", "")\n'
)


def plan(*arguments, **environment):
    """The command's status, what it printed, and what it complained of."""
    paths = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "tests", os.environ.get("PYTHONPATH", ""))))
    done = subprocess.run(
        [sys.executable, "-m", "davs_jax.plan", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": paths} | environment,
        timeout=600,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("--config=configs/lrw.py",), 2, "--topology is missing: --topology=v5e:16x16"),
        (("--topology=v5e:4x4",), 2, "--config is missing"),
        (("--config=configs/lrw.py", "--topology=v5e:4x4", "--config.bach=1"), 2, "did you mean --config."),
        (("--config=configs/lrw.py", "--topology=v5e:4x4", "--plot=a.png"), 2, "give --curve too"),
        (("--config=configs/lrw.py", "--topology=v5e:4x4", "--clips_per_chip=0"), 2, "clips_per_chip"),
        (("--config=configs/lrw.py", "--topology=v5x:4x4"), 1, "--topology=v5x:4x4: there is no 'v5x'"),
    ],
)
def test_an_invalid_command_line_is_one_sentence(arguments, status, says):
    found, _, error = plan(*arguments)
    assert found == status
    assert says in error
    assert "Traceback" not in error


@pytest.mark.skipif(
    not importlib.util.find_spec("libtpu"), reason="libtpu is not installed: pip install 'davs_jax[plan]'"
)
def test_a_step_is_compiled_for_an_absent_tpu_and_cached(tmp_path):
    config = tmp_path / "tiny.py"
    config.write_text(TINY)
    home = {"HOME": str(tmp_path)}
    arguments = (f"--config={config}", "--topology=v5e:2x2", "--nosearch")
    status, first, error = plan(*arguments, **home)
    assert status == 0, error
    rows = {line[:28].strip(): line[28:].strip() for line in first.splitlines()}
    assert rows["devices"] == "4"
    assert rows["fits"] == "yes"
    assert rows["clips a step (a chip)"] == "4 (1)"
    assert int(rows["all-reduce: number, bytes"].split(",")[0]) > 0
    (kept,) = (tmp_path / ".cache/davs_jax/plans").glob("*.json")
    known = json.loads(kept.read_text())
    assert known["flops"] > 0
    assert known["peak"] > sum(known["held"].values()) > 0
    assert known["bytes"] > known["padding"] > 0 and known["cycles"] > 0
    assert "audio_encoder" in first and "step, compiler's cycles" in rows
    status, quick, _ = plan(*arguments, "--quick", **home)
    assert status == 0 and "compare quick plans with quick ones only" in quick
    kept.write_text(json.dumps(known | {"seconds": 12_345.0}))
    _, again, _ = plan(*arguments, **home)
    assert "12,345 s" in again


@pytest.mark.parametrize(
    ("child", "says"),
    [
        ("print('noise'); print('Check failed: a <= b (11 vs. 4)', flush=True); os.abort()", "Check failed: a <= b"),
        ("os.kill(os.getpid(), 9)", "status -9"),
        ("print('v5e:2x2: config.mesh is wrong'); sys.exit(3)", "v5e:2x2: config.mesh is wrong"),
    ],
)
def test_a_compiler_that_crashes_or_refuses_is_one_sentence(child, says, tmp_path, monkeypatch):
    fake = tmp_path / "python"
    fake.write_text(f"#!{sys.executable}\nimport os, sys\n{child}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(compiling.sys, "executable", str(fake))
    monkeypatch.setattr(machines.Machine, "compiler", lambda self: "libtpu 0")
    with pytest.raises(compiling.PlanError, match=re.escape(says)) as told:
        compiling.compiled(common.get_config("word"), machines.parse("v5e:2x2"))
    assert "\n" not in str(told.value)
    assert not list((tmp_path / ".cache/davs_jax/plans").iterdir())

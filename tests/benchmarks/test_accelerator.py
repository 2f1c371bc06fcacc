"""The dry run of accelerator.sh, and the rules by which it keeps results."""

import json
import os
import subprocess
import sys
from pathlib import Path

import accelerator
import jax
import jax.numpy as jnp
import kernels
import pytest

SCRIPT = Path(accelerator.__file__).with_suffix(".sh")
ABOUT = {"commit": "0123456", "code": "0123456789ab", "Python": "3.11", "toy": True}


def dry_run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [SCRIPT, "--toy", "--output", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHON": sys.executable})


def test_a_dry_run_measures_and_writes_both_tables(tmp_path):
    done = dry_run(tmp_path, "--parts", "device", "train:recommended:person:bfloat16")
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "results.json").read_text())["parts"]
    (trained,) = parts["train:recommended:person:bfloat16"]["rows"]
    assert trained["title"] == "person, recommended, bfloat16, 4 images"
    assert trained["value"] * trained["seconds"] == pytest.approx(4)
    assert 0 < trained["share"] < 1 and 0 <= trained["waiting"] < 1 and trained["gib"] > 0
    table = (tmp_path / "results.md").read_text()
    assert table in done.stdout
    assert "| matrix product, bfloat16 |" in table and "GB/s" in table
    assert "| comparable | - |" in table and "not reached" in table


def test_the_loader_is_compared_with_the_fastest_joint_step(tmp_path):
    rates = {"joint, a": 100.0, "joint, b": 200.0, "joint, b, PyTorch eager": 900.0, "loader": 500.0, "joint, c": None}
    rows = [{"title": title, "value": rate, "unit": "clips/s"} for title, rate in rates.items()]
    results = accelerator.Results(tmp_path, ABOUT, {"device": {"ended": "well", "rows": rows}})
    assert "The loader reads 2.50 × what the fastest joint step needs (joint, b)." in results.table()


def test_a_run_without_time_says_what_was_not_reached(tmp_path):
    done = dry_run(tmp_path, "--minutes", "0")
    assert done.returncode == 1
    assert (tmp_path / "results.md").read_text().count("not reached") == len(accelerator.PARTS)


def test_a_part_over_its_limit_or_without_what_it_needs_is_a_row(tmp_path):
    cut = accelerator.run("device", tmp_path, 0.2, toy=True)
    assert cut["ended"] == "cut off after 0 s" and cut["rows"] == []
    failed = accelerator.run("train:recommended:nothing:bfloat16", tmp_path, 60, toy=True)
    assert failed["ended"].startswith("failed: ") and failed["ended"].endswith(".log)")


def test_a_rerun_keeps_what_has_ended_well_of_the_same_code(tmp_path):
    results = accelerator.Results(tmp_path, ABOUT)
    row = {"title": "loader", "value": 900.0, "unit": "clips/s", "remark": "16 threads"}
    results.parts = {"loader": {"ended": "well", "rows": [row]}, "device": {"ended": "cut off after 1 s", "rows": []}}
    results.write()
    assert "| loader | 900 clips/s |  |  |  |  | 16 threads |" in (tmp_path / "results.md").read_text()
    assert accelerator.Results.of(tmp_path, ABOUT).parts == {"loader": results.parts["loader"]}
    assert accelerator.Results.of(tmp_path, ABOUT | {"code": "ba9876543210"}).parts == {}


def test_the_longest_operations_of_a_profile_are_found(tmp_path):
    long, short = jnp.arange(2**18, 0, -1), jnp.ones(32)
    work = jax.jit(lambda a, b: (jnp.sort(a), jnp.sin(b)))
    jax.block_until_ready(work(long, short))
    with jax.profiler.trace(str(tmp_path)):
        for _ in range(3):
            jax.block_until_ready(work(long, short))
    total, operations = kernels.longest(tmp_path, 1)
    ((name, seconds, calls),) = operations
    assert "sort" in name and calls >= 3 and 0 < seconds <= total
    with pytest.raises(FileNotFoundError):
        kernels.longest(tmp_path / "none", 1)

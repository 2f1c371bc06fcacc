"""Config files on the command line: where they are found, and sentences instead of tracebacks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import configs
from davs_jax import command_line

REPOSITORY = Path(configs.__file__).parents[1]


def run(folder, module, *arguments):
    """Status, output and errors of a command started in `folder`."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        timeout=120,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("form", [["--config=configs/grid.py:word"], ["--config", "configs/grid.py:word"]])
def test_a_config_outside_the_checkout_is_the_installed_one(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = command_line.located(["program", *form, "--workdir=w"])
    assert f"{REPOSITORY}/configs/grid.py:word" in found[-2]
    assert found[-1] == "--workdir=w"


def test_a_config_of_ones_own_comes_first(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "lrw.py").write_text("")
    monkeypatch.chdir(tmp_path)
    for file in ("configs/lrw.py", "configs/absent.py", ""):
        assert command_line.located(["program", f"--config={file}"]) == ["program", f"--config={file}"]


def test_the_list_of_networks_works_in_any_folder(tmp_path):
    status, listed, error = run(
        tmp_path, "davs_jax.models", "--config.model.image_size=64", "--config.model.width=0.25"
    )
    assert status == 0, error
    assert listed.startswith("64 px, width 0.25;")
    assert "word_adversary" in listed
    assert error == ""


@pytest.mark.parametrize(
    ("argument", "status", "says"),
    [
        ("--width=1", 2, "Unknown command line flag"),
        ("--config.model.widht=1", 2, "did you mean --config.model.width?"),
        ("--config=configs/absent.py", 2, "--config=configs/absent.py cannot be loaded"),
        ("--config.model.image_size=65", 1, "config.model.image_size is 65; it must be one of"),
    ],
)
def test_an_invalid_argument_of_the_list_of_networks_is_one_sentence(argument, status, says, tmp_path):
    found, _, error = run(tmp_path, "davs_jax.models", argument)
    assert found == status
    assert error.startswith("davs_jax.models: ") and error.count("\n") == 1
    assert says in error


def test_training_finds_an_installed_config_in_any_folder(tmp_path):
    status, _, error = run(
        tmp_path,
        "davs_jax.main",
        "--config",
        "configs/quickstart.py:word",
        "--workdir=w",
        "--config.data.clips=no/shards",
    )
    assert status == 1
    assert "no/shards holds no finished shards" in error

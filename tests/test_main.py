import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import configs
from davs_jax.training.stage import Stage

COMMON = "--config=configs/common.py"
REPOSITORY = Path(configs.__file__).parent.parent


def run(*arguments):
    """The command line's status, what it printed, and what it complained of."""
    command = [sys.executable, "-m", "davs_jax.main", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((COMMON, "--workdir=w", "--config.modle.width=1"), "did you mean --config.model.width?"),
        ((COMMON, "--workdir=w", "--config.bach_size", "4"), "did you mean --config.data.batch_size?"),
        ((COMMON, "--workdir=w", "--noconfig.data.filp"), "did you mean --config.data.flip?"),
        ((COMMON, "--workdir=w", "--config.seed=one"), "--config.seed=one"),
        ((COMMON, "--workdir=w", "--config.data.flip=perhaps"), "--config.data.flip=perhaps"),
        ((COMMON, "--workdir=w", "--confg=x"), "Unknown command line flag 'confg'"),
        ((COMMON, "--workdir=w", "steps=3"), "'steps=3' is not a flag"),
        ((COMMON,), "--workdir is missing"),
        (("--workdir=w",), "--config is missing"),
        (("--workdir=w", "--config=configs/nothing.py"), "--config=configs/nothing.py cannot be loaded"),
        (("--workdir=w", "--config=pyproject.toml"), "--config=pyproject.toml cannot be loaded"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_status_2(arguments, says):
    status, _, error = run(*arguments)
    assert status == 2
    assert says in error
    assert error.startswith("davs_jax.main: ") and error.count("\n") == 1


def test_a_run_that_cannot_start_is_one_sentence_and_status_1(tmp_path):
    status, _, error = run(COMMON, f"--workdir={tmp_path / 'w'}", "--config.data.clips=no/shards")
    assert status == 1
    assert "no/shards holds no finished shards" in error and "Traceback" not in error
    assert not (tmp_path / "w").exists()


def test_an_invalid_config_value_is_named_with_what_is_allowed(tmp_path):
    status, _, error = run(COMMON, f"--workdir={tmp_path / 'w'}", "--config.model.image_size=100")
    assert status == 1
    assert error == "davs_jax.main: config.model.image_size is 100; it must be one of (64, 128, 256, 512)\n"


def test_help_teaches_with_an_example():
    status, text, _ = run("--help")
    assert status == 0
    assert "example: python -m davs_jax.main --config configs/" in text
    assert "--workdir" in text


CONFIGURATIONS = [m.name for m in pkgutil.walk_packages(configs.__path__, "configs.") if not m.ispkg]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_describes_a_stage(name):
    stage = Stage.from_config(importlib.import_module(name).get_config())
    assert stage.batch
    assert set(stage.trained) <= set(stage.networks)

"""Every command prints under every encoding, and ends quietly where nobody reads what it prints."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import configs
from davs_jax import command_line

ROOT = Path(configs.__file__).parents[1]
INTERNAL = {"davs_jax.plan.compiling"}  # the compiler's process, which a person does not start


def commands() -> list[str]:
    """The modules that `python -m` runs."""
    files = [file for package in ("davs_jax", "data_prep") for file in (ROOT / package).rglob("*.py")]
    modules = {file.relative_to(ROOT).with_suffix("") for file in files if '__name__ == "__main__"' in file.read_text()}
    return sorted({".".join(module.parts).removesuffix(".__main__") for module in modules} - INTERNAL)


def absl(module: str) -> bool:
    """Whether a command's flags are absl's, of which a process takes one command's."""
    path = ROOT / module.replace(".", "/")
    return "app.run(" in (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


def run(*command: str, **options) -> subprocess.CompletedProcess:
    env = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PYTHONIOENCODING": "ascii"}
    return subprocess.run(
        [sys.executable, *command], stderr=subprocess.PIPE, text=True, env=env, timeout=300, **options
    )


def test_all_commands_are_found():
    assert len(commands()) > 15
    assert {"davs_jax.main", "davs_jax.generate", "davs_jax.sync", "data_prep.lrw", "data_prep.synthetic"} <= set(
        commands()
    )


def test_every_command_prints_in_ascii_and_to_a_pipe_that_nobody_reads():
    modules = [f"{m}.__main__" if (ROOT / m.replace(".", "/")).is_dir() else m for m in commands() if not absl(m)]
    lines = run(str(ROOT / "tests/support/commands.py"), *modules).stderr.splitlines()
    found = {line.split()[0]: line.split()[1:] for line in lines if re.fullmatch(r"\S+( \d+){3}", line)}
    assert set(found) == set(modules), "\n".join(lines[-20:])
    for name, (status, size, unread) in found.items():
        assert (int(status), int(unread)) == (0, command_line.CLOSED_PIPE), name
        assert int(size) > 100, name


@pytest.mark.parametrize("module", [name for name in commands() if absl(name)])
def test_commands_of_absl_do_so_too(module):
    done = run("-m", module, "--help", stdout=subprocess.PIPE)
    assert done.returncode == 0 and "--config" in done.stdout, done.stderr
    read, write = os.pipe()
    os.close(read)
    done = run("-m", module, "--help", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (command_line.CLOSED_PIPE, "")


def test_characters_that_the_encoding_lacks_become_question_marks():
    done = run("-m", "davs_jax.models", "--config.model.image_size=64", stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert "64?64?3" in done.stdout


def test_a_full_disk_behind_the_output_is_one_sentence():
    with open("/dev/full", "w") as full:
        done = run("-m", "davs_jax.models", "--help", stdout=full)
    assert done.returncode == 1
    assert done.stderr == "the standard output cannot be written (No space left on device)\n"


def test_a_broken_pipe_elsewhere_is_an_error():
    @command_line.command
    def main():
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        main()

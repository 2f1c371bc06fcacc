"""A changed bit in any file of a checkpoint, of exported weights or of the demo is seen before the file is used."""

import contextlib
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from davs_jax import checkpoint
from davs_jax.checkpoint import Checkpoints, checksums
from davs_jax.checkpoint.__main__ import main
from davs_jax.checkpoint.export import CONFIG, DEMO, WEIGHTS
from davs_jax.errors import CheckpointError
from support.saved import abstract, assert_equal, save, small_state
from support.tiny_data import tiny

LIST = "checksums-0-of-1.txt"
KINDS = {
    "array data": "state/ocdbt.process_0/d/*",
    "index of one process": "state/ocdbt.process_0/manifest.ocdbt",
    "merged index": "state/manifest.ocdbt",
    "nodes of the merged index": "state/d/*",
    "shapes": "state/_METADATA",
    "shardings": "state/_sharding",
    "array metadata": "state/array_metadatas/process_0",
    "configuration": "config/metadata",
    "figures": "metrics/metrics",
    "mark of the end": "_CHECKPOINT_METADATA",
    "checksums": LIST,
}
PLACES = ((0, 0), (0.25, 7), (0.5, 3), (0.75, 5), (1, 1))  # from the first byte, 0, to the last, 1; bit


def flip(file: Path, position: float, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[round(position * (len(content) - 1))] ^= 1 << bit
    file.write_bytes(content)


def files_of(step: Path, kind: str) -> list[Path]:
    found = sorted(step.glob(KINDS[kind]))
    assert found, f"Orbax writes no {KINDS[kind]} any more"
    return found


def open_quietly(workdir, **options):
    """Opens and closes the checkpoints of a run."""
    with contextlib.closing(Checkpoints(workdir, 3, "", **options)) as opened:
        return opened


@pytest.fixture(scope="module")
def saved(clips_folder, tmp_path_factory):
    """A workdir with steps 3 and 6."""
    config = tiny(common.get_config("word"), clips_folder, "")
    return save(tmp_path_factory.mktemp("saved"), config, 3, 6, figures={6: {"video_accuracy": 0.5}})


@pytest.fixture
def workdir(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


@pytest.fixture
def exported(saved, tmp_path):
    checkpoint.export_weights(saved, tmp_path / "exported")
    return tmp_path / "exported"


def test_the_checksums_list_every_file(saved):
    step = saved / "checkpoints" / "6"
    *lines, _ = (step / LIST).read_text().splitlines()
    files = {str(file.relative_to(step)) for file in step.rglob("*") if file.is_file()}
    assert {line.split(" ", 2)[2] for line in lines} == files - {LIST}
    assert {glob for glob in KINDS.values() if not list(step.glob(glob))} == set()


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_in_a_checkpoint_is_seen_and_the_one_before_is_used(saved, tmp_path, kind, caplog):
    step, older = saved / "checkpoints" / "6", small_state(3)
    for file in files_of(step, kind):
        for number, (position, bit) in enumerate(PLACES):
            copy = shutil.copytree(saved, tmp_path / f"{file.name}-{number}")
            flip(copy / "checkpoints" / "6" / file.relative_to(step), position, bit)
            caplog.clear()
            _, params, _ = checkpoint.load_weights(copy)
            assert_equal(params, older.params | older.ema)
            (warning,) = (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
            assert re.search(r"checkpoints/6 is damaged \(.*\); an earlier checkpoint is used instead", warning)
            opened = open_quietly(copy)
            assert opened.damaged.keys() == {"6"} and opened.latest == 3


def test_the_damaged_file_is_named(workdir):
    step = workdir / "checkpoints" / "6"
    (file, *_) = files_of(step, "array data")
    name = file.relative_to(step)
    flip(file, 0.5, 0)
    with pytest.raises(CheckpointError, match=rf"checkpoints/6 is damaged \({name} is not as it was written\); use"):
        checkpoint.load_weights(step)
    assert open_quietly(workdir).damaged == {"6": f"{name} is not as it was written"}


def test_a_file_that_is_lost_or_cut_is_seen(workdir):
    (cut, *_), (lost, *_) = (files_of(workdir / "checkpoints" / step, "array data") for step in "63")
    cut.write_bytes(cut.read_bytes()[:-1])
    assert open_quietly(workdir).damaged.keys() == {"6"}
    lost.unlink()
    says = rf"checkpoints has no undamaged checkpoint: 3 \(.*{lost.name} cannot be read: No such file"
    for read in (open_quietly, checkpoint.load_weights):
        with pytest.raises(CheckpointError, match=says) as caught:
            read(workdir)
        assert "\n" not in str(caught.value)
    assert (workdir / "checkpoints" / "3").exists()  # nothing is renamed where nothing else can be used


def test_a_damaged_step_is_saved_anew(workdir, word_config):
    flip(files_of(workdir / "checkpoints" / "6", "array data")[0], 0.5, 0)
    with contextlib.closing(Checkpoints(workdir, 3, "")) as opened:
        assert_equal(opened.restore_latest(word_config, abstract(small_state()))[0], small_state(3, 3))
        opened.save(6, small_state(6, 6), word_config)
    assert (workdir / "checkpoints" / "damaged-6").exists()
    with contextlib.closing(Checkpoints(workdir, 3, "")) as again:
        assert (again.latest, again.damaged, again.unverified) == (6, {}, False)
        assert_equal(again.restore_latest(word_config, abstract(small_state()))[0], small_state(6, 6))


def test_saving_does_not_wait_for_the_checksums(tmp_path, word_config, monkeypatch):
    write, go_on = checksums.write, threading.Event()
    monkeypatch.setattr(checksums, "write", lambda *arguments: go_on.wait(60) and write(*arguments))
    checkpoints = Checkpoints(tmp_path, 3, "")
    checkpoints.save(1, small_state(), word_config)  # returns, though no checksum can be written yet
    assert checkpoints.unverified
    go_on.set()
    checkpoints.save(2, small_state(), word_config)
    assert checksums.complete(tmp_path / "checkpoints" / "1")
    checkpoints.close()
    assert checksums.complete(tmp_path / "checkpoints" / "2")


def test_checksums_that_cannot_be_written_fail_the_run(tmp_path, word_config, monkeypatch):
    def full(*arguments):
        raise OSError("No space left on device")

    checkpoints = Checkpoints(tmp_path, 3, "")
    monkeypatch.setattr(checksums, "write", full)
    checkpoints.save(1, small_state(), word_config)
    with pytest.raises(CheckpointError, match=r"could not be written \(No space left on device\); make room"):
        checkpoints.close()


def test_a_checkpoint_without_checksums_is_used(workdir, word_config, caplog):
    """An earlier version saved it, or the run was killed before it wrote them."""
    (workdir / "checkpoints" / "6" / LIST).unlink()
    checkpoint.load_weights(workdir)
    assert not caplog.records
    with contextlib.closing(Checkpoints(workdir, 3, "")) as opened:
        assert (opened.latest, opened.unverified) == (6, True)
        assert_equal(opened.restore_latest(word_config, abstract(small_state()))[0], small_state(6, 6))


def test_an_older_checkpoint_with_damaged_figures_does_not_stop_the_run(workdir):
    flip(workdir / "checkpoints" / "3" / KINDS["figures"], 0, 0)
    opened = open_quietly(workdir)
    assert (opened.latest, opened.damaged) == (6, {"3": "a part is missing or unreadable"})


def test_verifying_can_be_left_out(workdir, word_config):
    (file, *_) = files_of(workdir / "checkpoints" / "6", "shardings")
    flip(file, 0, 0)
    with contextlib.closing(Checkpoints(workdir, 3, "", verify=False)) as opened:
        assert (opened.latest, opened.damaged) == (6, {})
        opened.save(9, small_state(9, 9), word_config)
    assert not checksums.exist(workdir / "checkpoints" / "9")


def test_the_command_line_verifies_every_checkpoint(workdir, capsys):
    assert main(["verify", str(workdir)]) == 0
    assert capsys.readouterr().out.split() == ["6", "undamaged", "3", "undamaged"]
    flip(workdir / "checkpoints" / "3" / "_CHECKPOINT_METADATA", 0, 0)
    (workdir / "checkpoints" / "6" / LIST).unlink()
    assert main(["verify", str(workdir)]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.split(maxsplit=1) == ["6", "not verified: it has no checksums of all its files"]
    assert second.split(maxsplit=1) == ["3", "damaged: a part is missing or unreadable"]
    main(["ls", str(workdir)])
    assert "3  is damaged, and is not used: a part is missing" in capsys.readouterr().out


def test_the_command_line_verifies_one_checkpoint_or_an_exported_folder(workdir, exported, capsys):
    for folder, name in ((workdir / "checkpoints" / "6", "6"), (exported, exported.name)):
        assert main(["verify", str(folder)]) == 0
        assert capsys.readouterr().out.split() == [name, "undamaged"]
    flip(exported / WEIGHTS, 0.5, 3)
    assert main(["verify", str(exported)]) == 1
    assert capsys.readouterr().out.strip().endswith(f"damaged: {WEIGHTS} is not as it was written")
    (exported / LIST).unlink()
    assert main(["verify", str(exported)]) == 0
    assert "not verified: it has no checksums" in capsys.readouterr().out


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, LIST])
@pytest.mark.parametrize("source", ["exported", "demo"])
def test_a_flipped_bit_in_exported_weights_is_seen(request, tmp_path, source, name):
    folder = Path(DEMO) if source == "demo" else request.getfixturevalue("exported")
    checkpoint.load_weights(folder)
    for number, (position, bit) in enumerate(PLACES):
        copy = shutil.copytree(folder, tmp_path / str(number))
        flip(copy / name, position, bit)
        with pytest.raises(CheckpointError, match=rf"{number} is damaged \({name} is not as it was written\); use"):
            checkpoint.load_weights(copy)


def test_exported_weights_of_earlier_versions_load(exported, caplog):
    _, expected, _ = checkpoint.load_weights(exported)
    (exported / LIST).unlink()
    _, params, _ = checkpoint.load_weights(exported)
    assert_equal(params, expected)
    assert not caplog.records


def test_a_weight_that_is_not_finite_is_refused(tmp_path, word_config):
    state = small_state()
    kernel = state.ema["audio_encoder"]["fc"]["kernel"]
    state.ema["audio_encoder"]["fc"]["kernel"] = kernel.at[1, 2].set(jnp.inf)
    with contextlib.closing(Checkpoints(tmp_path, 3, "")) as checkpoints:
        checkpoints.save(1, state, word_config)
    says = r"checkpoints/1 holds numbers that are not finite, in ema/audio_encoder/fc/kernel; use"
    with pytest.raises(CheckpointError, match=says):
        checkpoint.load_weights(tmp_path)
    with contextlib.closing(Checkpoints(tmp_path, 3, "")) as checkpoints, pytest.raises(CheckpointError, match=says):
        checkpoints.restore_latest(word_config, abstract(small_state()))


def test_an_exported_weight_that_is_not_finite_is_refused(exported):
    with np.load(exported / WEIGHTS) as stored:
        arrays = dict(stored)
    arrays["params/audio_encoder/fc/bias"][3] = np.nan
    np.savez(exported / WEIGHTS, **arrays)
    checksums.write(checkpoint.as_path(exported), (CONFIG, WEIGHTS))
    with pytest.raises(CheckpointError, match=r"not finite, in params/audio_encoder/fc/bias"):
        checkpoint.load_weights(exported)


TWO = """
import json, sys
from ml_collections import ConfigDict
from davs_jax import checkpoint
from davs_jax.parallel import processes, sharding
from davs_jax.training import state
from davs_jax.training.stage import Stage
processes.initialize()
workdir, steps = sys.argv[1], sys.argv[2:]
config = ConfigDict(json.load(open(f"{workdir}/config.json")))
config.mesh.fsdp = 4
mesh = sharding.make_mesh(config.mesh)
checkpoints = checkpoint.Checkpoints(workdir, 3, "")
if checkpoints.latest:
    checkpoints.restore_latest(config, state.abstract_state(Stage.from_config(config), mesh))
now = state.init_state(Stage.from_config(config), mesh) if steps else None
for step in steps:
    checkpoints.save(int(step), now, config)
checkpoints.close()
print(json.dumps([checkpoints.latest, checkpoints.damaged]))
"""


@pytest.mark.cluster
def test_every_process_writes_the_checksums_of_its_files_and_all_agree_on_what_is_damaged(tmp_path, word_config):
    (tmp_path / "config.json").write_text(word_config.to_json())

    def job(*steps):
        """What each of two processes says at its end."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        own = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
        own |= {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", TWO, tmp_path, *steps],
                env=os.environ | own | {"JAX_PROCESS_ID": str(i)},
                stdout=subprocess.PIPE,
                text=True,
            )
            for i in range(2)
        ]
        said = [process.communicate(timeout=300)[0].splitlines()[-1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0]
        return [json.loads(line) for line in said]

    assert job("3", "6") == [[6, {}], [6, {}]]
    step = tmp_path / "checkpoints" / "6"
    lists = [(step / f"checksums-{i}-of-2.txt").read_text().splitlines()[:-1] for i in range(2)]
    first, second = ({line.split(" ", 2)[2] for line in lines} for lines in lists)
    files = {str(file.relative_to(step)) for file in step.rglob("*") if not file.name.startswith("checksums-")}
    assert not first & second and first | second == {name for name in files if (step / name).is_file()}
    assert second == {name for name in first | second if "process_1" in name} != set()
    assert checksums.damage(checkpoint.as_path(step)) is None and checksums.complete(checkpoint.as_path(step))
    damaged = sorted(second)[0]
    flip(step / damaged, 0.5, 0)
    assert job() == [[3, {"6": f"{damaged} is not as it was written"}]] * 2
    assert (tmp_path / "checkpoints" / "damaged-6").exists()

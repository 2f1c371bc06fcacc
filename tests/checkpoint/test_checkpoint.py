import json
import os
import resource
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import pytest

from davs_jax import checkpoint
from davs_jax.checkpoint import Checkpoints
from davs_jax.checkpoint.__main__ import main
from davs_jax.errors import CheckpointError
from davs_jax.parallel import sharding
from davs_jax.training.stage import Stage
from davs_jax.training.state import abstract_state
from support.saved import abstract, assert_equal, save, small_state
from support.steps import random_state


def test_a_state_comes_back_bit_for_bit_with_its_configuration(workdir, word_config):
    checkpoints = Checkpoints(workdir, 3, "video_accuracy")
    state, config = checkpoints.restore_latest(word_config, abstract(small_state()))
    assert checkpoints.latest == 6
    assert_equal(state, small_state(6, 6))
    assert checkpoint.changes(config, word_config) == []


def test_the_latest_are_kept_and_the_best_beside_them(tmp_path, word_config):
    accuracies = {1: 0.1, 2: 0.9, 4: 0.3, 5: 0.2}
    figures = {step: {"video_accuracy": value, "audio_accuracy": 1.0} for step, value in accuracies.items()}
    workdir = save(tmp_path, word_config, 1, 2, 3, 4, 5, figures=figures, keep=2)
    assert checkpoint.checkpoint_steps(workdir) == [2, 4, 5]


def test_every_so_many_steps_a_checkpoint_is_kept_for_good(tmp_path, word_config):
    figures = {3: {"video_accuracy": 0.5}}
    workdir = save(tmp_path, word_config, 1, 2, 3, 4, 5, 6, 7, 8, figures=figures, keep=1, keep_every=4)
    assert checkpoint.checkpoint_steps(workdir) == [3, 4, 8]


def test_without_validation_only_the_latest_are_kept(tmp_path, word_config):
    workdir = save(tmp_path, word_config, 1, 2, 3, 4, keep=2)
    assert checkpoint.checkpoint_steps(workdir) == [3, 4]


def test_saving_a_step_again_changes_nothing(workdir, word_config):
    save(workdir, word_config, 6)
    assert checkpoint.checkpoint_steps(workdir) == [3, 6]


def test_a_failed_save_is_told(tmp_path, word_config):
    checkpoints = Checkpoints(tmp_path, 3, "")
    (tmp_path / "checkpoints").rmdir()
    (tmp_path / "checkpoints").write_text("no folder any more")
    with pytest.raises(CheckpointError, match=r"checkpoints could not be written .*run again"):
        checkpoints.save(1, small_state(), word_config)
        checkpoints.close()


def test_a_disk_without_room_is_told_before_anything_is_written(workdir, word_config, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: types.SimpleNamespace(free=2_000))
    checkpoints = Checkpoints(workdir, 3, "")
    says = r"checkpoints has room for 0.0 MB, and a checkpoint takes \d.*; make room, or lower config.checkpoint.keep"
    with pytest.raises(CheckpointError, match=says):
        checkpoints.save(9, small_state(9, 9, shape=(256, 256)), word_config)
    checkpoints.close()
    assert checkpoint.checkpoint_steps(workdir) == [3, 6]
    assert checkpoint.unfinished(workdir) == []


def test_a_disk_that_is_full_stops_the_run_and_leaves_the_last_checkpoint(workdir, word_config):
    """A limit on the size of files stands in for the full disk: the operating system refuses the writes as there."""
    checkpoints = Checkpoints(workdir, 1, "")
    large = small_state(9, 9, shape=(256, 256))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"checkpoints could not be written .*make room"):
            checkpoints.save(9, large, word_config)
            checkpoints.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert checkpoint.checkpoint_steps(workdir) == [3, 6]
    assert [path.name[:1] for path in checkpoint.unfinished(workdir)] == ["9"]
    again = Checkpoints(workdir, 3, "")
    assert [name[:1] for name in again.unfinished] == ["9"]
    state, _ = again.restore_latest(word_config, abstract(small_state()))
    assert_equal(state, small_state(6, 6))
    again.save(9, small_state(9, 9), word_config)
    again.close()
    assert checkpoint.checkpoint_steps(workdir) == [3, 6, 9]
    assert checkpoint.unfinished(workdir) == []


@pytest.mark.parametrize("lost", ["_CHECKPOINT_METADATA", "config/metadata", "state/_METADATA", "state/manifest.ocdbt"])
def test_a_checkpoint_that_lost_a_part_is_never_chosen(without_checksums, word_config, lost, capsys):
    workdir = without_checksums
    (workdir / "checkpoints" / "6" / lost).write_bytes(b"")
    assert checkpoint.checkpoint_steps(workdir) == [3]
    assert checkpoint.find_checkpoint(workdir).name == "3"
    main(["ls", str(workdir)])
    assert capsys.readouterr().out.splitlines()[-1].split()[:5] == ["6", "was", "not", "finished,", "and"]
    checkpoints = Checkpoints(workdir, 3, "")
    assert (checkpoints.unfinished, checkpoints.latest) == (["6"], 3)
    checkpoints.save(6, small_state(6, 6), word_config)
    checkpoints.close()
    assert checkpoint.checkpoint_steps(workdir) == [3, 6]


def test_a_run_goes_on_in_another_compute_type(workdir, word_config):
    word_config.model.dtype = "bfloat16"
    state, saved = Checkpoints(workdir, 3, "").restore_latest(word_config, abstract(small_state()))
    assert_equal(state, small_state(6, 6))
    assert saved.model.dtype == "float32"


def test_another_model_is_refused_with_what_differs(workdir, word_config):
    word_config.model.width = 0.25
    with pytest.raises(CheckpointError, match=r"another model \(width: 0.0625 → 0.25 now\).*config.init_from"):
        Checkpoints(workdir, 3, "").restore_latest(word_config, abstract(small_state()))


def test_another_stage_is_refused_with_what_is_missing(workdir, word_config):
    state = small_state()
    more = abstract(state.replace(params=state.params | {"decoder": {"kernel": jnp.ones(3)}}))
    with pytest.raises(CheckpointError, match=r"params/decoder/kernel is missing there and \(3,\) here \(1 such\)"):
        Checkpoints(workdir, 3, "").restore_latest(word_config, more)


def test_changes_of_other_settings_are_listed(word_config):
    other = word_config.copy_and_resolve_references()
    other.data.batch_size, other.trained = 8, ("visual_encoder",)
    assert checkpoint.changes(word_config, other) == [
        "data/batch_size: 4 → 8",
        "trained: ['visual_encoder', 'audio_encoder', 'word_classifier'] → ['visual_encoder']",
    ]


def test_the_command_line_lists_shows_and_exports(tmp_path, word_config, capsys):
    workdir = str(save(tmp_path / "run", word_config, 1, 2, figures={1: {"video_accuracy": 0.75}}))
    assert main(["ls", workdir]) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:2] == ["1", "0.7500"] and first.endswith(
        "word_classifier; 64 px, width 0.0625, float32, batch 4  best"
    )
    assert second.split()[:2] == ["2", "–"] and second.endswith("as above")
    assert main(["export", workdir, str(tmp_path / "out")]) == 0
    assert main(["show", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown[: shown.rindex("}") + 1])["model"]["num_words"] == 4
    assert "visual_encoder            40 parameters" in shown


def test_the_command_line_says_in_one_sentence_what_is_wrong(tmp_path):
    with pytest.raises(SystemExit, match=r"python -m davs_jax.checkpoint: .* holds no weights"):
        main(["ls", str(tmp_path)])


def test_saved_on_eight_devices_restored_on_one(tmp_path, word_config):
    (tmp_path / "config.json").write_text(word_config.to_json())
    code = f"""
import json, sys
import jax
from ml_collections import ConfigDict
from davs_jax import checkpoint
from davs_jax.parallel import sharding
from davs_jax.training.stage import Stage
sys.path.insert(0, "tests")
from support.steps import random_state
config = ConfigDict(json.load(open({str(tmp_path / "config.json")!r})))
config.mesh.fsdp = 4
now = random_state(Stage.from_config(config), sharding.make_mesh(config.mesh))
assert any(len(leaf.sharding.device_set) == 8 and not leaf.is_fully_replicated for leaf in jax.tree.leaves(now))
checkpoints = checkpoint.Checkpoints({str(tmp_path)!r}, 1, "")
checkpoints.save(1, now, config)
checkpoints.close()
"""
    eight = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    subprocess.run([sys.executable, "-c", code], env=os.environ | eight, check=True, timeout=300)
    mesh = sharding.make_mesh(word_config.mesh, jax.devices()[:1])
    checkpoints = Checkpoints(tmp_path, 1, "")
    state, _ = checkpoints.restore_latest(word_config, abstract_state(Stage.from_config(word_config), mesh))
    assert_equal(state, random_state(Stage.from_config(word_config), mesh))

import json
import os
import resource
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from davs_jax import checkpoint
from davs_jax.checkpoint import Checkpoints
from davs_jax.checkpoint.__main__ import main
from davs_jax.checkpoint.export import leaves
from davs_jax.errors import CheckpointError
from davs_jax.parallel import sharding
from davs_jax.training.stage import Stage
from davs_jax.training.state import DavsState, abstract_state, init_state
from support.steps import random_state

NETWORKS = ("visual_encoder", "audio_encoder", "word_classifier", "modality_discriminator")


def small_state(seed=0, step=0, shape=(4, 8)) -> DavsState:
    """A state of the word stage's networks, of one layer each."""
    rng = np.random.default_rng(seed)

    def layer():
        return {"fc": {"kernel": jnp.asarray(rng.normal(size=shape), jnp.float32), "bias": jnp.ones(8)}}

    params = {name: layer() for name in NETWORKS}
    return DavsState(
        step=jnp.int32(step),
        params=params,
        batch_stats={name: {} if "class" in name else {"bn": {"var": jnp.full(8, 1e6)}} for name in NETWORKS},
        opt={"generator": layer(), "discriminator": layer()},
        ema={name: layer() for name in NETWORKS[:3]},
    )


def abstract(state):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state)


def assert_equal(tree, expected):
    found, wanted = leaves(tree), leaves(expected)
    assert found.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)


def save(workdir, config, *steps, figures=None, keep=3, keep_every=0):
    checkpoints = Checkpoints(workdir, keep, "video_accuracy", keep_every)
    for step in steps:
        checkpoints.save(step, small_state(step, step), config, (figures or {}).get(step))
    checkpoints.close()
    return workdir


@pytest.fixture
def workdir(tmp_path, word_config):
    return save(tmp_path / "run", word_config, 3, 6)


@pytest.fixture
def without_checksums(workdir):
    """As an earlier version saved it."""
    for file in workdir.rglob("checksums-*.txt"):
        file.unlink()
    return workdir


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


def test_weights_of_a_workdir_are_its_latest_averages(workdir):
    config, params, batch_stats = checkpoint.load_weights(workdir)
    state = small_state(6, 6)
    assert_equal(params, state.params | state.ema)
    assert_equal(batch_stats, state.batch_stats)
    assert config.model.num_words == 4
    assert all(isinstance(leaf, np.ndarray) for leaf in leaves(params).values())


def test_weights_of_one_checkpoint_are_that_one(workdir):
    _, params, _ = checkpoint.load_weights(workdir / "checkpoints" / "3")
    assert_equal(params["modality_discriminator"], small_state(3).params["modality_discriminator"])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("float16", 1e-3)])
def test_an_exported_folder_gives_the_weights_back_without_adversaries(workdir, tmp_path, dtype, tolerance):
    checkpoint.export_weights(workdir, tmp_path / "out", dtype)
    config, params, batch_stats = checkpoint.load_weights(tmp_path / "out")
    assert sorted(params) == sorted(NETWORKS[:3])
    for name, leaf in leaves({n: small_state(6).ema[n] for n in params}).items():
        np.testing.assert_allclose(leaves(params)[name], leaf, rtol=tolerance, atol=tolerance)
    assert batch_stats["visual_encoder"]["bn"]["var"][0] == 1e6  # float16 ends at 65,504
    assert batch_stats["word_classifier"] == {}
    assert config.model.width == 1 / 16


def test_numbers_that_do_not_fit_are_refused(tmp_path, word_config):
    params = {"decoder": {"kernel": np.float32([1e6])}}
    with pytest.raises(CheckpointError, match="decoder/kernel holds numbers that are not finite in float16"):
        checkpoint.save_weights(tmp_path, word_config, params, {})


@pytest.mark.parametrize("damage", ["_METADATA", "manifest.ocdbt"])
def test_a_damaged_checkpoint_is_one_sentence(without_checksums, damage):
    for file in (without_checksums / "checkpoints" / "6" / "state").rglob(damage):
        file.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"checkpoints/6 cannot be read .*delete it, or name another") as caught:
        checkpoint.load_weights(without_checksums)
    assert "\n" not in str(caught.value)


def test_a_damaged_export_is_one_sentence(workdir, tmp_path):
    checkpoint.export_weights(workdir, tmp_path / "out")
    (tmp_path / "out" / "weights.npz").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"out is damaged \(weights.npz is not as it was written"):
        checkpoint.load_weights(tmp_path / "out")


def test_a_folder_without_weights_says_what_to_name(tmp_path):
    with pytest.raises(CheckpointError, match=rf"{tmp_path} holds no weights; name a workdir"):
        checkpoint.load_weights(tmp_path)


@pytest.fixture
def exported(workdir, tmp_path):
    checkpoint.export_weights(workdir, tmp_path / "exported", "float32")
    return tmp_path / "exported"


def test_init_from_takes_each_network_from_the_first_place_that_has_it(workdir, exported, word_config):
    word_config.init_from = f"{exported}, {workdir}/checkpoints/3"
    six, three = small_state(6), small_state(3)
    given, origins = checkpoint.init_from(word_config, small_state(9))
    assert origins == dict.fromkeys(NETWORKS[:3], str(exported)) | {NETWORKS[3]: f"{workdir}/checkpoints/3"}
    assert_equal({n: given[n]["params"] for n in given}, six.ema | {NETWORKS[3]: three.params[NETWORKS[3]]})
    assert_equal({n: given[n]["batch_stats"] for n in given}, six.batch_stats)


def test_init_from_refuses_encoders_that_learnt_other_word_vectors(exported, word_config):
    word_config.init_from, word_config.model.wid_norm = str(exported), "mean"
    says = r"exported: its \w+ was trained with config.model.wid_norm 'none', and this stage has 'mean'; set --config"
    with pytest.raises(CheckpointError, match=says):
        checkpoint.init_from(word_config, small_state(9))


def test_weights_of_the_first_version_do_not_normalise_word_vectors(tmp_path, word_config):
    """Their configurations do not know the setting."""
    old = word_config.copy_and_resolve_references()
    del old.model["wid_norm"]
    save(tmp_path / "run", old, 1)
    assert checkpoint.load_weights(tmp_path / "run")[0].model.wid_norm == "none"
    checkpoint.export_weights(tmp_path / "run", tmp_path / "out")
    assert checkpoint.load_weights(tmp_path / "out")[0].model.wid_norm == "none"
    checkpoints = Checkpoints(tmp_path / "run", 1, "")
    assert int(checkpoints.restore_latest(word_config, abstract(small_state(1, 1)))[0].step) == 1
    word_config.model.wid_norm = "mean"
    with pytest.raises(CheckpointError, match=r"made with another model \(wid_norm: none → mean now\)"):
        checkpoints.restore_latest(word_config, abstract(small_state(1, 1)))


def test_init_from_leaves_fresh_what_it_does_not_find(exported, word_config):
    word_config.init_from = str(exported)
    given, origins = checkpoint.init_from(word_config, small_state(9))
    assert given.keys() == set(NETWORKS[:3])
    assert origins["modality_discriminator"] == "fresh"


def test_a_first_state_holds_what_is_given_and_is_fresh_elsewhere(audio_config):
    audio_config.optim.ema_decay = 0.9
    mesh = sharding.make_mesh(audio_config.mesh, jax.devices()[:1])
    fresh = init_state(Stage.from_config(audio_config), mesh)
    given = {
        "audio_encoder": {
            "params": jax.tree.map(lambda leaf: leaf + 1, fresh.params["audio_encoder"]),
            "batch_stats": fresh.batch_stats["audio_encoder"],
        }
    }
    state = init_state(Stage.from_config(audio_config), mesh, given)
    expected = fresh.params | {"audio_encoder": given["audio_encoder"]["params"]}
    assert_equal(state.params, expected)
    assert_equal(state.batch_stats, fresh.batch_stats)
    assert_equal(state.ema, {name: expected[name] for name in state.ema})  # a first average starts at the weights
    assert "audio_encoder" in state.ema
    assert_equal(state.opt, fresh.opt)


def test_init_from_refuses_a_network_that_must_be_found_and_is_not(exported, word_config):
    word_config.update(init_from=str(exported), init_networks=("modality_discriminator",))
    with pytest.raises(CheckpointError, match=r"config.init_networks wants modality_discriminator, found nowhere"):
        checkpoint.init_from(word_config, small_state(9))


def test_init_from_is_strict_about_shapes(exported, word_config):
    word_config.init_from = str(exported)
    says = r"exported: visual_encoder, leaf fc/kernel: expected \(5, 8\), found \(4, 8\); set config.model"
    with pytest.raises(CheckpointError, match=says):
        checkpoint.init_from(word_config, small_state(9, shape=(5, 8)))


def test_init_from_is_strict_about_names(exported, word_config):
    word_config.init_from, state = str(exported), small_state(9)
    state.params["audio_encoder"]["conv"] = {"kernel": jnp.ones(2)}
    with pytest.raises(CheckpointError, match=r"leaf conv/kernel: expected \(2,\), found no such leaf"):
        checkpoint.init_from(word_config, state)


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

"""Weights of runs and exported folders, and the first state of a run made from them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from davs_jax import checkpoint
from davs_jax.checkpoint import Checkpoints
from davs_jax.checkpoint.export import leaves
from davs_jax.errors import CheckpointError
from davs_jax.parallel import sharding
from davs_jax.training.stage import Stage
from davs_jax.training.state import init_state
from support.saved import NETWORKS, abstract, assert_equal, save, small_state


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


def test_a_word_classifier_is_added_from_the_run_that_trained_the_encoders(workdir, tmp_path, word_config):
    config, params, batch_stats = checkpoint.load_weights(workdir)
    config.words = ("A", "B", "C", "D")
    checkpoint.save_weights(tmp_path / "words", config, params, batch_stats, "float32")
    config.words, config.model.num_words = (), 2
    without = {name: tree for name, tree in params.items() if name != "word_classifier"}
    checkpoint.save_weights(tmp_path / "generator", config, without, batch_stats, "float32")
    checkpoint.export_weights(tmp_path / "generator", tmp_path / "out", "float32", words=tmp_path / "words")
    made, found, _ = checkpoint.load_weights(tmp_path / "out")
    assert_equal(found["word_classifier"], params["word_classifier"])
    assert (tuple(made.words), made.model.num_words) == (("A", "B", "C", "D"), 4)
    with pytest.raises(CheckpointError, match=r"have different weights in \w+; name the run from which"):
        checkpoint.export_weights(tmp_path / "generator", tmp_path / "out", words=workdir / "checkpoints" / "3")


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


def test_init_from_refuses_an_audio_encoder_that_learnt_another_spectrum(exported, word_config):
    word_config.init_from, word_config.model.spectrum = str(exported), "log_mel"
    says = (
        r"its audio_encoder was trained with config.model.spectrum 'mfcc', and this stage has 'log_mel'; set --config"
    )
    with pytest.raises(CheckpointError, match=says):
        checkpoint.init_from(word_config, small_state(9))


@pytest.mark.parametrize(
    ("words", "says"),
    [("ABDC", "with 'C' as word 2, and this stage has 'D'"), ("ABCDE", "with 4 words, and this stage has 5")],
)
def test_init_from_refuses_a_classifier_of_other_words(workdir, tmp_path, word_config, words, says):
    its, params, batch_stats = checkpoint.load_weights(workdir)
    its.words = tuple("ABCD")
    checkpoint.save_weights(tmp_path / "words", its, params, batch_stats, "float32")
    word_config.init_from, word_config.words = str(tmp_path / "words"), tuple("ABCD")
    assert checkpoint.init_from(word_config, small_state(9))[1]["word_classifier"] == word_config.init_from
    word_config.words = tuple(words)
    with pytest.raises(CheckpointError, match=f"its word_classifier was trained {says}"):
        checkpoint.init_from(word_config, small_state(9))


def test_weights_of_the_first_version_behave_as_they_did(tmp_path, word_config):
    """Their configurations lack later settings."""
    old, later = (
        word_config.copy_and_resolve_references(),
        ("wid_norm", "wid_dim", "sync_size", "flow", "flow_stride", "visual_size", "spectrum"),
    )
    old.model.embed_dim = 64
    for key in later:
        del old.model[key]
    save(tmp_path / "run", old, 1)
    checkpoint.export_weights(tmp_path / "run", tmp_path / "out")
    for folder in ("run", "out"):
        model = checkpoint.load_weights(tmp_path / folder)[0].model
        assert tuple(model[key] for key in later) == ("none", 64, 224, False, 4, 0, "mfcc")
    word_config.model.update(embed_dim=64, wid_dim=64, sync_size=224)
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


def test_init_from_refuses_a_network_that_the_stage_does_not_use(exported, word_config):
    word_config.update(init_from=str(exported), init_networks=("decoder",))
    with pytest.raises(CheckpointError, match=r"wants decoder, which no term of this stage uses; leave it out"):
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

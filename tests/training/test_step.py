"""The one step: which term moves which network, what a stage reads."""

import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from davs_jax.parallel import sharding
from davs_jax.training import losses, state, step
from support.steps import random_batch, tiny

ALL = P, V, A, D, W, C, S = (
    "person_encoder",
    "visual_encoder",
    "audio_encoder",
    "decoder",
    "word_classifier",
    "person_classifier",
    "syncnet",
)

# Every term of the generator player's loss by its full name, and exactly the networks that it moves.
MOVES = {
    "person_ce": {P, C},
    "word_ce_audio": {A, W},
    "word_ce_video": {V, W},
    "contrastive": {A},  # the video side is detached
    "modality_audio": {A},
    "modality_video": {V},
    "pid_uniform": {P},
    "wid_uniform": {V},
    "l1_audio": {P, A, D},
    "l1_video": {P, V, D},
    "mouth_audio": {P, A, D},
    "mouth_video": {P, V, D},
    "mouth_l2_audio": {P, A, D},
    "mouth_l2_video": {P, V, D},
    "temporal": {P, A, D},
    "gan_sequence_patch": {P, V, A, D},
    "gan_sequence_match": {P, V, A, D},
    "gan_frame_patch": {P, V, A, D},
    "gan_frame_match": {P, V, A, D},
    "sync": {S},
}
OPPONENT_MOVES = {
    "modality": {"modality_discriminator"},
    "word_adversary": {"word_adversary"},
    "person_adversary": {"person_adversary"},
    "sequence_discriminator_patch": {"sequence_discriminator"},
    "sequence_discriminator_match": {"sequence_discriminator"},
    "frame_discriminator_patch": {"frame_discriminator"},
    "frame_discriminator_match": {"frame_discriminator"},
}


def norms(gradients: dict) -> dict[str, float]:
    return {name: sum(float(jnp.sum(jnp.abs(g))) for g in jax.tree.leaves(tree)) for name, tree in gradients.items()}


@pytest.fixture(scope="module")
def gradient_of_term():
    """(player, full term name, wid_gradient) → {network: size of the term's gradient}; compiled once a player."""
    config = ConfigDict(tiny().to_dict(), type_safe=False)  # wid_gradient will be traced
    config.trained = ALL
    config.loss.update(dict.fromkeys(config.loss, 1.0))
    config.model.sequence_frames = 1
    config.bn_grouping = "official"  # in one batch, batch norm would couple the two drivings
    batch, key = random_batch(config), jax.random.key(1)
    fresh = jax.jit(lambda: state._init(config, {}), compiler_options={"xla_backend_optimization_level": 0})()
    opponents = state.adversaries(config)

    def terms_of(player: str, own: dict, wid_gradient):
        config.wid_gradient = wid_gradient
        params = fresh.params | own
        networks = step.Networks(config, params, fresh.batch_stats, ALL, key)
        outputs = step.forward(config, networks, batch)
        if player == "discriminator":
            outputs = jax.lax.stop_gradient(outputs)
        networks = step.Networks(config, params, networks.batch_stats, opponents, key)
        losses_of = step.discriminator_losses if player == "discriminator" else step.generator_losses
        return losses_of(config, networks, outputs, batch)[0]

    @functools.cache
    def compiled(player: str):
        def weighted(own, weights, wid_gradient):
            terms = terms_of(player, own, wid_gradient)
            assert terms.keys() == weights.keys()
            return sum(weights[name] * value for name, value in terms.items())

        return jax.jit(jax.grad(weighted), compiler_options={"xla_backend_optimization_level": 0})

    def gradient(player: str, term: str, wid_gradient: float = 1.0) -> dict[str, float]:
        names = MOVES if player == "generator" else OPPONENT_MOVES
        networks = ALL if player == "generator" else opponents
        own = {name: fresh.params[name] for name in networks}
        return norms(compiled(player)(own, {name: float(name == term) for name in names}, wid_gradient))

    return gradient


@pytest.mark.parametrize("term", MOVES)
def test_a_generator_term_moves_its_networks_and_no_other(gradient_of_term, term):
    moved = {name for name, size in gradient_of_term("generator", term).items() if size > 0}
    assert moved == MOVES[term]


@pytest.mark.parametrize("term", OPPONENT_MOVES)
def test_a_discriminator_term_moves_its_own_network_only(gradient_of_term, term):
    moved = {name for name, size in gradient_of_term("discriminator", term).items() if size > 0}
    assert moved == OPPONENT_MOVES[term]


def test_the_table_of_terms_names_what_the_gradients_move():
    for name, term in losses.TERMS.items():
        parts = [moved for full, moved in MOVES.items() if full.startswith(name)]
        joint_only = {"visual_encoder"} if name == "contrastive" else set()  # it moves in pretraining's form
        assert set(term.moves) - joint_only == set().union(*parts)


@pytest.mark.parametrize("term", ["l1_audio", "l1_video", "mouth_audio", "temporal", "gan_sequence_patch"])
def test_without_its_gradient_at_the_word_vectors_a_picture_term_leaves_the_word_encoders_alone(gradient_of_term, term):
    moved = {name for name, size in gradient_of_term("generator", term, wid_gradient=0.0).items() if size > 0}
    assert moved == {P, D}


@pytest.mark.parametrize(
    ("stage", "keys"),
    [
        ("person", {"faces", "face_id"}),
        ("word", {"frames", "mfcc", "word"}),
        ("generator", {"frames", "mfcc", "generate_start", "identity_frame"}),
        ("joint", {"frames", "mfcc", "word", "generate_start", "identity_frame", "faces", "face_id"}),
        ("syncnet", {"sync_frames", "sync_mfcc"}),
    ],
)
def test_a_stage_reads_only_what_its_terms_need(stage, keys):
    assert set(step.batch_spec(tiny(stage))) == keys


def test_the_published_adversary_reads_twenty_frames_of_its_own():
    config = tiny()
    config.model.adversary_frames = 20
    assert step.batch_spec(config)["adversary_frames"].shape == (8, 20, 64, 64, 3)


def test_a_stage_that_needs_faces_and_has_none_is_told_how_to_get_them():
    config = tiny()
    config.data.face_batch_size = 0
    with pytest.raises(ValueError, match=r"face_batch_size is 0.*wid_uniform"):
        step.batch_spec(config)


def test_a_trained_network_that_no_term_moves_is_refused():
    config = tiny("word")
    config.trained = (*config.trained, "decoder")
    with pytest.raises(ValueError, match=r"\['decoder'\], but no term"):
        state.trained_networks(config)


@pytest.mark.parametrize(
    ("modality", "encoder", "other", "keys"),
    [("audio", A, V, {"mfcc", "word"}), ("video", V, A, {"frames", "word"})],
)
def test_a_stage_of_one_modality_has_the_terms_of_that_one_only(modality, encoder, other, keys):
    config = tiny("word")
    config.loss.update(contrastive=0.0, modality=0.0)
    config.modalities, config.trained = (modality,), (encoder, W)
    assert set(step.batch_spec(config)) == keys
    assert set(state.used_networks(config)) == {encoder, W}
    abstract = jax.eval_shape(lambda: state._init(config, {}))
    _, metrics = jax.eval_shape(lambda s, b: step.train_step(config, s, b), abstract, step.batch_spec(config))
    assert {name for name in metrics if name.startswith("loss/")} == {f"loss/word_ce_{modality}", "loss/total"}
    config.trained = (encoder, other, W)
    with pytest.raises(ValueError, match=rf"\['{other}'\], but no term"):
        state.trained_networks(config)


def test_a_stage_of_one_modality_draws_from_that_one_only():
    config = tiny()
    config.loss.update(contrastive=0.0, modality=0.0, wid_uniform=0.0)
    config.modalities, config.trained = ("audio",), (P, A, D, W)
    abstract = jax.eval_shape(lambda: state._init(config, {}))
    assert V not in abstract.params
    _, metrics = jax.eval_shape(lambda s, b: step.train_step(config, s, b), abstract, step.batch_spec(config))
    assert {"loss/l1_audio", "loss/temporal", "loss/gan_sequence_match"} < set(metrics)
    assert not [name for name in metrics if name.endswith("_video")]


@pytest.mark.parametrize(
    ("modalities", "says"),
    [
        (("audio",), r"config.loss.contrastive is above 0 but needs \['video'\]"),
        ((), r"config.modalities is \(\); it holds 'audio', 'video' or both"),
        (("audio", "smell"), "config.modalities is"),
    ],
)
def test_terms_and_modalities_that_do_not_go_together_are_refused(modalities, says):
    config = tiny("word")
    config.loss.modality = 0.0
    config.modalities = modalities
    with pytest.raises(ValueError, match=says):
        state.used_networks(config)


def test_a_frozen_network_keeps_weights_and_statistics_and_the_average_follows_the_trained():
    config = tiny("person")
    config.trained = ("person_classifier",)
    config.optim.ema_decay = 0.5
    before = jax.jit(lambda: state._init(config, {}))()
    after, metrics = jax.jit(lambda s, b: step.train_step(config, s, b))(before, random_batch(config))
    assert after.step == 1
    for kept in ("params", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, getattr(before, kept)[P], getattr(after, kept)[P])
    assert not np.array_equal(before.params[C]["logits"]["kernel"], after.params[C]["logits"]["kernel"])
    mean = jax.tree.map(lambda a, b: (a + b) / 2, before.params[C], after.params[C])
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), after.ema[C], mean)
    assert set(metrics) == {"loss/total", "loss/person_ce", "accuracy/person", f"gradient_norm/{C}"}


@pytest.mark.parametrize("name", ["lrw_person", "lrw_word", "lrw_generator", "lrw"])
def test_the_full_recipe_lowers_at_256_px_500_words_and_all_identities(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    mesh = sharding.make_mesh(config.mesh)
    abstract = state.abstract_state(config, mesh)
    lowered = step.make_train_step(config, mesh).lower(abstract, step.batch_spec(config))
    after, metrics = lowered.out_info
    assert jax.tree.map(lambda leaf: leaf.shape, after) == jax.tree.map(lambda leaf: leaf.shape, abstract)
    assert metrics["loss/total"].shape == ()

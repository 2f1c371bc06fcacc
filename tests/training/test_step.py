"""The one step: which term moves which network."""

import dataclasses
import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from davs_jax.models import syncnet
from davs_jax.parallel import sharding
from davs_jax.training import davs, state, step
from davs_jax.training.stage import Stage
from davs_jax.training.terms import TERMS, full_name
from support.steps import judged, random_batch, random_state, tiny

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
    "warp_audio": {P, A, D},
    "warp_video": {P, V, D},
    "temporal": {P, A, D},
    "gan_sequence_patch": {P, V, A, D},
    "gan_sequence_match": {P, V, A, D},
    "gan_frame_patch": {P, V, A, D},
    "gan_frame_match": {P, V, A, D},
    "sync": {S},
}
EXPERT_MOVES = {P, A, D}  # of sync_expert, whose SyncNet must be frozen
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
    # 24 windows a clip of SyncNet would cost as much as everything else.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(syncnet, "CLIP_WINDOWS", 2)
        yield _gradient_of_term()


def _gradient_of_term():
    config = tiny()
    config.trained = ALL
    config.loss.update(dict.fromkeys(config.loss, 1.0) | {"sync_expert": 0.0})  # its judge must be frozen
    # Small, since the gradient is taken once per term.
    config.model.update(sequence_frames=1, word_frames=4, adversary_frames=4, blend=True, flow=True)
    config.data.update(batch_size=3, face_batch_size=3)
    config.bn_grouping = "official"  # in one batch, batch norm would couple the two drivings
    batch, key, whole = random_batch(config), jax.random.key(1), Stage.from_config(config)
    fresh = random_state(whole)

    def terms_of(player: str, own: dict, wid_gradient):
        stage = dataclasses.replace(whole, wid_gradient=wid_gradient)  # traced
        params = fresh.params | own
        networks = step.Networks(stage, params, fresh.batch_stats, ALL, key)
        outputs = davs.forward(networks, batch)
        if player == "discriminator":
            outputs = jax.lax.stop_gradient(outputs)
        networks = step.Networks(stage, params, networks.batch_stats, stage.adversaries, key)
        losses_of = davs.discriminator_losses if player == "discriminator" else davs.generator_losses
        terms, _ = losses_of(networks, outputs, batch)
        if player == "generator":
            assert terms.keys() == stage.weights.keys()
        return {full_name(name): value for name, value in terms.items()}

    @functools.cache
    def compiled(player: str):
        def weighted(own, weights, wid_gradient):
            terms = terms_of(player, own, wid_gradient)
            assert terms.keys() == weights.keys()
            return sum(weights[name] * value for name, value in terms.items())

        return jax.jit(jax.grad(weighted))

    def gradient(player: str, term: str, wid_gradient: float = 1.0) -> dict[str, float]:
        names = MOVES if player == "generator" else OPPONENT_MOVES
        networks = ALL if player == "generator" else whole.adversaries
        own = {name: fresh.params[name] for name in networks}
        return norms(compiled(player)(own, {name: float(name == term) for name in names}, wid_gradient))

    return gradient


@pytest.mark.parametrize("term", MOVES)
def test_a_generator_term_moves_its_networks_and_no_other(gradient_of_term, term):
    moved = {name for name, size in gradient_of_term("generator", term).items() if size > 0}
    assert moved == MOVES[term]


def test_the_expert_moves_what_generates_from_audio_and_stays_as_it_is():
    config = judged(tiny("generator"))
    config.trained = tuple(EXPERT_MOVES)
    config.loss.update(dict.fromkeys(config.loss, 0.0) | {"sync_expert": 1.0})
    config.data.batch_size = 2
    stage = Stage.from_config(config)
    train = step.TrainStep(stage)
    before = random_state(stage)

    def outputs_and_gradients(params, batch):
        outputs, pullback, stats = train.forward(params, before.batch_stats, batch, jax.random.key(0))
        cotangent, metrics, _ = train.output_gradients(params, stats, outputs, batch, jax.random.key(1))
        return pullback(cotangent)[0], metrics, stats["syncnet"]

    gradients, metrics, stats = jax.jit(outputs_and_gradients)(before.params, random_batch(config))
    assert {name for name, size in norms(gradients).items() if size > 0} == EXPERT_MOVES
    assert "syncnet" in stage.frozen
    jax.tree.map(np.testing.assert_array_equal, stats, before.batch_stats["syncnet"])
    assert 0 < float(metrics["loss/sync_expert"]) < 20


@pytest.mark.parametrize("term", OPPONENT_MOVES)
def test_a_discriminator_term_moves_its_own_network_only(gradient_of_term, term):
    moved = {name for name, size in gradient_of_term("discriminator", term).items() if size > 0}
    assert moved == OPPONENT_MOVES[term]


def test_the_table_of_terms_names_what_the_gradients_move():
    measured = MOVES | {"sync_expert": EXPERT_MOVES}
    for name, term in TERMS.items():
        parts = [measured[full_name((name, part))] for part in term.parts]
        joint_only = {"visual_encoder"} if name == "contrastive" else set()  # it moves in pretraining's form
        assert set(term.moves) - joint_only == set().union(*parts)


@pytest.mark.parametrize("term", ["l1_audio", "l1_video", "mouth_audio", "temporal", "gan_sequence_patch"])
def test_without_its_gradient_at_the_word_vectors_an_image_term_leaves_the_word_encoders_alone(gradient_of_term, term):
    moved = {name for name, size in gradient_of_term("generator", term, wid_gradient=0.0).items() if size > 0}
    assert moved == {P, D}


def losses_of(config) -> set[str]:
    """Names of the losses that a stage's step reports."""
    stage = Stage.from_config(config)
    abstract = jax.eval_shape(lambda: state.first_state(stage, {}))
    _, metrics = jax.eval_shape(step.TrainStep(stage), abstract, dict(stage.batch))
    return {name.removeprefix("loss/") for name in metrics if name.startswith("loss/")}


@pytest.mark.parametrize(("modality", "encoder"), [("audio", A), ("video", V)])
def test_a_stage_of_one_modality_has_only_the_losses_of_that_one(modality, encoder):
    config = tiny("word")
    config.loss.update(contrastive=0.0, modality=0.0)
    config.modalities, config.trained = (modality,), (encoder, W)
    assert losses_of(config) == {f"word_ce_{modality}", "total"}


def test_a_stage_of_one_modality_generates_from_that_one_only():
    config = tiny()
    config.loss.update(contrastive=0.0, modality=0.0, wid_uniform=0.0)
    config.modalities, config.trained = ("audio",), (P, A, D, W)
    found = losses_of(config)
    assert {"l1_audio", "temporal", "gan_sequence_match"} < found
    assert not [name for name in found if name.endswith("_video")]


def test_a_frozen_network_keeps_weights_and_statistics_and_the_average_follows_the_trained():
    config = tiny("person")
    config.trained = ("person_classifier",)
    config.optim.ema_decay = 0.5
    stage = Stage.from_config(config)
    before = random_state(stage)
    after, metrics = jax.jit(step.TrainStep(stage))(before, random_batch(config))
    assert after.step == 1
    for kept in ("params", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, getattr(before, kept)[P], getattr(after, kept)[P])
    assert not np.array_equal(before.params[C]["logits"]["kernel"], after.params[C]["logits"]["kernel"])
    mean = jax.tree.map(lambda a, b: (a + b) / 2, before.params[C], after.params[C])
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), after.ema[C], mean)
    assert set(metrics) == {"loss/total", "loss/person_ce", "accuracy/person", f"gradient_norm/{C}"}


@pytest.mark.parametrize("tcp", [False, True])
def test_clips_without_a_word_move_the_word_networks_only_as_centroids(tcp):
    config = tiny("word")
    config.update(modalities=("audio",), trained=(A, W), tcp=tcp)
    config.loss.update(contrastive=0.0, modality=0.0)
    stage = Stage.from_config(config)
    batch = random_batch(config) | {"word": np.full(8, -1, np.int32)}
    _, metrics = jax.jit(step.TrainStep(stage))(random_state(stage), batch)
    moved = [float(metrics[f"gradient_norm/{name}"]) > 0 for name in (A, W)]
    assert moved == [tcp, tcp]
    assert (float(metrics["loss/word_ce_audio"]) > 0) is tcp


@pytest.mark.parametrize("name", ["lrw_person", "lrw_word", "lrw_generator", "lrw", "lrw_recommended"])
def test_the_full_recipe_traces_at_256_px_500_words_and_all_identities(name):
    config = importlib.import_module(f"configs.{name}").get_config()
    mesh = sharding.make_mesh(config.mesh)
    stage = Stage.from_config(config)
    abstract = state.abstract_state(stage, mesh)
    after, metrics = step.make_train_step(stage, mesh).trace(abstract, dict(stage.batch)).out_info
    assert jax.tree.map(lambda leaf: leaf.shape, after) == jax.tree.map(lambda leaf: leaf.shape, abstract)
    assert metrics["loss/total"].shape == ()


def test_the_joint_step_reads_windows_of_its_spectrum():
    config = tiny("joint")
    config.model.spectrum = "log_mel"
    stage = Stage.from_config(config)
    assert stage.batch["speech"].shape == (8, 12, 20, 40)
    metrics = jax.eval_shape(step.TrainStep(stage), random_state(stage), dict(stage.batch))[1]
    assert metrics["loss/total"].shape == ()

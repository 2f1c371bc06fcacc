"""One step of ours equals one step of the official `GenModel.optimize_parameters`, and of its pretraining.

Same weights, statistics, clips and choices; norms grouped as the official code calls its networks, dropout off,
labels softened by a fixed amount. See `official.json` for how the numbers were made.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import official
import optax
import pytest
import seeded
from official import NUMBERS, assert_close, assert_output, assert_tensor

from configs import common
from davs_jax.import_official import convert
from davs_jax.parallel import sharding
from davs_jax.training import davs, step
from davs_jax.training.networks import split
from davs_jax.training.stage import Stage
from davs_jax.training.state import DavsState
from davs_jax.training.terms import full_name

# A tensor's gradient may be off by a share of itself, and by what rounding leaves of the network's largest gradient:
# norms take the mean of a gradient away, rectifiers switch near their edge, and both make single tensors' uncertain.
# In float64 (`pytest -m exact`, minutes) neither matters, and every gradient agrees to the digits that are recorded; so
# are those of the joint step's generator player, whose backward pass is the longest.
GRADIENTS = {"float32": {"tolerance": 0.02, "rounding": 1e-6}, "float64": {"tolerance": 1e-6, "rounding": 1e-12}}
PRECISIONS = ("float32", pytest.param("float64", marks=pytest.mark.exact))
# Official loss → our terms and their factors.
JOINT_LOSSES = {
    "dis_R_loss": {"discriminator/modality": 1},
    "CE_loss": {"discriminator/word_adversary": 1},
    "loss_D_sequence": {"discriminator/sequence_discriminator_patch": 1},
    "loss_D_sequence_combine": {"discriminator/sequence_discriminator_match": 1},
    "loss_D_single": {"discriminator/frame_discriminator_patch": 1},
    "loss_D_single_combine": {"discriminator/frame_discriminator_match": 1},
    "EmbeddingL2": {"contrastive": 1},
    "softmax_loss": {"pid_uniform": 1e6},
    "audio_CE_loss": {"word_ce_audio": 1},
    "image_CE_loss": {"word_ce_video": 1},
    "audio_loss_D_inv": {"modality_audio": 1},
    "image_loss_D_inv": {"modality_video": 1},
    "G_x_loss": {"temporal": 1},
    "loss_G_L1_audio": {"l1_audio": seeded.L1_WEIGHT, "mouth_audio": seeded.MOUTH_WEIGHT},
    "loss_G_L1_image": {"l1_video": seeded.L1_WEIGHT, "mouth_video": seeded.MOUTH_WEIGHT},
    "loss_G_GAN_sequence": {"gan_sequence_patch": 1},
    "loss_G_GAN_sequence_combine": {"gan_sequence_match": 1},
    "loss_G_GAN_single": {"gan_frame_patch": 1},
    "loss_G_GAN_single_combine": {"gan_frame_match": 1},
    "loss_G": {"total": 1},
}
WORD_LOSSES = {
    "dis_R_loss": {"discriminator/modality": 1},
    "audio_CE_loss": {"word_ce_audio": 1},
    "image_CE_loss": {"word_ce_video": 1},
    "audio_loss_D_inv": {"modality_audio": 1},
    "image_loss_D_inv": {"modality_video": 1},
    "L2_loss": {"contrastive": 1},
    "loss": {"total": 1},
}


class RecordingNetworks(step.Networks):
    """Keeps what every call returns, in order, by network."""

    def __init__(self, *args):
        super().__init__(*args)
        self.calls = {}

    def __call__(self, name: str, *inputs, **options):
        outputs = super().__call__(name, *inputs, **options)
        self.calls.setdefault(name, []).append(outputs)
        return outputs


def returning(losses_of, key: str):
    """The step's own losses; what they saw comes out among the metrics."""

    def losses_and_more(networks, outputs, batch):
        terms, metrics = losses_of(networks, outputs, batch)
        return terms, metrics | {key: networks.calls, "forward": outputs}

    return losses_and_more


def configuration(stage: str, precision: str):
    config = common.get_config(stage)
    config.bn_grouping = "official"
    config.model.dropout = 0.0
    config.model.dtype = precision
    config.model.word_frames = seeded.WORD_FRAMES
    config.model.adversary_frames = seeded.ADVERSARY_FRAMES
    config.model.sequence_frames = seeded.GENERATED_FRAMES
    config.data.batch_size = seeded.CLIPS
    config.optim.learning_rate = config.optim.discriminator_learning_rate = seeded.LEARNING_RATE
    config.label_softness = 2 * seeded.SOFTNESS  # of which the fixed draw below takes half
    if stage == "joint":
        config.loss.update(l1=seeded.L1_WEIGHT, mouth=seeded.MOUTH_WEIGHT, gan_frame=1.0, wid_uniform=0.0)
    return config


@dataclasses.dataclass(frozen=True)
class UpToTheLosses(step.TrainStep):
    """The step without the generator player's backward pass and update."""

    def _whole_batch(self, state, batch, keys):
        networks = step.Networks(self.stage, state.params, state.batch_stats, self.stage.trained, keys[0])
        outputs = davs.forward(networks, batch)
        gradients, metrics, stats = self.discriminator_gradients(
            state.params, networks.batch_stats, outputs, batch, keys[1]
        )
        state, norms = self.update("discriminator", state, gradients)
        networks = step.Networks(self.stage, state.params, stats, self.stage.adversaries, keys[2])
        terms, found = davs.generator_losses(networks, outputs, batch)
        found |= {f"loss/{full_name(name)}": value for name, value in terms.items()}
        found["loss/total"] = sum(self.stage.weights[name] * value for name, value in terms.items())
        return state.replace(batch_stats=networks.batch_stats), metrics | norms | found


def one_step(stage: str, precision: str, of: type[step.TrainStep] = step.TrainStep) -> tuple[DavsState, dict]:
    """The stage's jitted training step on the seeded weights and batch."""
    config = configuration(stage, precision)
    stage = Stage.from_config(config)
    networks = [name for name, ours in convert.NETWORKS.items() if ours in stage.networks]
    weights = official.weights(networks, NUMBERS["step_shapes"], seeded.NORM_BIAS)
    batch = {key: value for key, value in seeded.training_batch().items() if key in stage.batch}
    params, batch_stats, batch = jax.tree.map(
        lambda array: array.astype(precision) if array.dtype == np.float32 else array,
        (*convert.convert(weights, config.model), batch),
    )
    players = {"generator": stage.trained, "discriminator": stage.adversaries}
    opt = {player: stage.optimizers[player].init({n: params[n] for n in names}) for player, names in players.items()}
    state = DavsState(jnp.zeros((), jnp.int32), params, batch_stats, opt, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(step, "Networks", RecordingNetworks)
        for player in ("discriminator", "generator"):
            name = f"{player}_losses"
            patch.setattr(davs, name, returning(getattr(davs, name), player))
        patch.setattr(step, "TrainStep", of)
        patch.setattr(jax.random, "uniform", lambda key, shape: jnp.full(shape, 0.5))
        mesh = sharding.make_mesh(config.mesh, jax.devices()[:1])
        lowered = step.make_train_step(stage, mesh).lower(state, batch)
    # Compiling takes longer than one step, except in float64, where XLA has no library to call.
    level = {"float32": 0, "float64": 1}[precision]
    compiled = lowered.compile(compiler_options={"xla_backend_optimization_level": level})
    return jax.device_get(compiled(*jax.device_put((state, batch), compiled.input_shardings[0])))


@pytest.fixture(scope="module", params=PRECISIONS)
def precision(request):
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture(scope="module")
def losses(precision):
    """The joint step up to its losses."""
    return one_step("joint", precision, UpToTheLosses)


@pytest.fixture(scope="module")
def joint():
    """The whole joint step in float64, in minutes. In float32 the order of sums, which differs with the number of
    threads, moves the gradients of the deepest layers by some 2 %."""
    with jax.enable_x64(True):
        yield one_step("joint", "float64")


@pytest.fixture(scope="module")
def words(precision):
    return one_step("word", precision)


def gradients(state: DavsState) -> dict[str, dict[str, np.ndarray]]:
    """Both players' gradients in the official layout: after one step, Adam's first moment is a tenth of them."""
    moments = {}
    for player in state.opt.values():
        moments |= optax.tree.get(player, "mu")
    return convert.export(jax.tree.map(lambda moment: moment / 0.1, moments), {})


def assert_losses(metrics: dict, expected: dict, terms_of: dict) -> None:
    for name, terms in terms_of.items():
        found = sum(factor * metrics[f"loss/{term}"] for term, factor in terms.items())
        assert_close(found, expected[name], abs(expected[name]), name)


def assert_gradient_norms(metrics: dict, expected: dict) -> None:
    """Of the networks that have moved."""
    found = {name.removeprefix("gradient_norm/"): norm for name, norm in metrics.items() if "gradient_norm/" in name}
    assert found.keys() == {convert.NETWORKS[network] for network in expected}
    for network, norm in expected.items():
        assert_close(found[convert.NETWORKS[network]], norm, norm, f"gradient norm of {network}")


def assert_gradients(state: DavsState, expected: dict, tolerance: float, rounding: float) -> None:
    """Every tensor's gradient: its norm, and its projection on a direction, which wrong axes would change."""
    found = gradients(state)
    assert found.keys() == expected.keys()
    for network, tensors in expected.items():
        assert found[network].keys() == tensors.keys()
        lost = rounding * max(norm for norm, _ in tensors.values())
        for key, signature in tensors.items():
            assert_tensor(found[network][key], network, key, signature, tolerance, lost)


def assert_statistics(state: DavsState, expected: dict) -> None:
    """Running means and variances after the step."""
    found = convert.export({name: {} for name in state.params}, state.batch_stats)
    assert {network for network, tensors in found.items() if tensors} == expected.keys()
    for network, tensors in expected.items():
        assert found[network].keys() == tensors.keys()
        for key, signature in tensors.items():
            assert_tensor(found[network][key], network, key, signature)


def one_after_the_other(logits: jax.Array) -> jax.Array:
    """Logits of two joined lots of clips, or of all their frames, in the official order."""
    clips = logits.reshape(2 * seeded.CLIPS, -1, *logits.shape[1:])
    return jnp.concatenate(split(clips, [seeded.CLIPS] * 2)).reshape(logits.shape)


def forward_outputs(metrics: dict) -> dict[str, np.ndarray]:
    """What the joint step computed, by the names of the recorded outputs."""
    forward, calls = metrics["forward"], metrics["discriminator"]
    named = {name: forward[name] for name in ("adversary_maps", "wid_audio", "wid_video", "fake_audio", "fake_video")}
    named |= {f"word_{side}": forward[f"word_{side}"] for side in ("audio", "video")}
    named["word_adversary"] = calls["word_adversary"][0]
    named["word_adversary, updated"] = metrics["generator"]["word_adversary"][0]
    for side, logits in zip(("audio", "video"), calls["modality_discriminator"], strict=True):
        named[f"modality_{side}"] = jax.nn.sigmoid(logits).reshape(seeded.CLIPS, -1)
    for name in ("sequence", "frame"):
        for what, heads in zip(("fake", "real"), calls[f"{name}_discriminator"], strict=True):
            for head, logits in zip(("patch", "match"), heads, strict=True):
                named[f"{name}_{head}_{what}"] = jax.nn.sigmoid(one_after_the_other(logits))
    return named


def test_joint_forward_outputs(losses):
    found, expected = forward_outputs(losses[1]), NUMBERS["joint"]["outputs"]
    assert found.keys() == expected.keys()
    for name, summary in expected.items():
        assert_output(found[name], name, summary)


def test_joint_losses(losses):
    assert_losses(losses[1], NUMBERS["joint"]["losses"], JOINT_LOSSES)


def test_joint_discriminators_gradients(losses, precision):
    state, metrics = losses
    moved = {official for official, ours in convert.NETWORKS.items() if f"gradient_norm/{ours}" in metrics}
    assert len(moved) == 4

    def of_discriminators(numbers: dict) -> dict:
        return {network: value for network, value in numbers.items() if network in moved}

    assert_gradient_norms(metrics, of_discriminators(NUMBERS["joint"]["gradient_norms"]))
    opt = {"discriminator": state.opt["discriminator"]}
    expected = of_discriminators(NUMBERS["joint"]["gradients"])
    assert_gradients(state.replace(opt=opt), expected, **GRADIENTS[precision])


def test_joint_batch_statistics(losses):
    assert_statistics(losses[0], NUMBERS["joint"]["batch_stats"])


@pytest.mark.exact
def test_joint_gradient_norms(joint):
    assert_gradient_norms(joint[1], NUMBERS["joint"]["gradient_norms"])


@pytest.mark.exact
def test_joint_gradients(joint):
    assert_gradients(joint[0], NUMBERS["joint"]["gradients"], **GRADIENTS["float64"])


def test_pretraining_losses(words):
    assert_losses(words[1], NUMBERS["words"]["losses"], WORD_LOSSES)


def test_pretraining_gradient_norms(words):
    assert_gradient_norms(words[1], NUMBERS["words"]["gradient_norms"])


def test_pretraining_gradients(words, precision):
    assert_gradients(words[0], NUMBERS["words"]["gradients"], **GRADIENTS[precision])


def test_pretraining_batch_statistics(words):
    assert_statistics(words[0], NUMBERS["words"]["batch_stats"])

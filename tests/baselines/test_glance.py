import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from configs.baselines import glance
from davs_jax import models
from davs_jax.baselines.glance import examples, training
from davs_jax.baselines.glance.flow import optical_flow
from davs_jax.baselines.glance.networks import Conv, lips_size
from davs_jax.baselines.glance.talker import Glance
from davs_jax.baselines.mouth_region import mouth_region
from davs_jax.data.sources import open_clips
from davs_jax.errors import ConfigError
from davs_jax.generate.drivers import Speech
from davs_jax.generate.talk import generate
from davs_jax.media.photo import Photo
from davs_jax.training.networks import Networks
from davs_jax.training.stage import Stage
from davs_jax.training.state import first_state
from davs_jax.training.step import TrainStep
from support.baselines import first_weights, overfitted, tiny
from support.talking_files import sound


@pytest.fixture
def config(clips_folder):
    config = tiny(glance.get_config("lips"), clips_folder)
    config.model.blocks = 1
    return config


def published(*layers: tuple[int, ...]) -> int:
    """Parameters of convolutions (kernel …, channels in, out) with a norm each and no bias."""
    return sum(int(np.prod(layer)) + 2 * layer[-1] for layer in layers)


def test_at_128_px_shapes_and_parameters_are_those_of_the_authors_code():
    config = glance.get_config()
    inputs, shapes, counts = models.example_inputs(config.model), {}, {}
    for name, module in models.build(config.model).items():
        variables = jax.eval_shape(lambda *x, m=module: m.init(jax.random.key(0), *x, train=False), *inputs[name])
        shapes[name] = jax.eval_shape(lambda v, *x, m=module: m.apply(v, *x, train=False), variables, *inputs[name])
        counts[name] = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    frames, heard = shapes["lip_generator"]
    assert frames.shape == (1, 16, 64, 64, 3) and heard.shape == (1, 16, 16, 256)
    assert shapes["flow_encoder"].shape == shapes["audio_derivative"].shape == (1, 15, 16)
    assert shapes["autoencoder"][1].shape == (1, 16, 16, 256)
    audio = [(3, 3, 1, 32), (3, 3, 32, 64), (3, 3, 64, 128), (3, 3, 128, 256), (3, 3, 256, 256)]
    image = [(7, 7, 3, 64), (3, 3, 64, 128), (3, 3, 128, 256)]
    fused = [(3, 3, 3, 512, 256), *[(1, 3, 3, 256, 256)] * 18, (3, 3, 3, 256, 128), (3, 3, 3, 128, 64)]
    assert counts["lip_generator"] == published(*audio, *image, *fused) + 7**3 * 64 * 3 + 3
    rebuilt = [*[(3, 3, 256, 256)] * 12, (3, 3, 256, 128), (3, 3, 128, 64)]
    assert counts["autoencoder"] == published(*image, *rebuilt) + 7**2 * 64 * 3 + 3
    derivative = [(3, 3, 256, 128), (3, 3, 128, 64), (3, 3, 64, 32), (3, 3, 32, 16)]
    assert counts["audio_derivative"] == published(*derivative)
    flow = [(3, 3, 3, 2, 4), (3, 3, 3, 4, 8), (3, 3, 3, 8, 16), (3, 3, 3, 16, 16)]
    assert counts["flow_encoder"] == published(*flow)


def test_an_example_holds_the_lips_of_16_frames_and_their_audio(config, clips_folder):
    record = open_clips(clips_folder, "train").record(0)
    example = examples.clip_example(record, np.random.default_rng(0), config, ("frames", "photo", "speech"))
    assert {key: value.shape for key, value in example.items()} == {
        "frames": (16, 32, 32, 3),
        "photo": (32, 32, 3),
        "speech": (64, 128),
    }
    heard = examples.clip_audio(record).reshape(-1, 128)
    assert any(np.array_equal(heard[4 * s : 4 * s + 64], example["speech"]) for s in range(14))


def test_the_lip_region_holds_the_mouth_box():
    marked = np.zeros((256, 256, 1), np.uint8)
    marked[170:234, 64:192] = 1
    assert mouth_region(marked).sum() == marked.sum() and mouth_region(marked).shape == (128, 128, 1)


@pytest.mark.parametrize("motion", [(0.6, 0.0), (0.0, -0.5), (0.3, 0.4)])
def test_optical_flow_finds_how_far_an_image_moves(motion):
    texture = gaussian_filter(np.random.default_rng(0).random((64, 64)), 2.0)
    texture = (texture - texture.min()) / np.ptp(texture)
    turns = np.fft.fftfreq(64)[None] * motion[0] + np.fft.fftfreq(64)[:, None] * motion[1]
    moved = np.fft.ifft2(np.fft.fft2(texture) * np.exp(-2j * np.pi * turns)).real
    frames = np.repeat(np.stack([texture, moved])[None, ..., None], 3, -1).astype(np.float32)
    flow = np.asarray(optical_flow(jnp.asarray(frames)))
    assert flow.shape == (1, 1, 16, 16, 2)
    np.testing.assert_allclose(np.median(flow[0, 0, 2:-2, 2:-2], (0, 1)), motion, atol=0.06)


def test_the_losses_are_those_of_plain_numpy():
    rng = np.random.default_rng(0)
    heard, moved = rng.random((2, 3, 15, 16))
    a, b = heard.mean(-1), moved.mean(-1)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    found = float(training.correlation(jnp.asarray(heard), jnp.asarray(moved)))
    assert found == pytest.approx(1 - cosine.mean(), rel=1e-5)


def test_terms_are_compared_in_minus_one_to_one(config):
    config.loss.update(gan=0.0, correlation=0.0)
    config.trained, config.init_networks = ("lip_generator",), ("autoencoder",)
    stage, rng = Stage.from_config(config), np.random.default_rng(0)
    real = rng.integers(0, 256, (2, 16, 8, 8, 3), np.uint8)
    fake, features, others = rng.random(real.shape), *rng.random((2, 32, 2, 2, 4))
    networks = type("Networks", (), {"stage": stage})
    outputs = {"fake": fake, "features": features, "features_fake": others}
    terms, _ = training.generator_losses(networks, outputs, {"frames": jnp.asarray(real)})
    assert float(terms["l1", ""]) == pytest.approx(np.abs((2 * fake - 1) - (2 * (real / 255) - 1)).mean(), rel=1e-5)
    assert float(terms["perceptual", ""]) == pytest.approx(np.square(features - others).mean(), rel=1e-5)


def test_perceptual_features_are_normalised_by_the_statistics_of_their_own_frames(config):
    config.loss.update(gan=0.0, correlation=0.0)
    config.trained, config.init_networks = ("lip_generator",), ("autoencoder",)
    stage, rng = Stage.from_config(config), np.random.default_rng(0)
    params, statistics = first_weights(config)
    side = lips_size(config.model.image_size)
    batch = {
        "frames": rng.integers(0, 256, (2, 16, side, side, 3), np.uint8),
        "photo": rng.integers(0, 256, (2, side, side, 3), np.uint8),
        "speech": rng.random((2, 64, 128), np.float32),
    }

    @jax.jit
    def features(statistics):
        networks = Networks(stage, params, statistics, stage.trained, jax.random.key(0))
        found = training.forward(networks, batch)["features"]
        assert networks.batch_stats["autoencoder"] is statistics["autoencoder"]  # it is frozen
        return found

    others = statistics | {"autoencoder": jax.tree.map(lambda x: x + 3, statistics["autoencoder"])}
    np.testing.assert_array_equal(features(statistics), features(others))


def test_the_discriminator_learns_that_another_clips_audio_is_wrong(config):
    """The published weights: real + ½ (generated + wrong audio)."""
    logits = iter([jnp.array([2.0, -1.0]), jnp.array([0.5, 0.5]), jnp.array([3.0, 0.0])])
    heard = []

    class Networks:
        class stage:
            adversaries = ("lip_discriminator",)

        def __call__(self, name, frames, flow, audio):
            heard.append(np.asarray(audio))
            return next(logits)

    frames, speech = jnp.zeros((2, 16, 8, 8, 3), jnp.uint8), jnp.arange(2.0)[:, None, None] * jnp.ones((2, 64, 128))
    found, _ = training.discriminator_losses(
        Networks(), {"fake": jnp.zeros((2, 16, 8, 8, 3))}, {"frames": frames, "speech": speech}
    )
    np.testing.assert_array_equal(heard[2], heard[0][::-1])

    def bce(logit, label):
        return np.mean(np.log1p(np.exp(-logit if label else logit)))

    expected = bce(np.array([2.0, -1.0]), 1) + (bce(np.array([0.5, 0.5]), 0) + bce(np.array([3.0, 0.0]), 0)) / 2
    assert float(found["lip_discriminator", ""]) == pytest.approx(expected, rel=1e-5)


def test_the_perceptual_loss_needs_a_trained_autoencoder_and_wrong_audio_another_clip(config):
    config.init_networks = ()
    with pytest.raises(ConfigError, match="without a trained autoencoder"):
        Stage.from_config(config)
    config.init_networks, config.data.batch_size = ("autoencoder",), 1
    with pytest.raises(ConfigError, match="batch_size is 1"):
        Stage.from_config(config)
    config.model.dtype = "bfloat16"
    with pytest.raises(ConfigError, match=r"config\.model\.dtype is 'bfloat16'"):
        Stage.from_config(config)


def test_it_overfits_two_clips(config):
    config.loss.update(gan=0.0, perceptual=0.0, l1=5.0)  # the full step takes minutes to compile
    losses = overfitted(config, steps=40)
    assert losses["l1"][-1] < 0.5 * losses["l1"][0]
    assert losses["correlation"][-1] < losses["correlation"][0]


def test_a_whole_step_has_all_losses_and_moves_both_players(config):
    stage = Stage.from_config(config)
    state = jax.eval_shape(lambda: first_state(stage, {}))
    _, metrics = jax.eval_shape(TrainStep(stage), state, dict(stage.batch))
    losses = {"gan", "correlation", "perceptual", "l1", "discriminator/lip_discriminator", "total"}
    assert {name.removeprefix("loss/") for name in metrics if name.startswith("loss/")} == losses
    moved = {name.partition("/")[2] for name in metrics if name.startswith("gradient_norm/")}
    assert moved == {"lip_generator", "lip_discriminator", "flow_encoder", "audio_derivative"}


def test_its_autoencoder_overfits_two_clips(clips_folder):
    losses = overfitted(tiny(glance.get_config("autoencoder"), clips_folder), steps=30)
    assert losses["reconstruction"][-1] < 0.4 * losses["reconstruction"][0]


def test_only_the_lips_of_the_photo_change(config):
    model = Glance(config, *first_weights(config))
    crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    frames = np.stack(list(generate(model, Photo(crop, None, crop), Speech(sound(0.76)))))
    assert frames.shape == (19, 64, 64, 3)
    changed = (frames != crop).any((0, 3))
    assert changed[40:, 24:40].all() and not changed[:32].any() and not changed[:, :16].any()
    wid = model.wid_from_audio(np.concatenate(list(Speech(sound(0.76)).inputs(model))))
    np.testing.assert_array_equal(model.decode(crop, wid[:16]), frames[:16])


@pytest.mark.parametrize(
    ("kernel", "strides", "padding"), [((3, 3, 3), (1, 1, 1), (1, 1, 1)), ((4, 3, 3), (2, 2, 1), (1, 1, 0))]
)
def test_a_convolution_of_videos_is_that_of_three_dimensions(kernel, strides, padding):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 8, 8, 3)), jnp.float32)
    layer = Conv(5, kernel, strides, padding)
    variables = layer.init(jax.random.key(0), x)
    pads, axes = [(p, p) for p in padding], ("NDHWC", "DHWIO", "NDHWC")
    kernel = variables["params"]["kernel"]
    expected = jax.lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=axes)
    np.testing.assert_allclose(layer.apply(variables, x), expected, atol=1e-5)

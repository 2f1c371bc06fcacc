import jax
import numpy as np
import pytest

from configs import common
from davs_jax import inference, models
from davs_jax.checkpoint import save_weights
from davs_jax.data.sources import open_clips
from davs_jax.errors import ConfigError
from davs_jax.inference import FARTHEST, Davs, images_in_cache
from davs_jax.models.word_vectors import normalised
from davs_jax.parallel import sharding
from support.tiny_model import random_model, random_weights


def assert_close(actual, expected):
    """Equal but for the order of float32 sums; inputs move these outputs hundreds of times further."""
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-2)


@pytest.fixture
def model(joint_config) -> Davs:
    return random_model(joint_config, batch=4)


@pytest.fixture
def frames(joint_config):
    size = joint_config.model.image_size
    return np.random.default_rng(0).integers(0, 256, (6, size, size, 3), np.uint8)


def test_every_network_gives_what_its_module_gives(model, frames):
    networks = models.build(model.config.model)

    def apply(name, *inputs):
        weights = {"params": model._variables[name]["params"], "batch_stats": model._variables[name]["batch_stats"]}
        return jax.jit(lambda *x: networks[name].apply(weights, *x, train=False))(*inputs)

    mfcc = np.random.default_rng(1).normal(size=(6, 20, 12)).astype(np.float32)
    assert_close(model.wid_from_video(frames), apply("visual_encoder", frames / 255))
    assert_close(model.wid_from_audio(mfcc), apply("audio_encoder", mfcc))
    wid = np.random.default_rng(2).normal(size=(2, 12, 256)).astype(np.float32)
    assert_close(model.word_logits(wid), apply("word_classifier", wid))
    pid, maps = apply("person_encoder", frames / 255)
    ours, pooled = model.pid_from_frames(frames)
    assert_close(ours, pid)
    by_hand = np.asarray(maps[4])[0, :4, :4].mean((0, 1))  # 16 × 16 pooled to 4 × 4: the first 4 × 4 pixels
    assert_close(pooled[0, : len(by_hand)], by_hand)


def test_a_person_is_encoded_once_and_decoded_with_any_number_of_word_vectors(model, frames):
    person = model.encode_person(frames[0])
    wid = np.random.default_rng(0).normal(size=(9, 256)).astype(np.float32)
    together = model.decode(person, wid)
    assert together.shape == (9, *frames.shape[1:])
    assert together.dtype == np.uint8
    one_by_one = np.concatenate([model.decode(person, wid[i : i + 1]) for i in range(9)])
    assert np.abs(together.astype(int) - one_by_one).max() <= 1
    assert len(np.unique(together.reshape(9, -1), axis=0)) == 9  # the word vector matters


def test_padding_changes_nothing(model, frames):
    assert_close(model.wid_from_video(frames)[:5], model.wid_from_video(frames[:5]))


def test_word_vectors_are_normalised_over_the_frames_of_each_clip_and_over_nothing_else(joint_config):
    joint_config.model.wid_norm = "mean_variance"
    model = random_model(joint_config, batch=4)
    mfcc = np.random.default_rng(1).normal(size=(2, 5, 20, 12)).astype(np.float32)  # the last call is padded
    wid = model.wid_from_audio(mfcc)
    assert wid.shape == (2, 5, 256)
    np.testing.assert_allclose(wid.mean(1), 0, atol=1e-4)
    raw = model.raw_wid_from_audio(mfcc)
    np.testing.assert_array_equal(wid, normalised(raw, "mean_variance"))
    assert_close(wid[1], model.wid_from_audio(mfcc[1]))


@pytest.mark.parametrize(("spectrum", "width"), [("mfcc", 12), ("log_mel", 40)])
def test_speech_is_heard_in_the_spectrum_that_the_weights_learnt(joint_config, spectrum, width):
    joint_config.model.spectrum = spectrum
    model = random_model(joint_config)
    record = open_clips(joint_config.data.clips, "train").record(0)
    heard = model.file_audio(record["audio"], 29)
    assert heard.shape == model.clip_audio(record).shape == (29, 20, width)
    np.testing.assert_array_equal(model.file_audio(record["audio"][: 9 * 640], 29)[:5], heard[:5])
    assert model.file_audio(record["audio"], 7).shape == (7, 20, width)
    assert model.wid_from_audio(heard).shape == (29, 256)


def test_a_mesh_gives_the_same(model, joint_config, frames):
    mesh = sharding.make_mesh(joint_config.mesh)
    params, batch_stats = jax.device_put(random_weights(joint_config), sharding.replicated(mesh))
    sharded = Davs(joint_config, params, batch_stats, mesh=mesh, batch=3)
    assert_close(sharded.wid_from_video(frames), model.wid_from_video(frames))
    person = sharded.encode_person(frames[0])
    wid = np.zeros((2, 256), np.float32)
    expected = model.decode(model.encode_person(frames[0]), wid)
    # One gray level: compilers round the last bit by a batch's size, 3 here and 4 there.
    assert np.abs(sharded.decode(person, wid).astype(int) - expected).max() <= 1


def test_windows_of_another_spectrum_are_refused(model):
    with pytest.raises(ValueError, match=r"windows of 40 numbers a column, but the weights hear the 12 of 'mfcc'"):
        model.wid_from_audio(np.zeros((29, 20, 40), np.float32))


def test_an_image_of_another_size_is_refused(model):
    with pytest.raises(ValueError, match=r"takes images \(64, 64, 3\), got \(32, 32, 3\)"):
        model.encode_person(np.zeros((32, 32, 3), np.uint8))


def test_a_missing_network_is_named(model, frames):
    partial = Davs(model.config, {"audio_encoder": {}}, {})
    assert not partial.has("decoder")
    with pytest.raises(KeyError, match="no visual_encoder; they have audio_encoder"):
        partial.wid_from_video(frames)


@pytest.mark.parametrize(("size", "width", "images"), [(256, 1, 1), (128, 1, 4), (256, 0.25, 4), (64, 0.25, 8)])
def test_a_cpu_takes_large_images_one_by_one_and_small_ones_together(size, width, images):
    model = common.get_config("joint").model
    model.update({"image_size": size, "width": width})
    assert images_in_cache(model) == images


@pytest.fixture
def exported(joint_config, tmp_path) -> str:
    joint_config.audio_gain = 1.5
    save_weights(str(tmp_path / "weights"), joint_config, *random_weights(joint_config), "float32")
    return str(tmp_path / "weights")


@pytest.mark.parametrize("devices", ["one", "host", "job"])
def test_a_loaded_model_gives_what_its_weights_give(exported, model, frames, devices):
    loaded = inference.load(exported, devices, batch=4)
    assert_close(loaded.wid_from_video(frames), model.wid_from_video(frames))
    assert loaded.batch == 4 * (loaded.mesh.size if loaded.mesh else 1)


def test_gains_are_those_of_the_weights_unless_others_are_given(exported):
    assert inference.load(exported).gains == {"audio_encoder": 1.5, "visual_encoder": 1}
    assert inference.load(exported, audio_gain=2, video_gain=0.5).gains == {"audio_encoder": 2, "visual_encoder": 0.5}


@pytest.mark.parametrize(("kind", "farthest"), [("none", 30), ("mean", 30), ("mean_variance", FARTHEST)])
def test_scaled_word_vectors_are_bounded_in_generation(joint_config, kind, farthest):
    joint_config.model.wid_norm = kind
    joint_config.audio_gain = 2.0
    driving = random_model(joint_config).driving("audio_encoder", np.array([[-15.0, 0.5, 15.0]]))
    np.testing.assert_array_equal(driving, [[-farthest, 1, farthest]])


@pytest.mark.parametrize("gain", [0.0, -1.0, float("inf"), float("nan")])
def test_a_gain_that_is_not_above_0_is_refused(exported, gain):
    with pytest.raises(ConfigError, match=f"video_gain {gain} is not above 0") as raised:
        inference.load(exported, video_gain=gain)
    assert raised.value.told("python").endswith("; 1 leaves the word vectors as they are")
    assert "--video-gain" in raised.value.told("command_line")


def test_without_a_path_the_demo_model_of_the_package_is_loaded():
    assert inference.load().has(*inference.NETWORKS)

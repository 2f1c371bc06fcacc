"""The networks: the official sizes at 256 px and width 1, and one rule at every other size."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from davs_jax import models
from davs_jax.constants import IMAGE_SIZES
from davs_jax.errors import ConfigError
from davs_jax.models import syncnet
from davs_jax.models.__main__ import table
from davs_jax.models.batch_norm import BatchNorm
from davs_jax.models.layers import max_pool, upsample
from support.tiny_model import random_weights

# Counted in the official code; layers that no forward uses left out.
OFFICIAL_PARAMETERS = {
    "person_encoder": 15_619_584,
    "visual_encoder": 6_512_817,
    "audio_encoder": 1_602_112,
    "decoder": 22_404_547,
    "word_classifier": 1_829_876,
    "person_classifier": 256 * 40_145 + 40_145,
    "word_adversary": 1_412_277,
    "modality_discriminator": 66_049,
    "sequence_discriminator": 19_016_770,
    "frame_discriminator": 18_998_530,
}


def shapes(model, name: str, batch: int = 1):
    """(outputs, variables) of a network as shapes."""
    module, inputs = models.build(model)[name], models.example_inputs(model, batch)[name]
    return jax.eval_shape(lambda *x: module.init_with_output({"params": jax.random.key(0)}, *x, train=False), *inputs)


@pytest.mark.parametrize("size", syncnet.SIZES)
def test_syncnet_has_a_vector_per_window_at_every_size(size):
    model = common.get_config().model
    model.sync_size = size
    (face, audio), variables = shapes(model, "syncnet", 3)
    assert face.shape == audio.shape == (3, syncnet.EMBED_DIM)
    assert variables["params"]["face"]["conv6"]["kernel"].shape[:2] == (6, 6)  # its map is covered, and not larger


def test_ours_sees_the_middle_of_the_lower_edge_of_a_face():
    face = np.arange(64 * 64).reshape(64, 64, 1)
    np.testing.assert_array_equal(syncnet.mouth_part(face[None])[0], face[16:, 8:56])


@pytest.mark.parametrize("name", OFFICIAL_PARAMETERS)
def test_at_full_size_a_network_has_the_official_parameter_count(name):
    _, variables = shapes(common.get_config().model, name)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == OFFICIAL_PARAMETERS[name]


@pytest.mark.parametrize("size", IMAGE_SIZES)
def test_maps_scale_with_the_image_and_vectors_do_not(size):
    model = common.get_config().model
    model.image_size, model.width, model.num_words = size, 1 / 8, 7
    pid, maps = shapes(model, "person_encoder", batch=2)[0]
    assert pid.shape == (2, 256)
    assert {stride: m.shape[1] for stride, m in maps.items()} == {s: size // s for s in (2, 4, 8, 16, 32)}
    assert shapes(model, "visual_encoder", batch=2)[0].shape == (2, 256)
    assert shapes(model, "decoder", batch=2)[0].shape == (2, size, size, 3)
    assert shapes(model, "word_adversary", batch=2)[0].shape == (2, 7)
    patch, match = shapes(model, "sequence_discriminator", batch=2)[0]
    assert patch.shape == (2, size // 8 - 2, size // 8 - 2)
    assert match.shape == (2,)


def test_a_blend_decoder_can_return_the_photo_itself():
    config = common.get_config()
    config.model.image_size, config.model.width, config.model.blend = 64, 1 / 16, True
    params, batch_stats = random_weights(config)
    params["decoder"]["image"]["bias"][3] = -100.0  # the mask's logit: nothing generated shows
    inputs = jax.tree.map(lambda x: np.full(x.shape, 0.3, np.float32), models.example_inputs(config.model)["decoder"])
    variables = {"params": params["decoder"], "batch_stats": batch_stats["decoder"]}
    decode = jax.jit(lambda v, *x: models.build(config.model)["decoder"].apply(v, *x, train=False))
    np.testing.assert_allclose(decode(variables, *inputs), inputs[-1], atol=1e-6)


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_the_flow_head_moves_the_photos_own_pixels(stride):
    config = common.get_config()
    config.model.update(image_size=64, width=1 / 16, blend=True, flow=True, flow_stride=stride)
    params, batch_stats = random_weights(config)
    decoder = params["decoder"]
    decoder["image"]["bias"][3] = -100.0  # the mask's logit: nothing generated shows
    decoder["flow"] = {"kernel": 0 * decoder["flow"]["kernel"], "bias": np.array([3.0, 0.0], np.float32)}
    rng = np.random.default_rng(0)
    inputs = jax.tree.map(lambda x: rng.random(x.shape, np.float32), models.example_inputs(config.model)["decoder"])
    variables = {"params": decoder, "batch_stats": batch_stats["decoder"]}
    decode = jax.jit(lambda v, *x: models.build(config.model)["decoder"].apply(v, *x, train=False))
    places = np.minimum(np.arange(64) + 3, 63)
    np.testing.assert_allclose(decode(variables, *inputs), inputs[-1][:, :, places], atol=1e-5)


def test_flow_without_blend_is_refused():
    model = common.get_config().model
    model.flow = True
    with pytest.raises(ConfigError, match=r"config\.model\.flow moves the photo, .* set blend to True"):
        models.build(model)


def test_a_fresh_blend_decoder_returns_nearly_the_photo_and_reads_the_word_at_every_word_skip():
    model = common.get_config().model
    model.image_size, model.width, model.blend, model.word_skips = 64, 1 / 16, True, (8, 4)
    decoder, keys = models.build(model)["decoder"], jax.random.split(jax.random.key(0), 9)
    pid, wid, maps, photo = models.example_inputs(model, 4)["decoder"]
    pid, wid = (jax.random.normal(key, x.shape) for key, x in zip(keys, (pid, wid), strict=False))
    maps = {stride: jax.random.normal(key, m.shape) for key, (stride, m) in zip(keys[2:], maps.items(), strict=False)}
    photo = jax.random.uniform(keys[-1], photo.shape)

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def first_frames(wid):
        variables = decoder.init(keys[0], pid, wid, maps, photo, train=False)
        frames, _ = decoder.apply(variables, pid, wid, maps, photo, train=True, mutable=["batch_stats"])
        return frames, variables["params"]

    frames, params = first_frames(wid)
    assert jnp.max(jnp.abs(frames - photo)) < 0.15
    assert jnp.mean(jnp.abs(frames - photo)) < 0.03
    assert {name for name in params if name.startswith("word")} >= {"word8", "word4"}
    assert not np.array_equal(frames, first_frames(wid[::-1])[0])


def test_a_visual_encoder_of_a_size_reads_larger_images_as_it_reads_their_reductions():
    model = common.get_config().model
    model.image_size, model.width = 64, 1 / 16
    encoder = models.build(model)["visual_encoder"]
    images = jnp.asarray(np.random.default_rng(0).uniform(size=(2, 64, 64, 3)), jnp.float32)
    variables = encoder.init(jax.random.key(0), images, train=False)
    model.image_size, model.visual_size = 128, 64
    larger = models.build(model)["visual_encoder"]
    doubled = jnp.repeat(jnp.repeat(images, 2, 1), 2, 2)
    expected, found = encoder.apply(variables, images, train=False), larger.apply(variables, doubled, train=False)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_an_unknown_image_size_or_skip_is_refused_by_name():
    model = common.get_config().model
    model.image_size = 96
    with pytest.raises(ConfigError, match=r"image_size is 96.*64, 128, 256, 512"):
        models.build(model)
    model.image_size, model.visual_size = 64, 128
    with pytest.raises(ConfigError, match=r"visual_size is 128.*at most config.model.image_size, 64"):
        models.build(model)
    model.visual_size, model.skips = 0, (8, 5)
    with pytest.raises(ConfigError, match=r"skips names strides \[5\]"):
        models.build(model)
    model.skips, model.flow_stride = (8,), 3
    with pytest.raises(ConfigError, match=r"flow_stride is 3; it must be one of"):
        models.build(model)
    model.flow_stride, model.word_skips = 4, (3,)
    with pytest.raises(ConfigError, match=r"word_skips names strides \[3\]"):
        models.build(model)


def test_pooling_has_the_outputs_and_gradients_of_the_one_on_tpus():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 8, 6, 3)), jnp.float32)
    ours, theirs = (
        jax.vjp(pool, x) for pool in (max_pool, functools.partial(nn.max_pool, window_shape=(2, 2), strides=(2, 2)))
    )
    for mine, value in zip((ours[0], *ours[1](ours[0])), (theirs[0], *theirs[1](theirs[0])), strict=True):
        np.testing.assert_array_equal(mine, value)


def test_upsampling_interpolates_by_either_convention():
    x = jnp.asarray([0.0, 3.0]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(upsample(x, align_corners=True)[0, 0, :, 0], [0, 1, 2, 3], atol=1e-6)
    np.testing.assert_allclose(upsample(x, align_corners=False)[0, 0, :, 0], [0, 0.75, 2.25, 3], atol=1e-6)


def test_running_variance_is_unbiased_and_evaluation_uses_it():
    x = jnp.asarray([[1.0], [3.0], [8.0]])
    norm = BatchNorm()
    variables = norm.init(jax.random.key(0), x, train=False)
    y, updates = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y.mean(), 0, atol=1e-6)
    stats = updates["batch_stats"]
    np.testing.assert_allclose(stats["mean"], 0.1 * np.mean(x), rtol=1e-6)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * np.var(x, ddof=1), rtol=1e-6)
    evaluated = norm.apply({"params": variables["params"], **updates}, x, train=False)
    np.testing.assert_allclose(evaluated, (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5), rtol=1e-5)


def test_the_table_names_every_network_with_its_size_and_cost():
    model = common.get_config().model
    model.image_size, model.width = 64, 1 / 8
    lines = table(model).splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(models.build(model))
    assert all(float(line.split()[-1].replace(",", "")) > 0 for line in lines[1:])

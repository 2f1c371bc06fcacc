import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from configs.baselines import speech2vid
from davs_jax import models
from davs_jax.baselines.speech2vid import examples, training
from davs_jax.checkpoint import save_weights
from davs_jax.data.sources import open_clips
from davs_jax.errors import ConfigError, DataError
from davs_jax.generate.drivers import Speech
from davs_jax.generate.talk import generate
from davs_jax.inference import load
from davs_jax.media.photo import Photo
from davs_jax.training.stage import Stage
from support.baselines import first_weights, overfitted, tiny
from support.talking_files import sound
from support.tiny_data import clip_record


@pytest.fixture
def config(clips_folder):
    return tiny(speech2vid.get_config("face"), clips_folder)


def published(*layers: tuple[int, int, int, int]) -> int:
    """Parameters of convolutions (kernel height, width, channels in, out) with biases."""
    return sum(h * w * i * o + o for h, w, i, o in layers)


def test_at_112_px_the_networks_are_the_published_ones():
    config = speech2vid.get_config("face")
    config.model.image_size = 112
    inputs, counts, shapes = models.example_inputs(config.model), {}, {}
    for name, module in models.build(config.model).items():
        variables = jax.eval_shape(lambda *x, m=module: m.init(jax.random.key(0), *x, train=False), *inputs[name])
        shapes[name] = jax.eval_shape(lambda v, *x, m=module: m.apply(v, *x, train=False), variables, *inputs[name])
        counts[name] = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    face = [
        (7, 7, 15, 96),
        (5, 5, 96, 256),
        (3, 3, 256, 512),
        *[(3, 3, 512, 512)] * 2,
        (6, 6, 512, 512),
        (1, 1, 512, 256),
    ]
    sound = [
        (3, 3, 1, 64),
        (3, 3, 64, 128),
        (3, 3, 128, 256),
        *[(3, 3, 256, 256)] * 2,
        (5, 8, 256, 512),
        (1, 1, 512, 256),
    ]
    norms = {name: sum(2 * layer[3] for layer in layers) for name, layers in (("face", face), ("sound", sound))}
    decoder = [
        *((1, 1, 512, 128), (3, 3, 128, 128), (3, 3, 128, 256), (3, 3, 256, 512), (3, 3, 512, 256), (3, 3, 512, 256)),
        *((5, 5, 256, 96), (3, 3, 192, 96), (3, 3, 192, 64), (3, 3, 64, 32), (3, 3, 32, 3)),
    ]
    assert counts == {
        "identity_encoder": published(*face) + norms["face"],
        "speech_encoder": published(*sound) + norms["sound"],
        "face_decoder": published(*decoder),
        "deblurring": published((3, 3, 3, 64), *[(3, 3, 64, 64)] * 8, (3, 3, 64, 3)),
    }
    identity, maps = shapes["identity_encoder"]
    assert identity.shape == shapes["speech_encoder"].shape == (1, 256)
    assert {name: leaf.shape[1:] for name, leaf in maps.items()} == {
        "conv1": (53, 53, 96),
        "pool1": (26, 26, 96),
        "conv2": (12, 12, 256),
    }
    assert shapes["face_decoder"].shape == (1, 112, 112, 3)


def test_an_example_holds_different_frames_and_their_own_audio(config, clips_folder):
    config.model.sequence_frames = 2
    record = open_clips(clips_folder, "train").record(0)
    example = examples.clip_example(record, np.random.default_rng(0), config, ("frames", "stills", "speech"))
    assert {key: value.shape for key, value in example.items()} == {
        "frames": (2, 64, 64, 3),
        "stills": (5, 64, 64, 3),
        "speech": (2, 35, 12),
    }
    images = np.concatenate([example["frames"], example["stills"]]).reshape(7, -1)
    assert len(np.unique(images, axis=0)) == 7
    assert all((examples.clip_audio(record) == each).all((1, 2)).any() for each in example["speech"])


def test_the_audio_of_a_clip_and_of_a_stream_are_the_same_windows():
    record = clip_record(1)
    whole = examples.clip_audio(record)
    streamed = np.concatenate(list(examples.stream_audio(np.array_split(record["audio"], 7), 25)))
    assert whole.shape == (29, 35, 12)
    np.testing.assert_array_equal(streamed, whole)


def test_a_frame_lies_in_the_middle_of_its_window():
    samples = np.zeros(29 * 640, np.float32)
    samples[10 * 640 + 320] = 1  # in the middle of frame 10
    windows = np.concatenate(list(examples.stream_audio([samples], 25)))
    at = np.flatnonzero(np.ptp(windows[10], axis=1) > 0)
    assert at.mean() == pytest.approx(16.5, abs=1)  # of 0…34; a column is 25 ms and begins at most that before


def test_a_record_with_too_little_audio_is_refused_with_its_remedy():
    record = clip_record(1)
    record["audio"] = record["audio"][:100]
    with pytest.raises(DataError, match=r"100 samples of audio.*make the shards again"):
        examples.clip_audio(record)


def test_a_clip_has_frames_for_stills_and_for_targets(config):
    config.model.stills = 29
    with pytest.raises(ConfigError, match=r"config\.model\.stills is 29"):
        Stage.from_config(config)


def test_the_losses_are_means_over_pixels_on_the_scale_of_bytes():
    rng = np.random.default_rng(0)
    fake, real = rng.random((2, 1, 8, 8, 3)), rng.integers(0, 256, (2, 1, 8, 8, 3), np.uint8)
    outputs = {"fake": jnp.asarray(fake), "sharpened": jnp.asarray(fake[:, 0])}
    terms, _ = training.generator_losses(None, outputs, {"frames": jnp.asarray(real)})
    assert float(terms["l1", ""]) == pytest.approx(np.abs(255 * fake - real).mean(), rel=1e-5)
    assert float(terms["deblur", ""]) == pytest.approx(np.square(255 * fake - real).mean(), rel=1e-5)


def test_the_blur_that_is_undone_is_gaussian():
    image = np.random.default_rng(0).random((1, 12, 12, 3)).astype(np.float32)
    expected = image
    for axis in (1, 2):
        expected = gaussian_filter1d(expected, 2.0, axis, mode="nearest", radius=2)
    np.testing.assert_allclose(training.blur(jnp.asarray(image)), expected, atol=1e-5)


def test_it_overfits_two_clips(config):
    losses = overfitted(config, steps=120)
    assert losses["l1"][-5:].mean() < 0.35 * losses["l1"][0]


def test_its_second_stage_sharpens_and_keeps_what_generates(config, clips_folder):
    config = tiny(speech2vid.get_config("deblur"), clips_folder)
    config.init_networks = ()
    stage = Stage.from_config(config)
    assert stage.trained == ("deblurring",) and set(stage.frozen) == set(training.FACE)
    losses = overfitted(config, steps=40)
    assert losses["deblur"][-1] < 0.8 * losses["deblur"][0]


def test_weights_generate_a_frame_for_every_frame_of_the_speech(config, tmp_path):
    params, batch_stats = first_weights(config)
    save_weights(str(tmp_path), config, params, batch_stats, "float32")
    model = load(tmp_path, batch=2)
    crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    frames = list(generate(model, Photo(crop, None, crop), Speech(sound(0.2))))
    assert len(frames) == 5 and frames[0].shape == (64, 64, 3)
    video = model.missing("visual_encoder")
    assert video == "speech2vid generates from speech only"

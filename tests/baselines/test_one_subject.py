import jax
import numpy as np
import pytest
from sklearn.decomposition import PCA

from configs.baselines import one_subject
from davs_jax import models
from davs_jax.baselines.one_subject import examples, footage, retiming, texture, training
from davs_jax.baselines.one_subject.talker import OneSubject
from davs_jax.errors import ConfigError, DataError
from davs_jax.generate.drivers import Speech
from davs_jax.generate.talk import generate
from davs_jax.media.photo import Photo
from davs_jax.training.stage import Stage
from support.baselines import first_weights, overfitted, tiny
from support.talking_files import sound
from support.tiny_data import clip_record, records_of, write_shards


def opened(frames) -> np.ndarray:
    """Lip points that follow the red of the mouth of the tests' plain faces: no weights are needed."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(18, 2))
    weight = [np.asarray(f)[40:60, 24:40, 0].mean() / 255 for f in frames]
    return (0.5 + 0.2 * np.array(weight)[:, None, None] * directions).astype(np.float32)


def sung(seed: int) -> dict:
    """A clip whose pitch follows the mouth's opening."""
    record, phase = clip_record(seed), np.random.default_rng(seed).random()
    opening = 0.5 + 0.5 * np.sin(np.arange(29) * (seed % 4 + 1) / 3 + phase)
    pitch = 400 + 2_000 * np.repeat(opening, 640)
    record["audio"] = (8_000 * np.sin(2 * np.pi * np.cumsum(pitch) / 16_000)).astype(np.int16)
    return record


@pytest.fixture
def person(tmp_path, monkeypatch):
    """Settings for the shards of one person, whose lips are found in the images' colours."""
    clips = [sung(3 * i) for i in range(8)]  # all of speaker 0
    folder = write_shards(tmp_path, "clips", records_of(), {"train": clips, "val": clips[:2], "test": clips[2:4]})
    monkeypatch.setattr(examples, "lips", lambda image: 64 * opened([image])[0])
    monkeypatch.setattr(examples, "_found", {})
    config = tiny(one_subject.get_config(), folder)
    config.model.update(cells=24, coefficients=3, bank=12, delay=4)
    return config


@pytest.fixture
def model(person):
    params, batch_stats = first_weights(person)
    return OneSubject(person, params | {"footage": footage.fit(person)}, batch_stats)


def test_the_shapes_are_the_principal_components_of_the_lips(person):
    found = footage.fit(person)
    source = footage.open_clips(person.data.clips, "train")
    lips = [examples.lip_points(f"{i}", 64, source.record(i)["frames"][:29]) for i in range(len(source))]
    flat = np.concatenate(lips).reshape(-1, 36)
    expected = PCA(1, svd_solver="full").fit_transform(flat)[:, 0]
    shapes = (flat - found["mean"]) @ found["basis"]
    assert abs(np.corrcoef(shapes[:, 0], expected)[0, 1]) == pytest.approx(1, abs=1e-3)
    assert shapes[:, 0].std() == pytest.approx(1, rel=0.01)


def test_the_bank_is_spread_over_the_shapes_and_the_same_every_time(person):
    first, second = footage.fit(person), footage.fit(person)
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
    assert len(np.unique(first["shapes"], axis=0)) == 12
    np.testing.assert_array_equal(footage.farthest(np.array([[0.0], [1.0], [5.0], [4.0]]), 3), [0, 2, 1])


def test_the_frames_that_are_chosen_for_a_shape_are_reproducible():
    bank = np.random.default_rng(0).normal(size=(200, 5))
    bank[77] = bank[33]  # equal distances
    chosen, weights = texture.nearest(bank[33], bank)
    assert list(chosen[:2]) == [33, 77] and weights[0] == weights[1] and weights.sum() == pytest.approx(1)
    distance = np.linalg.norm(bank - bank[33], axis=1)
    assert set(chosen) == set(np.argsort(distance)[:12])
    again, _ = texture.nearest(bank[33].copy(), bank.copy())
    np.testing.assert_array_equal(chosen, again)


def test_the_weighted_median_is_where_half_of_the_weight_is_reached():
    values, weights = np.array([10, 50, 20, 90]), np.array([0.1, 0.2, 0.4, 0.3])
    images = np.broadcast_to(values[:, None, None, None], (4, 2, 2, 3)).astype(np.uint8)
    assert (texture.weighted_median(images, weights) == 20).all()
    assert (texture.weighted_median(images, np.array([0.05, 0.2, 0.2, 0.55])) == 90).all()
    assert (texture.weighted_median(images, np.full(4, 0.25)) == 20).all()


def test_teeth_are_bright_pale_pixels_between_the_lips():
    region = np.full((64, 64, 3), (150, 40, 40), np.uint8)
    region[28:36] = 220
    lips = np.full((18, 2), 32.0)
    lips[12:] = [(20, 26), (32, 22), (44, 26), (20, 38), (32, 42), (44, 38)]
    found = texture.teeth(region.astype(np.float32), lips)[..., 0]
    assert found[32, 32] > 0.9 and found[24, 32] < 0.1 and found[32, 5] < 0.1


def test_a_texture_like_the_target_changes_nothing():
    target = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(texture.blended(target, target.astype(np.float32)), target)


def test_the_footage_rests_where_the_speech_pauses():
    motion = np.ones(60)
    motion[20:26] = 0.0
    paused = np.zeros(40, bool)
    paused[14:20] = True  # six frames before the footage rests
    path = retiming.pace(motion, paused)
    steps = np.diff(path)
    assert path[0] == 0 and set(steps) <= {0, 1, 2} and len(path) == 40
    assert not ((steps[1:] == 0) & (steps[:-1] == 0)).any()
    assert motion[path[paused]].mean() < motion[np.arange(40)[paused]].mean()
    np.testing.assert_array_equal(retiming.pace(motion, np.zeros(40, bool)), np.arange(40))


def test_the_network_hears_what_follows_as_far_as_its_delay(person):
    person.model.delay = 8
    network = models.build(person.model)["mouth_rnn"]
    rng = np.random.default_rng(0)
    mfcc = rng.normal(size=(1, 29, 4, 12)).astype(np.float32)
    variables = network.init(jax.random.key(0), mfcc, train=False)
    late = mfcc.copy()
    late.reshape(1, 116, 12)[:, 60:] += 1  # columns from frame 15 on
    shapes, changed = (np.asarray(network.apply(variables, x, train=False))[0] for x in (mfcc, late))
    differs = np.abs(shapes - changed).max(1) > 1e-6
    # Frame t is read at column 4t + 2 + 8.
    np.testing.assert_array_equal(differs, 4 * np.arange(29) + 10 >= 60)


def test_the_loss_is_the_squared_error_of_the_shapes():
    rng = np.random.default_rng(0)
    predicted, true = rng.normal(size=(2, 2, 29, 3))
    terms, _ = training.generator_losses(None, {"predicted": predicted, "true": true}, {})
    assert float(terms["shape", ""]) == pytest.approx(np.square(predicted - true).sum(-1).mean(), rel=1e-5)


def test_clips_of_several_people_are_refused(person, clips_folder):
    person.data.clips = clips_folder
    with pytest.raises(DataError, match="3 people"):
        footage.fit(person)


def test_an_impossible_setting_is_refused(person):
    person.model.delay = 101
    with pytest.raises(ConfigError, match=r"config\.model\.delay is 101"):
        Stage.from_config(person)


def test_it_overfits_two_clips(person):
    person.optim.learning_rate = 1e-2
    losses = overfitted(person, steps=150, prepared=training.prepare(person))
    assert losses["shape"][-5:].mean() < 0.4 * losses["shape"][0]


def test_only_the_mouth_of_the_target_changes(model):
    crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    frames = np.stack(list(generate(model, Photo(crop, None, crop), Speech(sound(0.4)))))
    assert frames.shape == (10, 64, 64, 3)
    changed = (frames != crop).any((0, 3))
    assert changed[40:60, 24:40].all() and not changed[:32].any() and not changed[:, :16].any()


def test_a_shape_of_the_bank_gives_its_own_mouth(model):
    exact = model.mouth(model._shapes[5])
    chosen, _ = texture.nearest(model._shapes[5], model._shapes)
    assert chosen[0] == 5
    assert np.abs(exact - model._faces[5]).mean() < np.abs(exact - model._faces[chosen[-1]]).mean()

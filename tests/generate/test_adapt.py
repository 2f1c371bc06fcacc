import jax
import numpy as np
import pytest

from davs_jax.generate.adapt import LEARNING_RATE, adapt, default_steps
from davs_jax.generate.drivers import Live, Speech
from davs_jax.import_official.convert import ORIGIN
from davs_jax.media.faces.alignment import aligned_crop
from davs_jax.media.photo import Photo
from support import talking_files
from support.tiny_model import random_model

SPEECH = Speech(talking_files.sound(0.4))


@pytest.fixture(scope="module")
def photo():
    crop = aligned_crop(talking_files.portrait(), np.array(talking_files.POINTS, float), 64)
    return Photo(crop, None, crop)


def test_official_weights_are_fitted_by_default_and_ours_are_not(joint_config):
    assert default_steps(random_model(joint_config)) == 0
    joint_config.origin = ORIGIN
    assert default_steps(random_model(joint_config)) == 5


@pytest.mark.parametrize("origin", ["ours", "official"])
def test_fitting_brings_the_image_nearer_to_the_photo_and_leaves_the_loaded_weights_alone(joint_config, photo, origin):
    if origin == "official":
        joint_config.origin = ORIGIN
    model = random_model(joint_config, batch=4)
    before = jax.tree.map(np.array, model.weights("person_encoder", "decoder", "audio_encoder"))
    fitted, far, near = adapt(model, photo, SPEECH, 5)
    after = model.weights("person_encoder", "decoder", "audio_encoder")
    jax.tree.map(np.testing.assert_array_equal, before, after)
    if origin == "ours":  # random weights in training mode at 64 px have norms of one number; there is no promise there
        assert near < far
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), before, fitted.weights(*before))
    steps = max(jax.tree.leaves([moved[n]["params"] for n in ("person_encoder", "decoder")]))
    assert 0 < steps <= 5 * LEARNING_RATE * 1.01
    assert not any(jax.tree.leaves(moved["audio_encoder"]))
    statistics = max(jax.tree.leaves(moved["decoder"]["batch_stats"]))
    assert (statistics > 0) == (origin == "official")


def test_one_step_is_a_first_step_of_adam(joint_config, photo):
    model = random_model(joint_config, batch=4)
    fitted, *_ = adapt(model, photo, SPEECH, 1)
    change = fitted.weights("decoder")["decoder"]["params"]["image"]["kernel"] - np.asarray(
        model.weights("decoder")["decoder"]["params"]["image"]["kernel"]
    )
    np.testing.assert_allclose(np.abs(change), LEARNING_RATE, rtol=1e-2)


def test_live_sound_is_not_used_up_by_fitting(joint_config, photo):
    model = random_model(joint_config, batch=4)
    blocks = iter([talking_files.sound(0.2)])
    adapt(model, photo, Live(blocks), 1)
    assert len(next(blocks)) == 3_200

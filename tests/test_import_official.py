import numpy as np
import pytest

from davs_jax import import_official


@pytest.fixture
def state_dicts():
    """The official modality discriminator."""
    shapes = {"fc1.weight": (256, 256), "fc1.bias": (256,), "fc2.weight": (1, 256), "fc2.bias": (1,)}
    return {"discriminator_audio": {key: np.ones(shape, np.float32) for key, shape in shapes.items()}}


def test_a_linear_layer_is_transposed(state_dicts):
    weight = np.arange(256 * 256, dtype=np.float32).reshape(256, 256)
    state_dicts["discriminator_audio"]["fc1.weight"] = weight
    params, batch_stats = import_official.convert(state_dicts)
    np.testing.assert_array_equal(params["modality_discriminator"]["hidden"]["kernel"], weight.T)
    assert batch_stats == {"modality_discriminator": {}}


def test_the_prefix_of_data_parallel_training_is_dropped(state_dicts):
    prefixed = {"discriminator_audio": {f"module.{k}": v for k, v in state_dicts["discriminator_audio"].items()}}
    params, _ = import_official.convert(prefixed)
    assert params["modality_discriminator"]["logit"]["kernel"].shape == (256, 1)


def test_every_wrong_key_is_named_with_its_shapes(state_dicts):
    tensors = state_dicts["discriminator_audio"]
    del tensors["fc2.bias"]
    tensors["fc1.weight"] = np.ones((128, 256), np.float32)
    tensors["fc3.weight"] = np.ones(3, np.float32)
    with pytest.raises(ValueError) as error:
        import_official.convert(state_dicts)
    assert "discriminator_audio.fc2.bias: missing; expected shape (1,)" in str(error.value)
    assert "discriminator_audio.fc1.weight: expected shape (256, 256), found (128, 256)" in str(error.value)
    assert "discriminator_audio.fc3.weight: unknown, with shape (3,)" in str(error.value)


def test_an_unknown_network_is_named(state_dicts):
    with pytest.raises(ValueError, match="optimizer_G: not an official network"):
        import_official.convert(state_dicts | {"optimizer_G": {}})


def test_what_no_forward_uses_is_listed():
    tensors = {"model.conv5.weight": 0, "model.conv6.bias": 0, "conv6.bias": 0, "bn1.num_batches_tracked": 0}
    assert import_official.unused({"lip_feature_encoder": tensors}) == [
        "lip_feature_encoder.model.conv5.weight",
        "lip_feature_encoder.model.conv6.bias",
        "lip_feature_encoder.bn1.num_batches_tracked",
    ]


def test_a_network_without_official_counterpart_is_not_exported():
    with pytest.raises(ValueError, match="person_adversary has no official counterpart"):
        import_official.export({"person_adversary": {}}, {})

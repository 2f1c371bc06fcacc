import pickle
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from davs_jax import checkpoint
from davs_jax.errors import CheckpointError
from davs_jax.generate.adapt import OFFICIAL_STEPS, default_steps
from davs_jax.generate.drivers import Speech
from davs_jax.generate.talk import generate
from davs_jax.import_official import convert, torch_file
from davs_jax.import_official.__main__ import main
from davs_jax.inference import Davs
from davs_jax.media.photo import Photo
from support.tiny_model import random_weights
from support.torch_files import Call, Named, pickled, zipped

GENERATION = ("person_encoder", "visual_encoder", "audio_encoder", "decoder")


@pytest.fixture
def state_dicts():
    """The official modality discriminator."""
    shapes = {"fc1.weight": (256, 256), "fc1.bias": (256,), "fc2.weight": (1, 256), "fc2.bias": (1,)}
    return {"discriminator_audio": {key: np.ones(shape, np.float32) for key, shape in shapes.items()}}


def test_a_linear_layer_is_transposed(state_dicts):
    weight = np.arange(256 * 256, dtype=np.float32).reshape(256, 256)
    state_dicts["discriminator_audio"]["fc1.weight"] = weight
    params, batch_stats = convert.convert(state_dicts)
    np.testing.assert_array_equal(params["modality_discriminator"]["hidden"]["kernel"], weight.T)
    assert batch_stats == {"modality_discriminator": {}}


def test_the_prefix_of_data_parallel_training_is_dropped(state_dicts):
    prefixed = {"discriminator_audio": {f"module.{k}": v for k, v in state_dicts["discriminator_audio"].items()}}
    params, _ = convert.convert(prefixed)
    assert params["modality_discriminator"]["logit"]["kernel"].shape == (256, 1)


def test_every_wrong_key_is_named_with_its_shapes(state_dicts):
    tensors = state_dicts["discriminator_audio"]
    del tensors["fc2.bias"]
    tensors["fc1.weight"] = np.ones((128, 256), np.float32)
    tensors["fc3.weight"] = np.ones(3, np.float32)
    with pytest.raises(CheckpointError) as error:
        convert.convert(state_dicts)
    assert "discriminator_audio.fc2.bias: missing; expected shape (1,)" in str(error.value)
    assert "discriminator_audio.fc1.weight: expected shape (256, 256), found (128, 256)" in str(error.value)
    assert "discriminator_audio.fc3.weight: unknown, with shape (3,)" in str(error.value)


def test_an_unknown_network_is_named(state_dicts):
    with pytest.raises(CheckpointError, match="optimizer_G: not an official network"):
        convert.convert(state_dicts | {"optimizer_G": {}})


def test_tensors_that_no_forward_uses_are_listed():
    tensors = {"model.conv5.weight": 0, "model.conv6.bias": 0, "conv6.bias": 0, "bn1.num_batches_tracked": 0}
    assert convert.unused({"lip_feature_encoder": tensors}) == [
        "lip_feature_encoder.model.conv5.weight",
        "lip_feature_encoder.model.conv6.bias",
        "lip_feature_encoder.bn1.num_batches_tracked",
    ]


def test_a_network_without_official_counterpart_is_not_exported():
    with pytest.raises(CheckpointError, match="person_adversary has no official counterpart"):
        convert.export({"person_adversary": {}}, {})


@pytest.fixture
def published(monkeypatch):
    """A small model takes the published one's place, so that nothing here takes long."""
    config = common.get_config()
    config.model.update(image_size=64, width=1 / 16, num_words=4)
    monkeypatch.setattr(common, "get_config", config.copy_and_resolve_references)
    return config


@pytest.fixture
def weights(published):
    """Params and batch statistics of the four networks of generation."""
    return tuple({name: trees[name] for name in GENERATION} for trees in random_weights(published))


@pytest.fixture
def official_weights(weights):
    return convert.export(*weights)


def assert_same_bits(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def test_convert_is_the_exact_inverse_of_export(weights, official_weights, published):
    assert_same_bits(convert.convert(official_weights, published.model), weights)


def test_the_four_networks_of_generation_are_enough_to_generate(weights, official_weights, tmp_path, monkeypatch):
    monkeypatch.setattr(torch_file, "read", lambda path: {"step": 1} | official_weights)
    assert main(["official.pth.tar", str(tmp_path / "out")]) == 0
    config, params, batch_stats = checkpoint.load_weights(tmp_path / "out")
    assert_same_bits((params, batch_stats), weights)
    assert "non-commercial research" in config.origin
    model, crop = Davs(config, params, batch_stats), np.full((64, 64, 3), 90, np.uint8)
    assert model.gains == {"audio_encoder": 1.5, "visual_encoder": 0.8}
    assert default_steps(model) == OFFICIAL_STEPS
    assert len(list(generate(model, Photo(crop, None, crop), Speech(np.zeros(1280, np.float32))))) == 2


def test_unused_tensors_are_printed(official_weights, tmp_path, monkeypatch, capsys):
    official_weights["mfcc_encoder"]["module.model1.bn5.bias"] = np.zeros(512, np.float32)
    monkeypatch.setattr(torch_file, "read", lambda path: {"step": 1, "optimizer_G": {}} | official_weights)
    main(["official.pth.tar", str(tmp_path / "out")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:-1] == ["unused: step", "unused: optimizer_G", "unused: mfcc_encoder.model1.bn5.bias"]


@pytest.mark.parametrize("stored", [{"Decoder": {}, "step": 1}, [1, 2]])
def test_a_checkpoint_without_a_network_of_generation_is_refused(stored, tmp_path, monkeypatch):
    monkeypatch.setattr(torch_file, "read", lambda path: stored)
    with pytest.raises(SystemExit, match=r"official\.pth\.tar: has no state dict named .*mfcc_encoder"):
        main(["official.pth.tar", str(tmp_path / "out")])


def test_a_key_that_does_not_fit_is_refused_with_the_files_name(official_weights, tmp_path, monkeypatch):
    del official_weights["Decoder"]["conv7_2.bias"]
    monkeypatch.setattr(torch_file, "read", lambda path: official_weights)
    with pytest.raises(SystemExit, match=r"official\.pth\.tar: these are not(.|\n)*Decoder\.conv7_2\.bias: missing"):
        main(["official.pth.tar", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_another_model_than_the_published_one_is_not_exported(published, weights, tmp_path):
    checkpoint.save_weights(tmp_path / "ours", published, *weights)
    published.model.width = 1 / 8
    with pytest.raises(SystemExit, match=r"ours: the official code cannot load .*width: 0\.125 → 0\.0625") as stopped:
        main(["--export", str(tmp_path / "ours"), str(tmp_path / "official.pth.tar")])
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("wid_norm", "mean", "its config.model.wid_norm is 'mean', and the official code does not"),
        ("align_corners", False, "its config.model.align_corners is False, and the official code aligns"),
    ],
)
def test_what_no_shape_shows_and_the_official_code_does_not_do_is_not_exported(
    published, weights, tmp_path, name, value, says
):
    published.model[name] = value
    checkpoint.save_weights(tmp_path / "ours", published, *weights)
    with pytest.raises(SystemExit, match=f"ours: {says}"):
        main(["--export", str(tmp_path / "ours"), str(tmp_path / "official.pth.tar")])


def test_export_without_pytorch_names_its_extra(published, weights, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    checkpoint.save_weights(tmp_path / "ours", published, *weights)
    with pytest.raises(SystemExit, match=r"a\.pth\.tar: writing it needs PyTorch; pip install 'davs_jax\[torch\]'$"):
        main(["--export", str(tmp_path / "ours"), str(tmp_path / "a.pth.tar")])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"none\.pth\.tar: no such file"):
        main([str(tmp_path / "none.pth.tar"), str(tmp_path / "out")])


class Python2Pickler(pickle._Pickler):
    """Spells strings and long integers as Python 2 does."""

    def save_text(self, text):
        self.write(pickle.SHORT_BINSTRING + bytes([len(text)]) + text.encode("latin1"))
        self.memoize(text)

    def save_integer(self, number):
        if 2**31 <= abs(number) < 2**63:
            self.write(pickle.INT + b"%d\n" % number)
        else:
            self.save_long(number)

    dispatch = pickle._Pickler.dispatch | {str: save_text, int: save_integer}


PYTHON_2 = SimpleNamespace(
    __name__="python_2",
    Pickler=Python2Pickler,
    dump=lambda value, file, protocol: Python2Pickler(file, protocol).dump(value),
)


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: pip install 'davs_jax[torch]'")


@pytest.mark.parametrize(
    "form", [{}, {"_use_new_zipfile_serialization": False, "pickle_module": PYTHON_2}], ids=["new", "python 2"]
)
def test_importing_and_exporting_again_is_exact(torch, form, official_weights, tmp_path, capsys):
    stored = {
        name: {f"module.{key}": torch.from_numpy(np.array(tensor, order="C")) for key, tensor in tensors.items()}
        for name, tensors in official_weights.items()
    }
    stored["optimizer_G"] = {"state": {139972318142480: {"exp_avg": torch.ones(3)}}, "note": "café"}
    official, ours, back = (str(tmp_path / name) for name in ("official.pth.tar", "ours", "back.pth.tar"))
    torch.save(stored, official, **form)
    assert main([official, ours]) == 0
    assert "unused: optimizer_G" in capsys.readouterr().out
    assert main([ours, "--export", back]) == 0
    again = torch.load(back, weights_only=True)
    assert (again.pop("step"), again.pop("epoch")) == (0, 0)
    assert_same_bits(jax.tree.map(lambda tensor: tensor.numpy(), again), official_weights)


@pytest.fixture
def import_it(official_weights, tmp_path):
    """Writes the official weights, changed, as PyTorch would, and imports them."""

    def run(change, form=zipped):
        stored = {name: dict(tensors) for name, tensors in official_weights.items()}
        (tmp_path / "official.pth.tar").write_bytes(form(change(stored) or stored))
        return main([str(tmp_path / "official.pth.tar"), str(tmp_path / "out")])

    return run


def every_tensor(dtype):
    def change(stored):
        for tensors in stored.values():
            tensors.update({key: value.astype(dtype) for key, value in tensors.items()})

    return change


@pytest.mark.parametrize("form", [zipped, pickled])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, np.float16])
def test_shorter_floats_are_converted_exactly(import_it, official_weights, weights, tmp_path, form, dtype):
    assert import_it(every_tensor(dtype), form) == 0
    expected = jax.tree.map(lambda leaf: leaf.astype(dtype).astype(np.float32), weights)
    assert_same_bits(checkpoint.load_weights(tmp_path / "out")[1:], expected)


def test_float64_is_rounded_with_a_note(import_it, capsys):
    def change(stored):
        every_tensor(np.float64)(stored)
        stored["Decoder"]["conv7_2.bias"] = stored["Decoder"]["conv7_2.bias"] + 1e-12

    assert import_it(change) == 0
    assert "rounded from float64 to float32: 1 tensors" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_checkpoint_within_another_is_found(import_it, weights, tmp_path, capsys, key):
    assert import_it(lambda stored: {"epoch": 3, key: stored, "optimizer": {"state": {}}}) == 0
    assert_same_bits(checkpoint.load_weights(tmp_path / "out")[1:], weights)
    assert f"read from its entry '{key}'" in capsys.readouterr().out


def put(network, key, value):
    return lambda stored: stored[network].update({key: value(stored[network]) if callable(value) else value})


BIAS, VARIANCE = "conv7_2.bias", "deconv1_1_bn.running_var"
WRONG = {
    "NaN": (
        put("Decoder", BIAS, lambda d: d[BIAS] * np.nan),
        r"Decoder\.conv7_2\.bias: 3 of its 3 numbers are not finite",
    ),
    "overflow": (put("Decoder", BIAS, np.full(3, 1e300)), r"3 of its 3 numbers are not finite"),
    "variance": (put("Decoder", VARIANCE, lambda d: -d[VARIANCE]), r"running_var: holds negative variances"),
    "both names": (
        put("Decoder", f"module.{BIAS}", lambda d: d[BIAS]),
        r"conv7_2\.bias: is there with and without 'module\.'",
    ),
    "complex": (put("Decoder", BIAS, lambda d: d[BIAS].astype(np.complex64)), "holds complex64, not floating-point"),
    "integers": (put("Decoder", BIAS, lambda d: d[BIAS].astype(np.int8)), "holds int8, not floating-point"),
    "number": (put("Decoder", BIAS, 3), r"expected shape \(3,\), found \(\)"),
    "no tensor": (put("Decoder", BIAS, [[1], [1, 2]]), "conv7_2.bias: is no tensor"),
    "key": (put("Decoder", 5, 1), "Decoder: the key 5 is not text"),
    "sparse": (
        put("Decoder", BIAS, Call(Named("torch._utils", "_rebuild_sparse_tensor"), (None, ()))),
        r"conv7_2\.bias: is a sparse tensor",
    ),
    "empty": (lambda stored: stored | {"Decoder": {}}, "Decoder: is empty"),
    "one network": (lambda stored: stored["Decoder"], "has no state dict named ID_encoder"),
    "other values": (
        lambda stored: stored | {"Decoder": {"a": 1}},
        r"missing; .* more; give a copy as it was released",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_weight_is_refused_in_one_sentence(import_it, tmp_path, name):
    change, reason = WRONG[name]
    with pytest.raises(SystemExit, match=reason) as stopped:
        import_it(change)
    assert "\n" not in str(stopped.value) and len(str(stopped.value)) < 500
    assert not (tmp_path / "out").exists()


class Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_file_is_refused_by_name_and_not_run(torch, new, tmp_path):
    file, victim = tmp_path / "evil.pth.tar", tmp_path / "victim"
    torch.save({"Decoder": Code(str(victim))}, file, _use_new_zipfile_serialization=new)
    with pytest.raises(SystemExit, match=r"evil\.pth\.tar: asks for (io\.)?open, .* is refused") as stopped:
        main([str(file), str(tmp_path / "out")])
    assert "\n" not in str(stopped.value)
    assert not victim.exists()

import io
import pickle
import struct
import sys
import tarfile
from types import SimpleNamespace

import jax
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


def test_without_pytorch_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "a.pth.tar").touch()
    with pytest.raises(SystemExit, match=r"a\.pth\.tar: this needs PyTorch; pip install 'davs_jax\[torch\]'$"):
        main([str(tmp_path / "a.pth.tar"), str(tmp_path / "out")])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"none\.pth\.tar: no such file"):
        main([str(tmp_path / "none.pth.tar"), str(tmp_path / "out")])


def test_pickles_of_python_2_hold_the_same_values_after_rewriting():
    path = "é" * 150
    spelt = [b"U\x04caf\xe9", b"T" + struct.pack("<i", 150) + path.encode("latin1"), b"I139972318142480\n", b"I-5\n"]
    old = b"\x80\x02(" + b"".join(spelt) + b"K\x07X\x01\x00\x00\x00at."
    new = torch_file.with_python_3_opcodes(io.BytesIO(old * torch_file.PICKLES + b"storages"))
    for _ in range(torch_file.PICKLES):
        assert pickle.load(new, encoding="ASCII") == ("café", path, 139972318142480, -5, 7, "a")
    assert new.read() == b"storages"


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


def test_a_file_of_another_kind_is_refused_in_one_sentence(torch, tmp_path):
    file = tmp_path / "old.pth.tar"
    with tarfile.open(file, "w") as tar:
        for name in ("storages", "tensors", "pickle"):
            tar.addfile(tarfile.TarInfo(name))
    with pytest.raises(SystemExit, match=r"old\.pth\.tar: is a tar of PyTorch before 0\.1\.10"):
        main([str(file), str(tmp_path / "out")])
    for content in (b"", b"<html>quota exceeded</html>", torch_file.MAGIC + b"\x80\x02K"):
        file.write_bytes(content)
        with pytest.raises(SystemExit, match=r"old\.pth\.tar: cannot be read as a PyTorch checkpoint") as stopped:
            main([str(file), str(tmp_path / "out")])
        assert "\n" not in str(stopped.value)

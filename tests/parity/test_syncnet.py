"""SyncNet, its MFCC and its scoring against numbers of PyTorch and python_speech_features (syncnet.json)."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
import seeded
import syncnet_inputs
from official import assert_output

from davs_jax.errors import CheckpointError
from davs_jax.evaluate import lip_sync
from davs_jax.import_official import syncnet as import_syncnet
from davs_jax.media.audio import syncnet_features
from davs_jax.models.syncnet import SyncNet
from support.torch_files import pickled

NUMBERS = json.loads(Path(__file__).with_name("syncnet.json").read_text())


@pytest.fixture(scope="module")
def state_dict() -> dict[str, np.ndarray]:
    return seeded.state_dict("syncnet", NUMBERS["shapes"])


def test_the_network_equals_the_same_one_in_pytorch(state_dict):
    params, batch_stats = import_syncnet.convert(state_dict)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == NUMBERS["parameters"] == 13_631_616
    variables = {"params": params, "batch_stats": batch_stats}
    face, audio = jax.jit(lambda v, *x: SyncNet().apply(v, *x, train=False))(variables, *syncnet_inputs.windows())
    assert_output(face, "face", NUMBERS["face"])
    assert_output(audio, "sound", NUMBERS["sound"])


@pytest.mark.parametrize("name", NUMBERS["mfcc"])
def test_the_mfcc_equals_python_speech_features(name):
    assert_output(syncnet_features.mfcc(syncnet_inputs.sounds()[name]), name, NUMBERS["mfcc"][name])


def test_the_score_equals_the_protocol_in_pytorch():
    found, expected = lip_sync.score(*syncnet_inputs.vectors()), NUMBERS["scores"]
    assert found.distance == pytest.approx(expected["distance"], rel=1e-5)
    assert found.confidence == pytest.approx(expected["confidence"], rel=1e-5)
    assert found.offset == expected["offset"]


def test_a_scorer_cuts_the_windows_of_frames_and_audio(state_dict):
    params, batch_stats = import_syncnet.convert(state_dict)
    rng = np.random.default_rng(0)
    frames, samples = rng.integers(0, 256, (8, 224, 224, 3), np.uint8), syncnet_inputs.sounds()["clip"][: 7 * 640]
    faces, sounds = lip_sync.Scorer(params, batch_stats).vectors(frames, samples)
    assert faces.shape == sounds.shape == (2, 1024)  # min(8, 7) − 5
    mfcc = syncnet_features.mfcc(samples).astype(np.float32)
    variables = {"params": params, "batch_stats": batch_stats}
    bgr = np.ascontiguousarray(frames[1:6, ..., ::-1])[None]
    face, sound = jax.jit(lambda v, *x: SyncNet().apply(v, *x, train=False))(variables, bgr, mfcc[None, 4:24])
    np.testing.assert_allclose(faces[1], face[0], rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(sounds[1], sound[0], rtol=1e-3, atol=1e-2)


def test_the_released_files_format_needs_no_pytorch(state_dict, tmp_path):
    (tmp_path / "syncnet_v2.model").write_bytes(pickled(state_dict))
    found, expected = import_syncnet.read(tmp_path / "syncnet_v2.model"), import_syncnet.convert(state_dict)
    assert jax.tree.all(jax.tree.map(np.array_equal, found, expected))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.full(1024, np.nan, np.float32), "netfcaud.3.bias: 1,024 of its 1,024 numbers are not finite"),
        (np.zeros(1024, np.complex64), "netfcaud.3.bias: holds complex64"),
    ],
)
def test_values_that_are_no_weights_are_refused(state_dict, tmp_path, value, reason):
    np.savez(tmp_path / "net.npz", **state_dict | {"netfcaud.3.bias": value})
    with pytest.raises(CheckpointError, match=reason):
        import_syncnet.read(tmp_path / "net.npz")


def test_wrong_weights_are_named(state_dict, tmp_path):
    wrong = {key: value for key, value in state_dict.items() if key != "netfcaud.3.bias"}
    wrong |= {"netcnnlip.0.weight": np.zeros((96, 3, 5, 3, 3)), "extra.weight": np.zeros(2)}
    with pytest.raises(CheckpointError, match="not weights of SyncNet") as refused:
        import_syncnet.convert(wrong)
    lines = refused.value.reason.partition(": ")[2].split("; ")
    assert sorted(line.split(":")[0] for line in lines) == ["extra.weight", "netcnnlip.0.weight", "netfcaud.3.bias"]
    np.savez(tmp_path / "net.npz", **wrong)
    with pytest.raises(CheckpointError, match=r"net\.npz: these are not weights of SyncNet"):
        import_syncnet.read(tmp_path / "net.npz")
    with pytest.raises(CheckpointError, match=r"none\.model: no such file"):
        import_syncnet.read(tmp_path / "none.model")

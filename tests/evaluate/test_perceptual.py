import re
import sys

import numpy as np
import pytest

from davs_jax.checkpoint.export import CheckpointError
from davs_jax.evaluate.perceptual import ALEXNET, INCEPTION, Judge


def clip(seed: int) -> dict[str, np.ndarray]:
    """A clip of pictures that have large shapes, its real frames and two generated ones."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (29, 8, 8, 3), np.uint8)
    real = coarse.repeat(8, 1).repeat(8, 2)
    noisy = real + rng.integers(0, 50, real.shape, np.uint8)
    return {"real": real, "audio": noisy, "photo": np.repeat(real[:1], 29, 0)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Both files, of random networks: the published ones cannot be had everywhere, and arithmetic needs none."""
    torch = pytest.importorskip("torch", reason="needs davs_jax[perceptual]")
    pytest.importorskip("torchmetrics.image", reason="needs davs_jax[perceptual]")
    inception = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="needs torch-fidelity")
    torchvision = pytest.importorskip("torchvision", reason="needs torchvision")
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), folder / ALEXNET)
    with pytest.MonkeyPatch.context() as patch:  # it would ask for its weights before it has any
        patch.setattr(inception.FeatureExtractorInceptionV3, "load_state_dict", lambda network, state: None)
        network = inception.FeatureExtractorInceptionV3("", ["2048"], feature_extractor_weights_path=folder / ALEXNET)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):  # PyTorch's own start makes features of 1e-7 after so many layers
            torch.nn.init.kaiming_normal_(layer.weight)
    torch.save(network.state_dict(), folder / INCEPTION)
    return folder


@pytest.fixture(scope="module")
def clips():
    return [clip(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def table(weights, clips):
    judge = Judge(weights)
    assert judge.missing == {}
    for i, shown in enumerate(clips):
        judge.add(i, {name: shown[name] for name in ("audio", "photo", "real")}, shown["real"])
    return judge.table(np.array([0, 0, 1]), seed=0)


def test_fid_is_what_torch_fidelity_makes_of_the_same_pictures(weights, clips, table, tmp_path):
    from PIL import Image
    from torch_fidelity import calculate_metrics

    for name in clips[0]:
        (tmp_path / name).mkdir()
        for i, shown in enumerate(clips):
            for t in range(4, 29, 4):
                Image.fromarray(shown[name][t]).save(tmp_path / name / f"{i}-{t}.png")
    assert min(table["audio"]["fid"], table["photo"]["fid"]) > 1
    for name in ("audio", "photo"):
        found = calculate_metrics(
            input1=str(tmp_path / name),
            input2=str(tmp_path / "real"),
            fid=True,
            feature_extractor_weights_path=str(weights / INCEPTION),
            cuda=False,
            cache=False,
            verbose=False,
        )
        assert table[name]["fid"] == pytest.approx(found["frechet_inception_distance"], rel=1e-5)
    # Not 0: of 2,048 eigenvalues all but twenty are 0 but for rounding, and their square roots are summed.
    assert abs(table["real"]["fid"]) < 1e-5 * table["photo"]["fid"]


def test_lpips_is_what_its_authors_code_says(weights, clips, table, monkeypatch, tmp_path):
    reference = pytest.importorskip("lpips", reason="needs the authors' package lpips")
    import torch

    (tmp_path / "checkpoints").symlink_to(weights)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    network = reference.LPIPS(net="alex", verbose=False)
    for name in ("audio", "photo"):
        values = []
        for shown in clips:
            pair = (torch.tensor(shown[key][4::4] / 127.5 - 1, dtype=torch.float32) for key in (name, "real"))
            with torch.no_grad():
                values.append(float(network(*(pictures.permute(0, 3, 1, 2) for pictures in pair)).mean()))
        assert table[name]["lpips"]["mean"] == pytest.approx(np.mean(values), rel=1e-5)
    assert table["real"]["lpips"]["mean"] == 0
    assert table["audio"]["lpips"]["low"] <= table["audio"]["lpips"]["mean"] <= table["audio"]["lpips"]["high"]


def test_the_table_says_what_was_measured_on_how_many(table):
    assert table["measure"]["clips"] == 3
    assert table["measure"]["pictures"] == 21
    assert "AlexNet" in table["measure"]["lpips"]
    assert "TensorFlow 1" in table["measure"]["fid"]


def test_one_file_gives_one_distance_and_a_reason(weights, clips, tmp_path):
    (tmp_path / ALEXNET).symlink_to(weights / ALEXNET)
    judge = Judge(tmp_path)
    judge.add(0, {"audio": clips[0]["audio"]}, clips[0]["real"])
    assert set(judge.table(None, seed=0)["audio"]) == {"lpips"}
    assert judge.missing == {"FID": f"no {INCEPTION} was given"}


@pytest.mark.parametrize("name", [INCEPTION, ALEXNET])
@pytest.mark.parametrize("content", [b"no weights", b""])
def test_a_damaged_file_is_told_in_one_sentence(weights, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / name)) + ".*download it again") as told:
        Judge(tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("name", "other"), [(INCEPTION, ALEXNET), (ALEXNET, INCEPTION)])
def test_another_networks_file_is_told_too(weights, tmp_path, name, other):
    (tmp_path / name).symlink_to(weights / other)
    with pytest.raises(CheckpointError, match=re.escape(name) + ".*download it again"):
        Judge(tmp_path)


def test_a_folder_without_weights_is_told_what_belongs_there(tmp_path):
    with pytest.raises(CheckpointError, match=f"holds neither {INCEPTION} .* nor {ALEXNET}"):
        Judge(tmp_path)


def test_without_the_extra_its_name_is_told(tmp_path, monkeypatch):
    (tmp_path / ALEXNET).touch()
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(CheckpointError, match=re.escape("pip install 'davs_jax[perceptual]'")):
        Judge(tmp_path)

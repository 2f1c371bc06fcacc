import re
import sys

import numpy as np
import pytest

from davs_jax.errors import CheckpointError
from davs_jax.evaluate.perceptual import ALEXNET, INCEPTION, PerceptualMetrics
from davs_jax.evaluate.report.record import encoded


def clip(seed: int) -> dict[str, np.ndarray]:
    """A clip of images with large shapes: its real frames and two generated variants."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (29, 8, 8, 3), np.uint8)
    real = coarse.repeat(8, 1).repeat(8, 2)
    noisy = real + rng.integers(0, 50, real.shape, np.uint8)
    return {"real": real, "audio": noisy, "photo": np.repeat(real[:1], 29, 0)}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Both files, of random networks: the published ones are not available everywhere, and arithmetic needs none."""
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
    metrics = PerceptualMetrics(weights)
    assert metrics.missing == {}
    for i, shown in enumerate(clips):
        metrics.add(i, {name: shown[name] for name in ("audio", "photo", "real")}, shown["real"])
    return metrics.table(np.array([0, 0, 1]), seed=0)


def test_fid_is_that_of_torch_fidelity_on_the_same_images(weights, clips, table, tmp_path):
    from PIL import Image
    from torch_fidelity import calculate_metrics

    for name in clips[0]:
        (tmp_path / name).mkdir()
        for i, shown in enumerate(clips):
            for t in range(4, 29, 4):
                Image.fromarray(shown[name][t]).save(tmp_path / name / f"{i}-{t}.png")
    assert min(table.by_driver["audio"].fid, table.by_driver["photo"].fid) > 1
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
        assert table.by_driver[name].fid == pytest.approx(found["frechet_inception_distance"], rel=1e-5)
    # Not 0: of 2,048 eigenvalues all but twenty are 0 but for rounding, and their square roots are summed.
    assert abs(table.by_driver["real"].fid) < 1e-5 * table.by_driver["photo"].fid


def test_lpips_is_that_of_its_authors_code(weights, clips, table, monkeypatch, tmp_path):
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
                values.append(float(network(*(images.permute(0, 3, 1, 2) for images in pair)).mean()))
        assert table.by_driver[name].lpips.mean == pytest.approx(np.mean(values), rel=1e-5)
    assert table.by_driver["real"].lpips.mean == 0
    assert (
        table.by_driver["audio"].lpips.low <= table.by_driver["audio"].lpips.mean <= table.by_driver["audio"].lpips.high
    )


def test_the_table_says_what_was_measured_on_how_many(table):
    assert table.measure.clips == 3
    assert table.measure.images == 21
    assert "AlexNet" in table.measure.lpips
    assert "TensorFlow 1" in table.measure.fid


def test_one_file_gives_one_distance_and_a_reason(weights, clips, tmp_path):
    (tmp_path / ALEXNET).symlink_to(weights / ALEXNET)
    metrics = PerceptualMetrics(tmp_path)
    metrics.add(0, {"audio": clips[0]["audio"]}, clips[0]["real"])
    assert metrics.table(None, seed=0).by_driver["audio"].fid is None
    assert metrics.missing == {"FID": f"no {INCEPTION} was given"}


@pytest.mark.parametrize("name", [INCEPTION, ALEXNET])
@pytest.mark.parametrize("content", [b"no weights", b""])
def test_a_damaged_file_is_refused_in_one_sentence(weights, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(str(tmp_path / name)) + ".*download it again") as told:
        PerceptualMetrics(tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(("name", "other"), [(INCEPTION, ALEXNET), (ALEXNET, INCEPTION)])
def test_another_networks_file_is_refused_too(weights, tmp_path, name, other):
    (tmp_path / name).symlink_to(weights / other)
    with pytest.raises(CheckpointError, match=re.escape(name) + ".*download it again"):
        PerceptualMetrics(tmp_path)


def test_a_folder_without_weights_is_refused_with_the_names_of_the_files(tmp_path):
    with pytest.raises(CheckpointError, match=f"holds neither {INCEPTION} .* nor {ALEXNET}"):
        PerceptualMetrics(tmp_path)


def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch):
    (tmp_path / ALEXNET).touch()
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(CheckpointError, match=re.escape("pip install 'davs_jax[perceptual]'")):
        PerceptualMetrics(tmp_path)


class Sums:
    """FID's sums of one driver, known beforehand."""

    def compute(self) -> float:
        return 12.5


@pytest.mark.parametrize("people", [None, np.array([0, 0, 1])])
def test_the_table_holds_the_mean_of_each_metric_that_was_measured(people):
    metrics = object.__new__(PerceptualMetrics)  # no weights: the accumulated values are given
    metrics._lpips, metrics._inception, metrics._index, metrics._images = True, None, [0, 1, 2], 21
    metrics._distances, metrics._fids = [{"audio": value} for value in (0.1, 0.2, 0.6)], {}
    found = metrics.table(people, seed=0)
    assert found.by_driver["audio"].lpips.mean == pytest.approx(0.3)
    assert found.by_driver["audio"].fid is None
    assert encoded(found)["measure"] == {"lpips": found.measure.lpips, "clips": 3, "pictures": 21}
    metrics._lpips, metrics._inception, metrics._fids = None, True, {"audio": Sums()}
    assert encoded(metrics.table(people, seed=0))["audio"] == {"fid": 12.5}

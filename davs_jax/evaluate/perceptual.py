"""LPIPS and FID, by torchmetrics, with the published networks' weights where the user has them.

Neither network comes with the package, and nothing is downloaded. The user names a folder that holds one of the two
files or both under their published names, such as the folder of PyTorch's downloads.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from davs_jax.errors import CheckpointError, first_line
from davs_jax.evaluate import metrics
from davs_jax.evaluate.sections import DistanceMeasure, Distances, Mean, Perceptual

if TYPE_CHECKING:
    import torch

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"  # a file of torch-fidelity's release v0.2.0
ALEXNET = "alexnet-owt-7be5be79.pth"  # torchvision's
CLIPS = 500  # at most, evenly spread over the split: Inception takes 0.2 s of one core per image
EVERY = 4  # frames from one measured frame to the next: neighbours are nearly equal
FEATURES = 2048
LPIPS = "LPIPS 0.1 with AlexNet, images in their own size"
FID = f"FID of {FEATURES:,} features of Inception 2015-12-05, images resized to 299 px as in TensorFlow 1"


class PerceptualMetrics:
    """LPIPS and FID, or the one whose weights are given, accumulated over clips.

    Args:
      folder: holds INCEPTION, ALEXNET or both.

    Raises:
      CheckpointError: the folder holds neither file, a file is damaged, or torchmetrics is not installed.
    """

    def __init__(self, folder: str | Path):
        inception, alexnet = (Path(folder) / name for name in (INCEPTION, ALEXNET))
        if not (inception.is_file() or alexnet.is_file()):
            raise CheckpointError(
                f"{folder} holds neither {INCEPTION} (for FID, of torch-fidelity's release v0.2.0) nor {ALEXNET} (for "
                "LPIPS, torchvision's)",
                "put one or both there",
            )
        try:
            import torch_fidelity  # noqa: F401  (torchmetrics can be there without it)
            import torchvision  # noqa: F401
            from torchmetrics.image import FrechetInceptionDistance  # noqa: F401
        except ImportError as error:
            raise CheckpointError(
                f"LPIPS and FID need more packages ({first_line(error)})", "pip install 'davs_jax[perceptual]'"
            ) from error
        self._inception = _inception(inception) if inception.is_file() else None
        self._lpips = _lpips(alexnet) if alexnet.is_file() else None
        self._fids, self._distances, self._index, self._images = {}, [], [], 0

    @property
    def missing(self) -> dict[str, str]:
        """By metric, why it is not measured."""
        absent = {"FID": (self._inception, INCEPTION), "LPIPS": (self._lpips, ALEXNET)}
        return {name: f"no {file} was given" for name, (network, file) in absent.items() if network is None}

    def add(self, index: int, variants: Mapping[str, np.ndarray], real: np.ndarray) -> None:
        """Adds a clip.

        Args:
          index: of the clip.
          variants: frames uint8 `[T, S, S, 3]` by name; the same names for every clip.
          real: the same of the real clip.
        """
        import torch

        shown, true = {name: _measured(frames) for name, frames in variants.items()}, _measured(real)
        self._index.append(index)
        self._images += len(true)
        with torch.no_grad():
            if self._lpips:
                pairs = {name: [part / 127.5 - 1 for part in (images, true)] for name, images in shown.items()}
                self._distances.append({name: float(self._lpips(*pair)) for name, pair in pairs.items()})
            if self._inception:
                self._fids = self._fids or {name: _sums() for name in shown}
                real_features = self._inception(true)  # once for all variants: torchmetrics gets features
                for name, images in shown.items():
                    self._fids[name].update(real_features, real=True)
                    self._fids[name].update(self._inception(images), real=False)

    def table(self, people: np.ndarray | None, seed: int) -> Perceptual:
        """The metrics by variant.

        Args:
          people: of all clips that were counted, `[N]`; None where they are not known.
          seed: of the bootstrap.
        """
        groups = people[self._index] if people is not None else None

        def lpips(name: str) -> Mean:
            values = np.array([clip[name] for clip in self._distances])
            low, high = metrics.interval(values, groups, seed=seed)
            return Mean(mean=float(values.mean()), low=low, high=high)

        by_driver = {
            name: Distances(
                lpips=lpips(name) if self._lpips else None,
                fid=float(self._fids[name].compute()) if self._inception else None,
            )
            for name in (self._distances[0] if self._lpips else self._fids)
        }
        measure = DistanceMeasure(
            lpips=LPIPS if self._lpips else None,
            fid=FID if self._inception else None,
            clips=len(self._index),
            images=self._images,
        )
        return Perceptual(by_driver=by_driver, measure=measure)


def _measured(frames: np.ndarray) -> "torch.Tensor":
    """uint8 `[T, S, S, 3]` → `[⌊(T − 1) / 4⌋, 3, S, S]`, the photo's own frame, the first, left out."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(frames[EVERY::EVERY].transpose(0, 3, 1, 2)))


def _inception(path: Path):
    """The network, uint8 `[N, 3, S, S]` → features `[N, 2048]`."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    _check(path)
    try:
        network = FeatureExtractorInceptionV3("davs", [str(FEATURES)], feature_extractor_weights_path=str(path))
    except Exception as error:
        raise _damaged(path, error) from error
    return lambda images: network(images)[0]


def _lpips(path: Path):
    """The mean distance of two batches of images −1 … 1 `[N, 3, S, S]`.

    torchmetrics takes AlexNet from PyTorch's hub; here the hub is a temporary folder that links to the user's file.
    """
    import torch
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    _check(path)
    before = torch.hub.get_dir()
    try:
        with tempfile.TemporaryDirectory() as hub:
            (Path(hub) / "checkpoints").symlink_to(path.parent.resolve())
            torch.hub.set_dir(hub)
            return LearnedPerceptualImagePatchSimilarity("alex")
    except Exception as error:
        raise _damaged(path, error) from error
    finally:
        torch.hub.set_dir(before)


def _sums():
    """torchmetrics' FID of given features."""
    import torch
    from torchmetrics.image import FrechetInceptionDistance

    features = torch.nn.Identity()
    features.num_features = FEATURES
    return FrechetInceptionDistance(features)


def _check(path: Path) -> None:
    """Reads a file as data only: the libraries would run code that is pickled in it.

    Raises:
      CheckpointError: it is not a file of weights.
    """
    import torch

    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: cannot be read as the published weights ({first_line(error)})", "download it again"
    )

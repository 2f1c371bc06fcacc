"""LPIPS and FID, by torchmetrics, from the published networks' weights where the user has them.

Neither network comes with the package, and nothing is downloaded: a folder is named that holds one of the two files or
both, under the names of their publication. Such a folder is the one where PyTorch keeps what it has downloaded.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from davs_jax.checkpoint.export import CheckpointError
from davs_jax.evaluate import metrics

if TYPE_CHECKING:
    import torch

INCEPTION = "weights-inception-2015-12-05-6726825d.pth"  # a file of torch-fidelity's release v0.2.0
ALEXNET = "alexnet-owt-7be5be79.pth"  # torchvision's
CLIPS = 500  # at most, evenly spread over the split: Inception takes a fifth of a second of one core a picture
EVERY = 4  # frames; one in so many is looked at, for neighbours are nearly the same picture
FEATURES = 2048
MEASURES = {
    "lpips": "LPIPS 0.1 with AlexNet, pictures in their own size",
    "fid": f"FID of {FEATURES:,} features of Inception 2015-12-05, pictures brought to 299 px as TensorFlow 1 does",
}


class Judge:
    """Both distances, or the one whose weights there are, of the clips that are shown to it.

    Args:
      folder: holds INCEPTION, ALEXNET or both.

    Raises:
      CheckpointError: the folder holds neither file, a file is damaged, or torchmetrics is not installed.
    """

    def __init__(self, folder: str | Path):
        inception, alexnet = (Path(folder) / name for name in (INCEPTION, ALEXNET))
        if not (inception.is_file() or alexnet.is_file()):
            raise CheckpointError(
                f"{folder} holds neither {INCEPTION} (for FID; torch-fidelity's release v0.2.0) nor {ALEXNET} (for "
                "LPIPS; torchvision's); put one or both there"
            )
        try:
            import torch_fidelity  # noqa: F401  (torchmetrics can be there without it)
            import torchvision  # noqa: F401
            from torchmetrics.image import FrechetInceptionDistance  # noqa: F401
        except ImportError as error:
            raise CheckpointError(f"LPIPS and FID need more ({error}): pip install 'davs_jax[perceptual]'") from error
        self._inception = _inception(inception) if inception.is_file() else None
        self._lpips = _lpips(alexnet) if alexnet.is_file() else None
        self._fids, self._distances, self._index, self._pictures = {}, [], [], 0

    @property
    def missing(self) -> dict[str, str]:
        """By distance, why it is not measured."""
        absent = {"FID": (self._inception, INCEPTION), "LPIPS": (self._lpips, ALEXNET)}
        return {name: f"no {file} was given" for name, (network, file) in absent.items() if network is None}

    def add(self, index: int, variants: Mapping[str, np.ndarray], real: np.ndarray) -> None:
        """Takes a clip into account.

        Args:
          index: of the clip.
          variants: frames uint8 `[T, S, S, 3]` by name; the same names for every clip.
          real: the same of the real clip.
        """
        import torch

        shown, true = {name: _looked_at(frames) for name, frames in variants.items()}, _looked_at(real)
        self._index.append(index)
        self._pictures += len(true)
        with torch.no_grad():
            if self._lpips:
                pairs = {name: [p / 127.5 - 1 for p in (pictures, true)] for name, pictures in shown.items()}
                self._distances.append({name: float(self._lpips(*pair)) for name, pair in pairs.items()})
            if self._inception:
                self._fids = self._fids or {name: _sums() for name in shown}
                real_features = self._inception(true)  # once for all variants, so the sums are given features
                for name, pictures in shown.items():
                    self._fids[name].update(real_features, real=True)
                    self._fids[name].update(self._inception(pictures), real=False)

    def table(self, people: np.ndarray | None, seed: int) -> dict:
        """By variant `fid`, and `lpips` with its 95 % interval; under "measure" what they are, and the counts.

        Args:
          people: of all clips that were counted, `[N]`; None where they are not known.
          seed: of the bootstrap.
        """
        names = list(self._distances[0] if self._lpips else self._fids)
        figures: dict = {name: {} for name in names}
        if self._lpips:
            groups = people[self._index] if people is not None else None
            for name in names:
                values = np.array([clip[name] for clip in self._distances])
                low, high = metrics.interval(values, groups, seed=seed)
                figures[name]["lpips"] = {"mean": float(values.mean()), "low": low, "high": high}
        if self._inception:
            for name in names:
                figures[name]["fid"] = float(self._fids[name].compute())
        measure = {key: MEASURES[key] for key in figures[names[0]]}
        return figures | {"measure": measure | {"clips": len(self._index), "pictures": self._pictures}}


def _looked_at(frames: np.ndarray) -> "torch.Tensor":
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
        raise CheckpointError(_damaged(path, error)) from error
    return lambda pictures: network(pictures)[0]


def _lpips(path: Path):
    """The distance of two batches of pictures −1 … 1 `[N, 3, S, S]`, its mean over them.

    torchmetrics asks PyTorch's hub for AlexNet; here that finds the user's file, in a folder of its own.
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
        raise CheckpointError(_damaged(path, error)) from error
    finally:
        torch.hub.set_dir(before)


def _sums():
    """torchmetrics' FID, fed with features."""
    import torch
    from torchmetrics.image import FrechetInceptionDistance

    features = torch.nn.Identity()
    features.num_features = FEATURES
    return FrechetInceptionDistance(features)


def _check(path: Path) -> None:
    """Reads a file as data alone: the libraries would run whatever code is pickled in it.

    Raises:
      CheckpointError: it is no file of weights.
    """
    import torch

    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(_damaged(path, error)) from error


def _damaged(path: Path, error: Exception) -> str:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{path}: cannot be read as the published weights ({reason}); download it again"

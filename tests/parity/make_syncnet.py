"""Writes syncnet.json: numbers of SyncNet in PyTorch, and of `python_speech_features`, that the tests compare with.

    pip install torch python_speech_features
    python tests/parity/make_syncnet.py

The network is written here from its description (layer sizes, state dict keys); weights and inputs are `seeded`'s.
"""

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import python_speech_features
import seeded
import syncnet_inputs
import torch
from torch import nn

TARGET = Path(__file__).with_name("syncnet.json")


def normed(convolution: nn.Module) -> list[nn.Module]:
    norm = nn.BatchNorm3d if isinstance(convolution, nn.Conv3d) else nn.BatchNorm2d
    return [convolution, norm(convolution.out_channels), nn.ReLU()]


def linear() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 1024))


def network() -> nn.ModuleDict:
    sound = nn.Sequential(
        *normed(nn.Conv2d(1, 64, 3, padding=1)),
        nn.MaxPool2d(1, 1),
        *normed(nn.Conv2d(64, 192, 3, padding=1)),
        nn.MaxPool2d(3, (1, 2)),
        *normed(nn.Conv2d(192, 384, 3, padding=1)),
        *normed(nn.Conv2d(384, 256, 3, padding=1)),
        *normed(nn.Conv2d(256, 256, 3, padding=1)),
        nn.MaxPool2d(3, 2),
        *normed(nn.Conv2d(256, 512, (5, 4))),
    )
    small = {"kernel_size": (1, 3, 3), "padding": (0, 1, 1)}
    lip = nn.Sequential(
        *normed(nn.Conv3d(3, 96, (5, 7, 7), (1, 2, 2))),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
        *normed(nn.Conv3d(96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1))),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
        *normed(nn.Conv3d(256, 256, **small)),
        *normed(nn.Conv3d(256, 256, **small)),
        *normed(nn.Conv3d(256, 256, **small)),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
        *normed(nn.Conv3d(256, 512, (1, 6, 6))),
    )
    return nn.ModuleDict({"netcnnaud": sound, "netfcaud": linear(), "netcnnlip": lip, "netfclip": linear()})


def scores(faces: np.ndarray, sounds: np.ndarray, reach: int) -> dict:
    """The scoring protocol on vectors `[W, E]`: zero-padded sounds, pairwise distances, mean over windows."""
    faces, padded = torch.tensor(faces), nn.functional.pad(torch.tensor(sounds), (0, 0, reach, reach))
    rows = [
        nn.functional.pairwise_distance(face.expand(2 * reach + 1, -1), padded[i : i + 2 * reach + 1])
        for i, face in enumerate(faces)
    ]
    means = torch.stack(rows).mean(0)
    least, place = means.min(0)
    return {"distance": least.item(), "confidence": (means.median() - least).item(), "offset": reach - place.item()}


def main() -> None:
    torch.set_num_threads(1)
    net = network().eval()
    shapes = {k: list(v.shape) for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    state = {k: torch.tensor(v) for k, v in seeded.state_dict("syncnet", shapes).items()}
    net.load_state_dict(state, strict=False)
    frames, mfcc = syncnet_inputs.windows()
    with torch.no_grad():
        pictures = torch.tensor(frames, dtype=torch.float32).permute(0, 4, 1, 2, 3)
        face = net["netfclip"](net["netcnnlip"](pictures).flatten(1)).numpy()
        columns = torch.tensor(mfcc, dtype=torch.float32).transpose(1, 2)[:, None]
        sound = net["netfcaud"](net["netcnnaud"](columns).flatten(1)).numpy()
    features = {name: python_speech_features.mfcc(samples, 16_000) for name, samples in syncnet_inputs.sounds().items()}
    packages = ("torch", "python_speech_features", "numpy")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    numbers = {
        "about": [
            "What the tests of SyncNet compare with; made by tests/parity/make_syncnet.py, nothing by this package.",
            f"{versions}, on a CPU. Weights, windows and sounds are drawn by name: seeded.py, syncnet_inputs.py.",
        ],
        "parameters": sum(p.numel() for p in net.parameters()),
        "shapes": shapes,
        "face": seeded.summary("face", face),
        "sound": seeded.summary("sound", sound),
        "mfcc": {name: seeded.summary(name, values) for name, values in features.items()},
        "scores": scores(*syncnet_inputs.vectors(), reach=15),
    }
    TARGET.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()

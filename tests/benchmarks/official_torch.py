"""The published networks in PyTorch, on weights in the official layout: what the benchmarks measure ours against.

At 256 px and any width. Frames of one call are one batch, where the official code calls network after network frame by
frame: quicker, and then norms see what ours see, so that both sides' losses can be compared.
"""

from collections.abc import Collection

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


class Networks:
    """All networks, as functions of one dictionary of tensors.

    Args:
      state_dicts: official network → key → array, as `import_official.export` gives them.
      training: official names of the networks whose norms use the batch's statistics.
    """

    def __init__(self, state_dicts: dict[str, dict[str, np.ndarray]], training: Collection[str] = (), device="cpu"):
        self.training, self.device = frozenset(training), device
        self.tensors = {
            f"{network}.{key}": torch.tensor(np.ascontiguousarray(value), device=device)
            for network, tensors in state_dicts.items()
            for key, value in tensors.items()
        }

    def parameters(self, networks: Collection[str]) -> list[Tensor]:
        """What is to be learnt in these networks."""
        return [
            tensor
            for name, tensor in self.tensors.items()
            if name.partition(".")[0] in networks and tensor.is_floating_point() and "running_" not in name
        ]

    def conv(self, x: Tensor, name: str, stride=1, padding=0, transposed: bool = False) -> Tensor:
        call = F.conv_transpose2d if transposed else F.conv2d
        return call(x, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"), stride, padding)

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, scale, bias = (
            self.tensors[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, scale, bias, name.partition(".")[0] in self.training)

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def person(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """images [N, 3, 256, 256] → pid [N, 256], and the maps of stride 4 and 8."""

        def block(x, number, kernel=3, stride=1):
            name = f"ID_encoder.block{number}.conv{number:02d}"
            sides = (self.norm(self.conv(x, f"{name}_{s}", stride, kernel // 2), f"{name}_{s}_bn") for s in "ab")
            return torch.maximum(*sides)

        x, maps = block(x, 1, 7, 2), []
        for stage, count in ((1, 4), (2, 6), (3, 4)):
            x = F.max_pool2d(x, 2)
            for i in range(1, count + 1):
                x = block(x, 10 * stage + i)
            maps.append(x)
        x = block(block(F.max_pool2d(x, 2), 41, 5), 42, 5)
        return x.mean((2, 3)), *maps[:2]

    def word_heard(self, mfcc: Tensor) -> Tensor:
        """windows [N, 20, 12] → wid [N, 256]."""

        def layer(x, name, stride=1, padding=0):
            x = self.conv(x, f"mfcc_encoder.{name}", stride, padding)
            return F.leaky_relu(self.norm(x, f"mfcc_encoder.{name.replace('conv', 'bn')}"), 0.2)

        x = mfcc[:, None]
        grid = layer(layer(layer(x, "model1.conv1", (3, 2), (1, 2)), "model1.conv2", 2, 1), "model1.conv3")
        grid = self.conv(grid, "mfcc_encoder.model1.conv4")
        time = layer(layer(x, "model2.conv1")[:, :, ::3], "model2.conv2", padding=(1, 0))[:, :, ::2]
        time = self.conv(time, "mfcc_encoder.model2.conv3")
        return self.linear(torch.cat([grid, time], 1).flatten(1), "mfcc_encoder.fc")

    def word_seen(self, x: Tensor) -> Tensor:
        """images [N, 3, 256, 256] → wid [N, 256]."""
        whole = "lip_feature_encoder"

        def block(x, name):
            name = f"{whole}.model.{name}"
            parts, y = [], x
            for i in (1, 2, 3):
                y = self.conv(F.relu(self.norm(y, f"{name}.bn{i}")), f"{name}.conv{i}", 1, 1)
                parts.append(y)
            if f"{name}.downsample.2.weight" in self.tensors:
                x = self.conv(F.relu(self.norm(x, f"{name}.downsample.0")), f"{name}.downsample.2")
            return x + torch.cat(parts, 1)

        def hourglass(x, level):
            lower = block(F.max_pool2d(x, 2), f"m0.b2_{level}")
            lower = hourglass(lower, level - 1) if level > 1 else block(lower, "m0.b2_plus_1")
            return block(x, f"m0.b1_{level}") + self.doubled(block(lower, f"m0.b3_{level}"))

        x = F.relu(self.norm(self.conv(x, f"{whole}.model.conv1", 2, 3), f"{whole}.model.bn1"))
        x = block(block(F.max_pool2d(block(x, "conv2"), 2), "conv3"), "conv4")
        x = self.conv(block(hourglass(x, 4), "top_m_0"), f"{whole}.model.conv_last0")
        x = self.conv(F.relu(self.norm(x, f"{whole}.model.bn_end0")), f"{whole}.model.l0")
        x = F.relu(self.conv(F.relu(self.norm(x, f"{whole}.bn1")), f"{whole}.conv6", 2, 1))
        return self.linear(x.flatten(1), f"{whole}.fc")

    @staticmethod
    def doubled(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)

    def decode(self, pid: Tensor, wid: Tensor, skip: Tensor) -> Tensor:
        """→ frames [N, 3, 256, 256] in 0…1."""

        def layer(x, name, padding=1, transposed=False):
            x = self.conv(x, f"Decoder.{name}", 1, padding, transposed)
            return F.relu(self.norm(x, f"Decoder.{name.replace('_new', '')}_bn"))

        x = layer(torch.cat([pid, wid], 1)[..., None, None], "deconv1_1_new", 0, True)
        for number, count in enumerate((2, 3, 4, 4, 3, 2), start=1):
            x = torch.cat([skip, x], 1) if number == 4 else x
            for i in range(count):
                x = layer(x, f"convblock{number}.conv{number}_{i}")
            x = self.doubled(x)
        x = self.conv(layer(x, "conv7_1", 1, True), "Decoder.conv7_2", 1, 1, True)
        return (torch.tanh(x) + 1) / 2

    def word(self, wid: Tensor) -> Tensor:
        """wid [B, T, 256] → word logits."""
        return self.linear(F.relu(self.linear(wid.flatten(1), "model_fusion.fc_1")), "model_fusion.fc_2")

    def word_of_person(self, maps: Tensor, clips: int) -> Tensor:
        """Maps of stride 4, [B·T, C, 64, 64] → word logits [B, words]: the word adversary."""
        x = F.relu(self.conv(maps, "ID_lip_discriminator.conv6", 2, 1)).flatten(1)
        x = self.linear(x, "ID_lip_discriminator.fc").reshape(clips, -1)
        return self.linear(x, "ID_lip_discriminator.fc_2")

    def modality(self, wid: Tensor) -> Tensor:
        """wid [N, 256] → logit [N] that it was heard."""
        return self.linear(F.relu(self.linear(wid, "discriminator_audio.fc1")), "discriminator_audio.fc2")[:, 0]

    def judge(self, frames: Tensor, mfcc: Tensor) -> tuple[Tensor, Tensor]:
        """Clips [B, T, 3, 256, 256] and [B, T, 20, 12] → logits of the sequence discriminator: patches, match [B]."""

        def layer(x, conv, norm, stride=1, padding=0):
            return self.norm(self.conv(x, f"netD_mul.{conv}", stride, padding), f"netD_mul.{norm}")

        x = F.leaky_relu(self.conv(frames.flatten(1, 2), "netD_mul.conv1", 2, 1), 0.2)
        for conv, norm, stride in (("conv2_1", "norm_1", 2), ("conv2_2", "norm_2", 2), ("conv3", "norm3", 1)):
            x = F.leaky_relu(layer(x, conv, norm, stride, 1), 0.2)
        patch = self.conv(x, "netD_mul.conv4", 1, 1)
        mouth = F.leaky_relu(layer(x[:, :, 19:28, 11:20], "conv6", "bn6"), 0.2)
        mouth = F.leaky_relu(self.conv(mouth, "netD_mul.conv9"), 0.2)
        sound = mfcc
        for i, (stride, padding) in enumerate((((3, 2), (1, 2)), (2, 1), (1, 0), (1, 0)), start=1):
            sound = layer(sound, f"mfcc_conv{i}", f"mfcc_bn{i}", stride, padding)
        both = self.linear(torch.cat([mouth, sound], 1).flatten(1), "netD_mul.fc")
        return patch, self.linear(both, "netD_mul.fc2")[:, 0]

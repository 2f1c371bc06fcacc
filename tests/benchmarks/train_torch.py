"""The joint training step in PyTorch: the same networks, terms, players and order as `davs_jax.training.step`."""

import numpy as np
import torch
import torch.nn.functional as F
from official_torch import Networks
from torch import Tensor

from davs_jax.face_geometry import mouth_box
from davs_jax.import_official.convert import export
from davs_jax.import_official.layers import NETWORKS
from davs_jax.training.stage import Stage
from davs_jax.training.terms import full_name

TERMS = {"word_ce", "contrastive", "modality", "pid_uniform", "l1", "mouth", "temporal", "gan_sequence"}


def comparable(config) -> None:
    """Removes our options and randomness from a config of the joint stage.

    Raises:
      ValueError: its networks or terms are not the published ones, or its batch is one clip, on which PyTorch's batch
        norms fail.
    """
    config.loss.wid_uniform, config.model.dropout, config.label_softness = 0.0, 0.0, 0.0
    model = config.model
    published = (model.image_size, tuple(model.skips), model.word_skips, model.blend) == (256, (8,), (), False)
    if Stage.from_config(config).terms != TERMS or config.contrastive != "clip" or not published:
        raise ValueError("--pytorch compares the published joint stage: --config configs/common.py --stages joint")
    if config.data.batch_size < 2:
        raise ValueError("--pytorch needs two clips at least: --set data.batch_size=2")


def binary(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, label, dtype=torch.float32))


class Trainer:
    """Both players, starting from our weights.

    Args:
      compiled: whether `torch.compile` compiles the two halves of the step.
    """

    def __init__(self, config, params: dict, batch_stats: dict, device: str, compiled: bool):
        self.config, self.device, stage = config, device, Stage.from_config(config)
        self.weights = {full_name(key): weight for key, weight in stage.weights.items()}
        names = {ours: official for official, ours in NETWORKS.items()}
        trained, opponents = ([names[n] for n in group] for group in (stage.trained, stage.adversaries))
        used = [NETWORKS[n] for n in (*trained, *opponents)]
        state_dicts = export({n: params[n] for n in used}, {n: batch_stats[n] for n in used})
        self.net = Networks(state_dicts, [*trained, *opponents], device)
        for name, tensor in self.net.tensors.items():
            if tensor.ndim == 4:
                self.net.tensors[name] = tensor.to(memory_format=torch.channels_last)
        self.own, self.opposing = self.net.parameters(trained), self.net.parameters(opponents)
        for tensor in (*self.own, *self.opposing):
            tensor.requires_grad_()
        rates, moments = config.optim, (config.optim.b1, config.optim.b2)
        self.generator = torch.optim.Adam(self.own, rates.learning_rate, moments)
        self.discriminator = torch.optim.Adam(self.opposing, rates.discriminator_learning_rate, moments)
        wrap = torch.compile if compiled else lambda function: function
        self._forward, self._discriminate, self._generate = map(wrap, (self.forward, self.discriminate, self.generate))

    def put(self, batch: dict[str, np.ndarray]) -> dict[str, Tensor]:
        """Our batch on the device, images as [B, T, 3, S, S]."""
        tensors = {key: torch.tensor(np.asarray(value), device=self.device) for key, value in batch.items()}
        return {k: t.movedim(-1, -3).contiguous() if t.dtype == torch.uint8 else t for k, t in tensors.items()}

    def step(self, batch: dict[str, Tensor]) -> float:
        """One step of both players; returns the generator player's loss."""
        kind = torch.device(self.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.config.model.dtype == "bfloat16"):
            outputs = self._forward(batch)
            for tensor in self.opposing:
                tensor.requires_grad_(True)
            loss = self._discriminate({key: value.detach() for key, value in outputs.items()}, batch)
        loss.backward()
        self.discriminator.step()
        for tensor in self.opposing:
            tensor.requires_grad_(False)
        with torch.autocast(kind, torch.bfloat16, enabled=self.config.model.dtype == "bfloat16"):
            total = self._generate(outputs, batch)
        total.backward()
        self.generator.step()
        self.generator.zero_grad()
        self.discriminator.zero_grad()
        return total.item()

    def chosen(self, x: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """The frames that are generated, of [B, T, …]."""
        offsets = torch.arange(self.config.model.sequence_frames, device=x.device)
        index = batch["generate_start"].long()[:, None] + offsets
        return x[torch.arange(len(x), device=x.device)[:, None], index]

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        def images(x: Tensor) -> Tensor:
            return (x / 255).contiguous(memory_format=torch.channels_last)

        clips, length = len(batch["frames"]), self.config.model.sequence_frames
        out = {
            "wid_audio": self.net.word_heard(batch["speech"].flatten(0, 1)).reshape(clips, -1, 256),
            "wid_video": self.net.word_seen(images(batch["frames"].flatten(0, 1))).reshape(clips, -1, 256),
        }
        out |= {f"word_{side}": self.net.word(out[f"wid_{side}"]) for side in ("audio", "video")}
        seen = batch.get("adversary_frames", batch["frames"]).flatten(0, 1)
        pid, quarter, eighth = self.net.person(images(torch.cat([batch["identity_frame"], seen])))
        out["maps"] = quarter[clips:]
        wids = torch.cat([self.chosen(out[f"wid_{side}"], batch) for side in ("audio", "video")]).flatten(0, 1)
        pid, skip = (x[:clips].repeat_interleave(length, 0).repeat(2, *[1] * (x.ndim - 1)) for x in (pid, eighth))
        frames = self.net.decode(pid, wids, skip).float()
        return out | {"fakes": frames.reshape(2 * clips, length, *frames.shape[1:])}

    def discriminate(self, out: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        heard, seen = (self.net.modality(out[f"wid_{side}"].flatten(0, 1)) for side in ("audio", "video"))
        logits = self.net.word_of_person(out["maps"], len(batch["word"]))
        loss = (binary(heard, 1) + binary(seen, 0)) / 2 + F.cross_entropy(logits, batch["word"].long())
        mfcc = self.chosen(batch["speech"], batch)
        fake = self.net.judge(out["fakes"], mfcc.repeat(2, 1, 1, 1))
        real = self.net.judge(self.chosen(batch["frames"], batch) / 255, mfcc)
        return loss + sum((binary(r, 1) + binary(f, 0)) / 2 for r, f in zip(real, fake, strict=True))

    def generate(self, out: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        terms, word = {}, batch["word"].long()
        for side, label in (("audio", 0), ("video", 1)):
            terms[f"word_ce_{side}"] = F.cross_entropy(out[f"word_{side}"], word)
            terms[f"modality_{side}"] = binary(self.net.modality(out[f"wid_{side}"].flatten(0, 1)), label)
        terms["contrastive"] = self.contrastive(out["wid_video"].detach(), out["wid_audio"])
        softmax = torch.softmax(self.net.word_of_person(out["maps"], len(word)).float(), -1)
        terms["pid_uniform"] = (softmax - 1 / softmax.shape[-1]).square().mean()
        reals, mouth = self.chosen(batch["frames"], batch) / 255, torch.zeros(1, 1, 256, 256, device=self.device)
        mouth[(..., *mouth_box(256))] = 1
        for side, fakes in zip(("audio", "video"), out["fakes"].chunk(2), strict=True):
            apart = 255 * (fakes - reals).abs()
            terms |= {f"l1_{side}": apart.mean(), f"mouth_{side}": (apart * mouth).mean()}
        fakes = out["fakes"].chunk(2)[0]
        before = torch.cat([batch["identity_frame"][:, None] / 255, fakes[:, :-1]], 1).detach()
        terms["temporal"] = fakes.shape[1] * ((fakes - before).abs() * (1 - mouth)).mean()
        patch, match = self.net.judge(out["fakes"], self.chosen(batch["speech"], batch).repeat(2, 1, 1, 1))
        terms |= {"gan_sequence_patch": binary(patch, 1), "gan_sequence_match": binary(match, 1)}
        return sum(self.weights[name] * value for name, value in terms.items())

    def contrastive(self, fixed: Tensor, moving: Tensor) -> Tensor:
        fixed, moving = (F.normalize(x.flatten(1).float()) for x in (fixed, moving))
        same = (fixed - moving).square().sum(1)
        apart = (self.config.margin - torch.cdist(fixed, moving)).clamp(min=0).square()
        return (same.sum() + (apart * (1 - torch.eye(len(fixed), device=fixed.device))).sum()) / (2 * len(fixed))

"""DAVS as a system (`davs_jax.systems`): its terms, the batch that they read, its forward and both players' losses."""

import jax
import jax.numpy as jnp

from davs_jax import models
from davs_jax.constants import MFCC_LENGTH, SPECTRA
from davs_jax.errors import ConfigError
from davs_jax.models import syncnet
from davs_jax.training import losses
from davs_jax.training.forward import forward
from davs_jax.training.networks import Array, Batch, Networks, Tree, images, join, select
from davs_jax.training.stage import Stage
from davs_jax.training.terms import FACE_TERMS, GENERATION_TERMS, TERMS, WORD_TERMS, Metrics, Terms

__all__ = ["TERMS", "batch", "check", "discriminator_losses", "forward", "generator_losses"]


def check(config, active: set[str]) -> None:
    """Checks what terms need beside their networks.

    `warp` needs the flow head. The expert of `sync_expert` must be trained, and stay as it is: a network that learns
    beside it would yield.

    Raises:
      ConfigError: it is not so.
    """
    if "warp" in active and not config.model.flow:
        raise ConfigError(
            "config.loss.warp is above 0, but config.model.flow is off", "set flow and blend to True, or warp to 0"
        )
    if "sync_expert" not in active:
        return
    if "syncnet" not in config.init_networks:
        raise ConfigError(
            "config.loss.sync_expert is above 0 without a trained SyncNet",
            "add its run (configs/syncnet.py) to config.init_from and 'syncnet' to config.init_networks",
        )
    if "syncnet" in config.trained:
        raise ConfigError("config.trained names the expert of config.loss.sync_expert, syncnet", "leave it out")


def batch(config, active: set[str], modalities: tuple[str, ...]) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and types of the arrays that the step reads."""
    model, clips, faces = config.model, config.data.batch_size, config.data.face_batch_size
    size, generates, batch = model.image_size, bool(active & GENERATION_TERMS), {}

    def add(key: str, *shape: int, dtype=jnp.uint8) -> None:
        batch[key] = jax.ShapeDtypeStruct(shape, dtype)

    own_adversary_frames = model.adversary_frames != model.word_frames
    reads_video, reads_audio = (bool(active & WORD_TERMS) and m in modalities for m in ("video", "audio"))
    if reads_video or generates or ("pid_uniform" in active and not own_adversary_frames):
        add("frames", clips, model.word_frames, size, size, 3)
    if reads_audio or generates:
        add("speech", clips, model.word_frames, MFCC_LENGTH, SPECTRA[model.spectrum], dtype=jnp.float32)
    if active & {"word_ce", "pid_uniform"}:
        add("word", clips, dtype=jnp.int32)
    if "pid_uniform" in active and own_adversary_frames:
        add("adversary_frames", clips, model.adversary_frames, size, size, 3)
    if generates:
        add("generate_start", clips, dtype=jnp.int32)
        add("identity_frame", clips, size, size, 3)
    if "sync" in active:
        add("sync_frames", clips, syncnet.CLIP_WINDOWS + syncnet.FRAMES - 1, size, size, 3)
    if "sync_expert" in active:
        add("expert_start", clips, dtype=jnp.int32)
        add("expert_speech", clips, syncnet.FRAMES, MFCC_LENGTH, SPECTRA[model.spectrum], dtype=jnp.float32)
    if active & {"sync", "sync_expert"}:
        add("sync_mfcc", clips, syncnet.CLIP_WINDOWS, syncnet.COLUMNS, syncnet.COEFFICIENTS, dtype=jnp.float32)
    if face_terms := sorted(active & FACE_TERMS):
        if not faces:
            raise ConfigError(
                f"config.data.face_batch_size is 0, but {face_terms} need identity images",
                "set it above 0 and config.data.faces to a folder of identity shards, or set those weights to 0",
            )
        add("faces", faces, size, size, 3)
        add("face_id", faces, dtype=jnp.int32)
    return batch


def discriminator_losses(networks: Networks, outputs: Tree, batch: Batch) -> tuple[Terms, Metrics]:
    """The discriminator player's terms (all of weight 1) on detached outputs of the forward."""
    terms, metrics, names = {}, {}, networks.stage.adversaries
    if "modality_discriminator" in names:
        audio, video = (
            networks("modality_discriminator", models.flatten_time(outputs[f"wid_{modality}"]))
            for modality in ("audio", "video")
        )
        terms["modality", ""] = (losses.binary(audio, 1.0) + losses.binary(video, 0.0)) / 2
        metrics["accuracy/modality_adversary"] = (jnp.mean(audio > 0) + jnp.mean(video <= 0)) / 2
    if "word_adversary" in names:
        logits = networks("word_adversary", outputs["adversary_maps"])
        terms["word_adversary", ""] = losses.cross_entropy(logits, batch["word"])
        metrics["accuracy/word_adversary"] = losses.accuracy(logits, batch["word"])
    if "person_adversary" in names:
        logits = networks("person_adversary", outputs["face_wid"])
        terms["person_adversary", ""] = losses.cross_entropy(logits, batch["face_id"])
        metrics["accuracy/person_adversary"] = losses.accuracy(logits, batch["face_id"])
    for name in ("sequence_discriminator", "frame_discriminator"):
        if name in names:
            patch, match = _discriminate(networks, name, outputs, batch)
            terms |= {(name, "patch"): patch, (name, "match"): match}
    return terms, metrics


def _discriminate(networks: Networks, name: str, outputs: Tree, batch: Batch) -> tuple[Array, Array]:
    """½(BCE real + BCE fake) of both heads, each label softened by a random amount."""
    stage = networks.stage
    frames, speech = real_frames(stage, batch)
    fakes = join([outputs[f"fake_{modality}"] for modality in stage.modalities])
    # The official code passes the real frames twice, as many as the fakes: the same loss, another sample variance.
    drivings = len(stage.modalities)
    copies = drivings if stage.official_grouping else 1
    fake = networks(name, *_clips_for(name, fakes, join([speech] * drivings)))
    real = networks(name, *_clips_for(name, join([frames] * copies), join([speech] * copies)))
    networks.key, key = jax.random.split(networks.key)
    softness = stage.label_softness * jax.random.uniform(key, (2, 2))
    patch, match = (
        (losses.binary(real[head], 1 - softness[head, 0]) + losses.binary(fake[head], softness[head, 1])) / 2
        for head in (0, 1)
    )
    return patch, match


def generator_losses(networks: Networks, outputs: Tree, batch: Batch) -> tuple[Terms, Metrics]:
    """The generator player's active terms, unweighted, against the updated discriminators."""
    stage, active, terms, metrics = networks.stage, networks.stage.terms, {}, {}
    if "person_ce" in active:
        terms["person_ce", ""] = losses.cross_entropy(outputs["face_logits"], batch["face_id"])
        metrics["accuracy/person"] = losses.accuracy(outputs["face_logits"], batch["face_id"])
    if "word_ce" in active:
        for modality in stage.modalities:
            logits = outputs[f"word_{modality}"]
            if stage.tcp:
                centroids = outputs[f"centroid_{modality}"]
                terms["word_ce", modality] = losses.transductive_cross_entropy(logits, centroids, batch["word"])
            else:
                terms["word_ce", modality] = losses.cross_entropy(logits, batch["word"])
            metrics[f"accuracy/word_{modality}"] = losses.accuracy(logits, batch["word"])
    if "contrastive" in active:
        terms["contrastive", ""] = stage.contrastive(outputs["wid_video"], outputs["wid_audio"])
    if "modality" in active:
        for modality, label in (("audio", 0.0), ("video", 1.0)):  # each is to be taken for the other
            wid = models.flatten_time(outputs[f"wid_{modality}"])
            terms["modality", modality] = losses.binary(networks("modality_discriminator", wid), label)
    if "pid_uniform" in active:
        terms["pid_uniform", ""] = losses.uniformity(networks("word_adversary", outputs["adversary_maps"]))
    if "wid_uniform" in active:
        terms["wid_uniform", ""] = losses.uniformity(networks("person_adversary", outputs["face_wid"]))
    if "sync" in active:
        sync, metrics["accuracy/sync"] = losses.sync_matching(outputs["sync_face"], outputs["sync_audio"])
        terms["sync", ""] = sync
    if "sync_expert" in active:
        judged = losses.sync_expert(outputs["expert_face"], outputs["sync_audio"], batch["expert_start"])
        terms["sync_expert", ""], metrics["accuracy/sync_expert"] = judged
    if active & GENERATION_TERMS:
        terms |= _image_losses(networks, outputs, batch)
    return terms, metrics


def _image_losses(networks: Networks, outputs: Tree, batch: Batch) -> Terms:
    """The terms of the generated frames."""
    stage, terms = networks.stage, {}
    frames, speech = real_frames(stage, batch)
    for modality in stage.modalities:
        for name, loss in (("l1", losses.l1), ("mouth", losses.mouth_l1), ("mouth_l2", losses.mouth_l2)):
            if name in stage.terms:
                terms[name, modality] = loss(outputs[f"fake_{modality}"], frames)
        if "warp" in stage.terms:
            terms["warp", modality] = losses.warp(outputs[f"moved_{modality}"], frames)
    if "temporal" in stage.terms:
        terms["temporal", ""] = losses.temporal(outputs["fake_audio"], images(batch["identity_frame"]))
    fakes = join([outputs[f"fake_{modality}"] for modality in stage.modalities])
    for name in ("gan_sequence", "gan_frame"):
        if name in stage.terms:
            adversary = TERMS[name].adversary
            patch, match = networks(adversary, *_clips_for(adversary, fakes, join([speech] * len(stage.modalities))))
            terms |= {(name, "patch"): losses.binary(patch, 1.0), (name, "match"): losses.binary(match, 1.0)}
    return terms


def real_frames(stage: Stage, batch: Batch) -> tuple[Array, Array]:
    """The real frames of the generated moments, `[B, 6, S, S, 3]` in 0…1, and their windows `[B, 6, 20, C]`."""
    start, length = batch["generate_start"], stage.model.sequence_frames
    return images(select(batch["frames"], start, length)), select(batch["speech"], start, length)


def _clips_for(name: str, frames: Array, speech: Array) -> tuple[Array, Array]:
    """The frame discriminator reads every frame as a clip of one."""
    if name == "sequence_discriminator":
        return frames, speech
    return models.flatten_time(frames)[:, None], models.flatten_time(speech)[:, None]

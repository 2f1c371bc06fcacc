"""DAVS's forward: a batch through the generator player's networks, as far as the stage's terms need them."""

import jax
import jax.numpy as jnp

from davs_jax import models
from davs_jax.models import syncnet
from davs_jax.models.word_vectors import normalised
from davs_jax.training import losses
from davs_jax.training.networks import Array, Batch, Networks, images, select
from davs_jax.training.terms import GENERATION_TERMS, WORD_TERMS


def forward(networks: Networks, batch: Batch) -> dict[str, Array]:
    """All that the generator player's networks compute for the stage's terms.

    Returns:
      as the terms need them: `wid_video`, `wid_audio` `[B, 12, E]`, `word_video`, `word_audio` logits `[B, words]`,
      with `config.tcp` also `centroid_video`, `centroid_audio` logits `[B, B]`,
      `adversary_maps` `[B, T, S/4, S/4, C]`, `face_logits` `[I, identities]`, `face_wid` `[I, E]`, generated frames
      `fake_video`, `fake_audio` `[B, 6, S, S, 3]`, photos moved by the flow head alone `moved_video`, `moved_audio`
      `[B, 6, S, S, 3]`, and SyncNet's `sync_face`, `sync_audio` `[B, 24, 1024]`, and of generated frames `expert_face`
      `[B, 1024]`.
    """
    stage, terms = networks.stage, networks.stage.terms
    outputs: dict[str, Array] = {}
    if terms & (WORD_TERMS | GENERATION_TERMS | {"wid_uniform"}):
        outputs |= _words(networks, batch)
    if terms & (GENERATION_TERMS | {"pid_uniform", "person_ce"}):
        persons = _persons(networks, batch)
        if "pid_uniform" in terms:
            _, maps = persons["adversary"]
            outputs["adversary_maps"] = maps[4].reshape(-1, stage.model.adversary_frames, *maps[4].shape[1:])
        if "person_ce" in terms:
            outputs["face_logits"] = networks("person_classifier", persons["face"][0])
        if terms & GENERATION_TERMS:
            outputs |= _generate(networks, batch, persons["identity"], outputs)
    if "sync" in terms:
        outputs |= _sync(networks, batch)
    return outputs


def _sync(networks: Networks, batch: Batch) -> dict[str, Array]:
    """SyncNet's face and audio vectors of every window of every clip; the faces prepared as for its scores."""
    frames = _seen_by_syncnet(batch["sync_frames"].astype(float), networks.stage.model.sync_size)
    vectors = networks("syncnet", frames, models.flatten_time(batch["sync_mfcc"]))
    face, audio = (v.reshape(len(frames), syncnet.CLIP_WINDOWS, -1) for v in vectors)
    return {"sync_face": face, "sync_audio": audio}


def _seen_by_syncnet(frames: Array, size: int) -> Array:
    """RGB frames `[B, T, S, S, 3]` in 0…255 → BGR `[B, T, size, size, 3]`."""
    frames = frames[..., ::-1] if size == syncnet.SIZE else syncnet.mouth_part(frames[..., ::-1])
    return jax.image.resize(frames, (*frames.shape[:2], size, size, 3), "linear", antialias=False)


def _judged(networks: Networks, batch: Batch, fakes: Array) -> dict[str, Array]:
    """The expert's vectors of one window of generated frames `[B, 5, S, S, 3]`, and of all windows' audio."""
    frames = _seen_by_syncnet(255 * fakes, networks.stage.model.sync_size)
    audio = networks("syncnet", models.flatten_time(batch["sync_mfcc"]), method="embed_audio")
    return {
        "expert_face": networks("syncnet", frames, method="embed_face"),
        "sync_audio": audio.reshape(len(fakes), syncnet.CLIP_WINDOWS, -1),
    }


def _words(networks: Networks, batch: Batch) -> dict[str, Array]:
    """Word vectors of the stage's modalities, and of the identity images for the person adversary."""
    stage, terms = networks.stage, networks.stage.terms
    outputs, calls, shape = {}, {}, ()
    if terms & (WORD_TERMS | GENERATION_TERMS):
        inputs = {m: batch[key] for m, key in (("video", "frames"), ("audio", "speech")) if m in stage.modalities}
        kind = stage.model.wid_norm
        if not terms & WORD_TERMS and kind == "none":  # only the generated frames need word vectors
            length = stage.model.sequence_frames
            inputs = {modality: select(x, batch["generate_start"], length) for modality, x in inputs.items()}
        shape = (*next(iter(inputs.values())).shape[:2], -1)
        if "video" in inputs:
            calls["wid_video"] = images(models.flatten_time(inputs["video"]))
        if "audio" in inputs:
            heard = inputs["audio"]
            if "sync_expert" in terms:
                heard = jnp.concatenate([heard, batch["expert_speech"]], 1)
            wid = networks("audio_encoder", models.flatten_time(heard)).reshape(*heard.shape[:2], -1)
            clip = wid[:, : shape[1]]
            outputs["wid_audio"] = normalised(clip, kind)
            if "sync_expert" in terms:
                outputs["wid_expert"] = normalised(wid[:, shape[1] :], kind, over=clip)
    if "wid_uniform" in terms:
        calls["face_wid"] = images(batch["faces"])
    if calls:
        encoded = networks.each("visual_encoder", [(x,) for x in calls.values()])
        outputs |= dict(zip(calls, encoded, strict=True))
    if "wid_video" in outputs:
        outputs["wid_video"] = normalised(outputs["wid_video"].reshape(shape), kind)
    if "word_ce" in terms:
        for modality in stage.modalities:
            outputs[f"word_{modality}"] = networks("word_classifier", outputs[f"wid_{modality}"])
        if stage.tcp:
            outputs |= _centroid_logits(networks, outputs)
    return outputs


def _centroid_logits(networks: Networks, outputs: dict[str, Array]) -> dict[str, Array]:
    """Of each modality, logits `[B, B]` of the clips against the batch's centroids; see `losses.centroid_logits`."""
    features = {
        modality: networks("word_classifier", outputs[f"wid_{modality}"], method="features")
        for modality in networks.stage.modalities
    }
    centroids = sum(features.values()) / len(features)  # a clip's audio and video are a cluster
    kernel = networks.params["word_classifier"]["logits"]["kernel"]
    return {f"centroid_{m}": losses.centroid_logits(x, centroids, kernel) for m, x in features.items()}


def _persons(networks: Networks, batch: Batch) -> dict[str, tuple]:
    """Person vectors and maps of the identity frame, the adversary's frames and the identity images."""
    terms, calls = networks.stage.terms, {}
    if terms & GENERATION_TERMS:
        calls["identity"] = batch["identity_frame"]
    if "pid_uniform" in terms:
        calls["adversary"] = models.flatten_time(batch.get("adversary_frames", batch.get("frames")))
    if "person_ce" in terms:
        calls["face"] = batch["faces"]
    encoded = networks.each("person_encoder", [(images(x),) for x in calls.values()])
    return dict(zip(calls, encoded, strict=True))


def _generate(networks: Networks, batch: Batch, person: tuple, outputs: dict) -> dict[str, Array]:
    """Frames from the person in the identity frame and the word vectors of each of the stage's modalities."""
    stage, (pid, maps), photo = networks.stage, person, images(batch["identity_frame"])
    length, scale, wids = stage.model.sequence_frames, stage.wid_gradient, {}

    def scaled(wid: Array) -> Array:
        """The same numbers, with the gradient scaled."""
        return scale * wid + jax.lax.stop_gradient((1 - scale) * wid)

    for modality in (modality for modality in ("video", "audio") if modality in stage.modalities):
        wid = outputs[f"wid_{modality}"]
        wids[modality] = scaled(wid if wid.shape[1] == length else select(wid, batch["generate_start"], length))
    maps = {stride: maps[stride] for stride in stage.model.skips}
    moments = [wids[modality][:, t] for t in range(length) for modality in wids]
    judged = scaled(outputs["wid_expert"]).swapaxes(0, 1) if "sync_expert" in stage.terms else ()
    names = ("fake", "moved") if "warp" in stage.terms else ("fake",)
    calls = [(pid, wid, maps, photo) for wid in (*moments, *judged)]
    made = networks.each("decoder", calls, sown="moved" if "moved" in names else "")
    frames = dict(zip(names, zip(*made, strict=True) if "moved" in names else (made,), strict=True))
    judged = frames["fake"][len(moments) :]
    fakes = {
        f"{name}_{modality}": jnp.stack(images[i : len(moments) : len(wids)], 1)
        for name, images in frames.items()
        for i, modality in enumerate(wids)
    }
    return fakes | (_judged(networks, batch, jnp.stack(judged, 1)) if judged else {})

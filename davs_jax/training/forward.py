"""The one forward of any stage: a batch through the generator player's networks, as far as the terms need it."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from davs_jax import models
from davs_jax.constants import MFCC_LENGTH, MFCC_WIDTH
from davs_jax.models import syncnet
from davs_jax.models.layers import CONVOLUTION
from davs_jax.training import losses

Array = jax.Array
Batch = dict[str, Array]

# `config.remat`: how a network's forward is kept for the backward pass, and what of it is computed again.
REMAT = {
    "none": lambda apply: apply,
    "activations": functools.partial(jax.checkpoint, policy=jax.checkpoint_policies.save_only_these_names(CONVOLUTION)),
    "all": jax.checkpoint,
}


def batch_spec(config) -> dict[str, jax.ShapeDtypeStruct]:
    """Exactly the arrays that the stage's step reads, by key (see the table in docs/architecture.md).

    Raises:
      ValueError: faces are needed but `config.data.face_batch_size` is 0.
    """
    model, data, terms = config.model, config.data, losses.active(config)
    clips, faces, size = data.batch_size, data.face_batch_size, model.image_size
    generates, spec = bool(terms & losses.GENERATION_TERMS), {}

    def add(key: str, *shape: int, dtype=jnp.uint8) -> None:
        spec[key] = jax.ShapeDtypeStruct(shape, dtype)

    own_adversary_frames = model.adversary_frames != model.word_frames
    seen, heard = (bool(terms & losses.WORD_TERMS) and side in config.modalities for side in ("video", "audio"))
    if seen or generates or ("pid_uniform" in terms and not own_adversary_frames):
        add("frames", clips, model.word_frames, size, size, 3)
    if heard or generates:
        add("mfcc", clips, model.word_frames, MFCC_LENGTH, MFCC_WIDTH, dtype=jnp.float32)
    if terms & {"word_ce", "pid_uniform"}:
        add("word", clips, dtype=jnp.int32)
    if "pid_uniform" in terms and own_adversary_frames:
        add("adversary_frames", clips, model.adversary_frames, size, size, 3)
    if generates:
        add("generate_start", clips, dtype=jnp.int32)
        add("identity_frame", clips, size, size, 3)
    if "sync" in terms:
        add("sync_frames", clips, syncnet.CLIP_WINDOWS + syncnet.FRAMES - 1, size, size, 3)
        add("sync_mfcc", clips, syncnet.CLIP_WINDOWS, syncnet.COLUMNS, syncnet.COEFFICIENTS, dtype=jnp.float32)
    if terms & losses.FACE_TERMS:
        if not faces:
            raise ValueError(
                f"config.data.face_batch_size is 0, but {sorted(terms & losses.FACE_TERMS)} need identity images; "
                "set it above 0 and config.data.faces to a folder of identity shards, or set those weights to 0"
            )
        add("faces", faces, size, size, 3)
        add("face_id", faces, dtype=jnp.int32)
    return spec


class Networks:
    """Applies networks by name, and carries their batch statistics and dropout keys from call to call."""

    def __init__(self, config, params: dict, batch_stats: dict, trained: tuple[str, ...], key: Array):
        if config.bn_grouping not in ("batch", "official"):
            raise ValueError(f"config.bn_grouping is {config.bn_grouping!r}; it must be 'batch' or 'official'")
        self.modules, self.remat = models.build(config.model), config.remat
        self.official_grouping = config.bn_grouping == "official"
        self.params, self.batch_stats, self.trained, self.key = params, dict(batch_stats), trained, key

    def __call__(self, name: str, *inputs) -> Any:
        """One call: in training mode where the stage trains the network, else with its running statistics."""
        train = name in self.trained
        self.key, dropout = jax.random.split(self.key)
        variables = {"params": self.params[name], "batch_stats": self.batch_stats[name]}
        apply = functools.partial(
            self.modules[name].apply, train=train, rngs={"dropout": dropout}, mutable=["batch_stats"] if train else []
        )
        outputs, updates = REMAT[self.remat[name]](apply)(variables, *inputs)
        self.batch_stats[name] = updates.get("batch_stats", self.batch_stats[name])
        return outputs

    def each(self, name: str, calls: list[tuple]) -> list:
        """Several calls of one network: as one batch, or (`bn_grouping='official'`) one after the other."""
        if self.official_grouping:
            return [self(name, *inputs) for inputs in calls]
        sizes = [len(jax.tree.leaves(inputs)[0]) for inputs in calls]
        outputs = self(name, *jax.tree.map(lambda *parts: join(parts), *calls))
        leaves, structure = jax.tree.flatten(outputs)
        return [structure.unflatten(parts) for parts in zip(*(split(leaf, sizes) for leaf in leaves), strict=True)]


def join(parts: Sequence[Array]) -> Array:
    """One batch of several, `[N, …]`, the rows of each spread evenly over the whole.

    Where every device holds an equal share of each part's rows, it then holds the same share of the whole, and nothing
    moves between devices; behind one another, the parts would have to be dealt out anew.
    """
    groups = math.gcd(*map(len, parts))
    return jnp.concatenate([part.reshape(groups, -1, *part.shape[1:]) for part in parts], 1).reshape(
        -1, *parts[0].shape[1:]
    )


def split(joined: Array, sizes: Sequence[int]) -> list[Array]:
    """The inverse of `join`, for parts of these sizes."""
    groups = math.gcd(*sizes)
    ends = np.cumsum(sizes) // groups
    parts = jnp.split(joined.reshape(groups, -1, *joined.shape[1:]), ends[:-1], 1)
    return [part.reshape(-1, *joined.shape[1:]) for part in parts]


def images(frames: Array) -> Array:
    """uint8 → float32 in 0…1 (float64 where JAX has it enabled)."""
    return frames.astype(float) / 255


def select(x: Array, start: Array, length: int) -> Array:
    """`length` consecutive frames of `[B, T, …]`, from each clip's own start `[B]`."""
    return jax.vmap(lambda clip, first: jax.lax.dynamic_slice_in_dim(clip, first, length))(x, start)


def forward(config, networks: Networks, batch: Batch) -> dict[str, Array]:
    """All that the generator player's networks produce for the stage's terms.

    Returns a dictionary with, as the terms need them: `wid_video`, `wid_audio` `[B, 12, E]`, `word_video`, `word_audio`
    logits, `adversary_maps` `[B, T, S/4, S/4, C]`, `face_logits`, `face_wid` `[I, E]`, and generated frames
    `fake_video`, `fake_audio` `[B, 6, S, S, 3]`, and SyncNet's `sync_face`, `sync_sound` `[B, 24, 1024]`.
    """
    terms = losses.active(config)
    outputs: dict[str, Array] = {}
    if terms & (losses.WORD_TERMS | losses.GENERATION_TERMS | {"wid_uniform"}):
        outputs |= _words(config, networks, batch, terms)
    if terms & (losses.GENERATION_TERMS | {"pid_uniform", "person_ce"}):
        persons = _persons(config, networks, batch, terms)
        if "pid_uniform" in terms:
            outputs["adversary_maps"] = persons["adversary"][1][4].reshape(
                -1, config.model.adversary_frames, *persons["adversary"][1][4].shape[1:]
            )
        if "person_ce" in terms:
            outputs["face_logits"] = networks("person_classifier", persons["face"][0])
        if terms & losses.GENERATION_TERMS:
            outputs |= _generate(config, networks, batch, persons["identity"], outputs)
    if "sync" in terms:
        outputs |= _sync(networks, batch)
    return outputs


def _sync(networks: Networks, batch: Batch) -> dict[str, Array]:
    """SyncNet's vectors of the windows of every clip, face and sound; the faces as its scores show them."""
    frames = batch["sync_frames"][..., ::-1].astype(float)  # BGR, 0…255
    frames = jax.image.resize(frames, (*frames.shape[:2], syncnet.SIZE, syncnet.SIZE, 3), "linear", antialias=False)
    vectors = networks("syncnet", frames, models.flatten_time(batch["sync_mfcc"]))
    face, sound = (v.reshape(len(frames), syncnet.CLIP_WINDOWS, -1) for v in vectors)
    return {"sync_face": face, "sync_sound": sound}


def _words(config, networks: Networks, batch: Batch, terms: set[str]) -> dict[str, Array]:
    """Word vectors of the stage's modalities, and of the identity images for the person adversary."""
    outputs, calls, shape = {}, {}, ()
    if terms & (losses.WORD_TERMS | losses.GENERATION_TERMS):
        read = {side: batch[key] for side, key in (("video", "frames"), ("audio", "mfcc")) if side in config.modalities}
        if not terms & losses.WORD_TERMS:  # only the generated frames need word vectors
            length = config.model.sequence_frames
            read = {side: select(x, batch["generate_start"], length) for side, x in read.items()}
        shape = (*next(iter(read.values())).shape[:2], -1)
        if "video" in read:
            calls["wid_video"] = images(models.flatten_time(read["video"]))
        if "audio" in read:
            outputs["wid_audio"] = networks("audio_encoder", models.flatten_time(read["audio"])).reshape(shape)
    if "wid_uniform" in terms:
        calls["face_wid"] = images(batch["faces"])
    if calls:
        encoded = networks.each("visual_encoder", [(x,) for x in calls.values()])
        outputs |= dict(zip(calls, encoded, strict=True))
    if "wid_video" in outputs:
        outputs["wid_video"] = outputs["wid_video"].reshape(shape)
    if "word_ce" in terms:
        for side in config.modalities:
            outputs[f"word_{side}"] = networks("word_classifier", outputs[f"wid_{side}"])
    return outputs


def _persons(config, networks: Networks, batch: Batch, terms: set[str]) -> dict[str, tuple]:
    """Person vectors and maps of the identity frame, the adversary's frames and the identity images."""
    calls = {}
    if terms & losses.GENERATION_TERMS:
        calls["identity"] = batch["identity_frame"]
    if "pid_uniform" in terms:
        calls["adversary"] = models.flatten_time(batch.get("adversary_frames", batch.get("frames")))
    if "person_ce" in terms:
        calls["face"] = batch["faces"]
    encoded = networks.each("person_encoder", [(images(x),) for x in calls.values()])
    return dict(zip(calls, encoded, strict=True))


def _generate(config, networks: Networks, batch: Batch, person: tuple, outputs: dict) -> dict[str, Array]:
    """Frames from the identity frame's person and the word vectors of each of the stage's modalities."""
    length, (pid, maps), photo = config.model.sequence_frames, person, images(batch["identity_frame"])
    wids = {}
    for side in (side for side in ("video", "audio") if side in config.modalities):
        wid = outputs[f"wid_{side}"]
        wid = wid if wid.shape[1] == length else select(wid, batch["generate_start"], length)
        share = config.wid_gradient
        wids[side] = share * wid + jax.lax.stop_gradient((1 - share) * wid)
    maps = {stride: maps[stride] for stride in config.model.skips}
    calls = [(pid, wids[side][:, t], maps, photo) for t in range(length) for side in wids]
    frames = networks.each("decoder", calls)
    return {f"fake_{side}": jnp.stack(frames[i :: len(wids)], 1) for i, side in enumerate(wids)}

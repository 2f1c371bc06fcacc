"""One training step of any stage: one forward, the discriminators' step, the generator's step.

A stage is nothing but which networks train (`config.trained`) and which terms have weight (`config.loss`).
The order is the official code's: the discriminator player steps on detached features, then the generator player steps
against the *updated* discriminators. `jax.vjp` keeps the one forward's pullback, so nothing is computed twice.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from davs_jax import losses, models, sharding
from davs_jax.optim import make_optimizers
from davs_jax.records import MFCC_LENGTH, MFCC_WIDTH
from davs_jax.state import DavsState, abstract_state, adversaries, trained_networks

Array = jax.Array
Batch = dict[str, Array]
Metrics = dict[str, Array]


def batch_spec(config) -> dict[str, jax.ShapeDtypeStruct]:
    """Exactly the arrays that the stage's step reads, by key (see the table in docs/design.md).

    Raises:
      ValueError: faces are needed but `config.data.face_batch_size` is 0.
    """
    model, data, terms = config.model, config.data, losses.active(config)
    clips, faces, size = data.batch_size, data.face_batch_size, model.image_size
    generates, spec = bool(terms & losses.GENERATION_TERMS), {}

    def add(key: str, *shape: int, dtype=jnp.uint8) -> None:
        spec[key] = jax.ShapeDtypeStruct(shape, dtype)

    own_adversary_frames = model.adversary_frames != model.word_frames
    if terms & losses.WORD_TERMS or generates or ("pid_uniform" in terms and not own_adversary_frames):
        add("frames", clips, model.word_frames, size, size, 3)
    if terms & losses.WORD_TERMS or generates:
        add("mfcc", clips, model.word_frames, MFCC_LENGTH, MFCC_WIDTH, dtype=jnp.float32)
    if terms & {"word_ce", "pid_uniform"}:
        add("word", clips, dtype=jnp.int32)
    if "pid_uniform" in terms and own_adversary_frames:
        add("adversary_frames", clips, model.adversary_frames, size, size, 3)
    if generates:
        add("generate_start", clips, dtype=jnp.int32)
        add("identity_frame", clips, size, size, 3)
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
        self.modules = models.build(config.model)
        self.official_grouping = config.bn_grouping == "official"
        self.params, self.batch_stats, self.trained, self.key = params, dict(batch_stats), trained, key

    def __call__(self, name: str, *inputs) -> Any:
        """One call: in training mode where the stage trains the network, else with its running statistics."""
        train = name in self.trained
        self.key, dropout = jax.random.split(self.key)
        variables = {"params": self.params[name], "batch_stats": self.batch_stats[name]}
        outputs, updates = self.modules[name].apply(
            variables, *inputs, train=train, rngs={"dropout": dropout}, mutable=["batch_stats"] if train else []
        )
        self.batch_stats[name] = updates.get("batch_stats", self.batch_stats[name])
        return outputs

    def each(self, name: str, calls: list[tuple]) -> list:
        """Several calls of one network: as one batch, or (`bn_grouping='official'`) one after the other."""
        if self.official_grouping:
            return [self(name, *inputs) for inputs in calls]
        sizes = [len(jax.tree.leaves(inputs)[0]) for inputs in calls]
        outputs = self(name, *jax.tree.map(lambda *parts: jnp.concatenate(parts), *calls))
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        return [
            jax.tree.map(lambda leaf, a=start, n=size: leaf[a : a + n], outputs)
            for start, size in zip(starts, sizes, strict=True)
        ]


def images(frames: Array) -> Array:
    """uint8 → float32 in 0…1."""
    return frames.astype(jnp.float32) / 255


def select(x: Array, start: Array, length: int) -> Array:
    """`length` consecutive frames of `[B, T, …]`, from each clip's own start `[B]`."""
    return jax.vmap(lambda clip, first: jax.lax.dynamic_slice_in_dim(clip, first, length))(x, start)


def forward(config, networks: Networks, batch: Batch) -> dict[str, Array]:
    """All that the generator player's networks produce for the stage's terms.

    Returns a dictionary with, as the terms need them: `wid_video`, `wid_audio` `[B, 12, E]`, `word_video`, `word_audio`
    logits, `adversary_maps` `[B, T, S/4, S/4, C]`, `face_logits`, `face_wid` `[I, E]`, and generated frames
    `fake_video`, `fake_audio` `[B, 6, S, S, 3]`.
    """
    terms = losses.active(config)
    outputs: dict[str, Array] = {}
    if terms & (losses.WORD_TERMS | losses.GENERATION_TERMS | {"wid_uniform"}):
        outputs |= _words(config, networks, batch, terms)
    if terms & (losses.GENERATION_TERMS | {"pid_uniform", "person_ce"}):
        persons = _persons(config, networks, batch, terms)
        if "pid_uniform" in terms:
            outputs["adversary_maps"] = persons["adversary"][1][4].reshape(
                config.data.batch_size, config.model.adversary_frames, *persons["adversary"][1][4].shape[1:]
            )
        if "person_ce" in terms:
            outputs["face_logits"] = networks("person_classifier", persons["face"][0])
        if terms & losses.GENERATION_TERMS:
            outputs |= _generate(config, networks, batch, persons["identity"], outputs)
    return outputs


def _words(config, networks: Networks, batch: Batch, terms: set[str]) -> dict[str, Array]:
    """Word vectors of both modalities, and of the identity images for the person adversary."""
    outputs, calls = {}, {}
    if "frames" in batch and terms & (losses.WORD_TERMS | losses.GENERATION_TERMS):
        frames, mfcc = batch["frames"], batch["mfcc"]
        if not terms & losses.WORD_TERMS:  # only the generated frames need word vectors
            length = config.model.sequence_frames
            frames, mfcc = (select(x, batch["generate_start"], length) for x in (frames, mfcc))
        shape = (*frames.shape[:2], -1)
        calls["wid_video"] = images(models.flatten_time(frames))
        outputs["wid_audio"] = networks("audio_encoder", models.flatten_time(mfcc)).reshape(shape)
    if "wid_uniform" in terms:
        calls["face_wid"] = images(batch["faces"])
    encoded = networks.each("visual_encoder", [(x,) for x in calls.values()])
    outputs |= dict(zip(calls, encoded, strict=True))
    if "wid_video" in outputs:
        outputs["wid_video"] = outputs["wid_video"].reshape(shape)
    if "word_ce" in terms:
        for side in ("audio", "video"):
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
    """Frames from the identity frame's person and the word vectors of either modality."""
    length, (pid, maps), photo = config.model.sequence_frames, person, images(batch["identity_frame"])
    wids = {}
    for side in ("video", "audio"):
        wid = outputs[f"wid_{side}"]
        wid = wid if wid.shape[1] == length else select(wid, batch["generate_start"], length)
        share = config.wid_gradient
        wids[side] = share * wid + jax.lax.stop_gradient((1 - share) * wid)
    maps = {stride: maps[stride] for stride in config.model.skips}
    calls = [(pid, wids[side][:, t], maps, photo) for t in range(length) for side in wids]
    frames = networks.each("decoder", calls)
    return {f"fake_{side}": jnp.stack(frames[i::2], 1) for i, side in enumerate(wids)}


def real_frames(config, batch: Batch) -> tuple[Array, Array]:
    """What was to be generated: frames `[B, 6, S, S, 3]` in 0…1 and their windows `[B, 6, 20, 12]`."""
    start, length = batch["generate_start"], config.model.sequence_frames
    return images(select(batch["frames"], start, length)), select(batch["mfcc"], start, length)


def _clips_for(name: str, frames: Array, mfcc: Array) -> tuple[Array, Array]:
    """The frame discriminator sees every frame as a clip of one."""
    if name == "sequence_discriminator":
        return frames, mfcc
    return models.flatten_time(frames)[:, None], models.flatten_time(mfcc)[:, None]


def discriminator_losses(config, networks: Networks, outputs: dict, batch: Batch) -> tuple[dict, Metrics]:
    """The discriminator player's terms (all of weight 1) on detached outputs of the forward."""
    terms, metrics, names = {}, {}, adversaries(config)
    if "modality_discriminator" in names:
        audio, video = (
            networks("modality_discriminator", models.flatten_time(outputs[f"wid_{side}"]))
            for side in ("audio", "video")
        )
        terms["modality"] = (losses.binary(audio, 1.0) + losses.binary(video, 0.0)) / 2
        metrics["accuracy/modality_adversary"] = (jnp.mean(audio > 0) + jnp.mean(video <= 0)) / 2
    if "word_adversary" in names:
        logits = networks("word_adversary", outputs["adversary_maps"])
        terms["word_adversary"] = losses.cross_entropy(logits, batch["word"])
        metrics["accuracy/word_adversary"] = losses.accuracy(logits, batch["word"])
    if "person_adversary" in names:
        logits = networks("person_adversary", outputs["face_wid"])
        terms["person_adversary"] = losses.cross_entropy(logits, batch["face_id"])
        metrics["accuracy/person_adversary"] = losses.accuracy(logits, batch["face_id"])
    for name in ("sequence_discriminator", "frame_discriminator"):
        if name in names:
            patch, match = _discriminate(config, networks, name, outputs, batch)
            terms |= {f"{name}_patch": patch, f"{name}_match": match}
    return terms, metrics


def _discriminate(config, networks: Networks, name: str, outputs: dict, batch: Batch) -> tuple[Array, Array]:
    """½(BCE real + BCE fake) of both heads, each label softened by a random amount."""
    frames, mfcc = real_frames(config, batch)
    fakes = jnp.concatenate([outputs["fake_audio"], outputs["fake_video"]])
    # The official code judges the reals twice, as many as the fakes: the same loss, another sample variance.
    copies = 2 if networks.official_grouping else 1
    fake = networks(name, *_clips_for(name, fakes, jnp.concatenate([mfcc, mfcc])))
    real = networks(name, *_clips_for(name, jnp.concatenate([frames] * copies), jnp.concatenate([mfcc] * copies)))
    networks.key, key = jax.random.split(networks.key)
    softness = config.label_softness * jax.random.uniform(key, (2, 2))
    patch, match = (
        (losses.binary(real[head], 1 - softness[head, 0]) + losses.binary(fake[head], softness[head, 1])) / 2
        for head in (0, 1)
    )
    return patch, match


def generator_losses(config, networks: Networks, outputs: dict, batch: Batch) -> tuple[dict, Metrics]:
    """The generator player's active terms, unweighted, against the updated discriminators."""
    active, terms, metrics = losses.active(config), {}, {}
    sides = ("audio", "video")
    if "person_ce" in active:
        terms["person_ce"] = losses.cross_entropy(outputs["face_logits"], batch["face_id"])
        metrics["accuracy/person"] = losses.accuracy(outputs["face_logits"], batch["face_id"])
    if "word_ce" in active:
        for side in sides:
            terms[f"word_ce_{side}"] = losses.cross_entropy(outputs[f"word_{side}"], batch["word"])
            metrics[f"accuracy/word_{side}"] = losses.accuracy(outputs[f"word_{side}"], batch["word"])
    if "contrastive" in active:
        form = {"clip": losses.clip_contrastive, "chunks": losses.chunk_contrastive}[config.contrastive]
        terms["contrastive"] = form(outputs["wid_video"], outputs["wid_audio"], config.margin)
    if "modality" in active:
        for side, label in zip(sides, (0.0, 1.0), strict=True):  # each side is to be taken for the other
            wid = models.flatten_time(outputs[f"wid_{side}"])
            terms[f"modality_{side}"] = losses.binary(networks("modality_discriminator", wid), label)
    if "pid_uniform" in active:
        terms["pid_uniform"] = losses.uniformity(networks("word_adversary", outputs["adversary_maps"]))
    if "wid_uniform" in active:
        terms["wid_uniform"] = losses.uniformity(networks("person_adversary", outputs["face_wid"]))
    if active & losses.GENERATION_TERMS:
        terms |= _picture_losses(config, networks, outputs, batch, active)
    return terms, metrics


def _picture_losses(config, networks: Networks, outputs: dict, batch: Batch, active: set[str]) -> dict:
    terms, (frames, mfcc) = {}, real_frames(config, batch)
    for side in ("audio", "video"):
        for name, loss in (("l1", losses.l1), ("mouth", losses.mouth_l1)):
            if name in active:
                terms[f"{name}_{side}"] = loss(outputs[f"fake_{side}"], frames)
    if "temporal" in active:
        terms["temporal"] = losses.temporal(outputs["fake_audio"], images(batch["identity_frame"]))
    fakes = jnp.concatenate([outputs["fake_audio"], outputs["fake_video"]])
    for term in ("gan_sequence", "gan_frame"):
        if term in active:
            name = losses.TERMS[term].adversary
            patch, match = networks(name, *_clips_for(name, fakes, jnp.concatenate([mfcc, mfcc])))
            terms |= {f"{term}_patch": losses.binary(patch, 1.0), f"{term}_match": losses.binary(match, 1.0)}
    return terms


def term_weight(config, name: str) -> float:
    """Weight of a term by its full name (`l1_audio` → `config.loss.l1`), with the stated rule of the uniformities."""
    term = next(known for known in losses.TERMS if name.startswith(known))
    classes = {"pid_uniform": config.model.num_words, "wid_uniform": config.model.num_identities}.get(term)
    return config.loss[term] * (losses.uniformity_weight(classes) if classes else 1.0)


def train_step(config, state: DavsState, batch: Batch) -> tuple[DavsState, Metrics]:
    """(state, batch) → (state, metrics); pure. Metrics are float32 scalars, terms unweighted."""
    trained, opponents, optimizers = trained_networks(config), adversaries(config), make_optimizers(config)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), state.step), 3)
    params, opt, batch_stats = dict(state.params), dict(state.opt), dict(state.batch_stats)
    metrics: Metrics = {}

    def update(player: str, gradients: dict) -> None:
        """Steps one player, and notes each network's gradient norm."""
        metrics.update({f"gradient_norm/{name}": optax.tree.norm(g) for name, g in gradients.items()})
        own = {name: params[name] for name in gradients}
        updates, opt[player] = optimizers[player].update(gradients, opt[player], own)
        params.update(optax.apply_updates(own, updates))

    def run_forward(own: dict):
        networks = Networks(config, state.params | own, batch_stats, trained, keys[0])
        return forward(config, networks, batch), networks.batch_stats

    outputs, pullback, batch_stats = jax.vjp(run_forward, {name: params[name] for name in trained}, has_aux=True)

    if opponents:

        def discriminator_loss(own: dict):
            networks = Networks(config, params | own, batch_stats, opponents, keys[1])
            terms, figures = discriminator_losses(config, networks, jax.lax.stop_gradient(outputs), batch)
            return sum(terms.values()), (terms, figures, networks.batch_stats)

        own = {name: params[name] for name in opponents}
        gradients, (terms, figures, batch_stats) = jax.grad(discriminator_loss, has_aux=True)(own)
        update("discriminator", gradients)
        metrics |= figures | {f"loss/discriminator/{name}": value for name, value in terms.items()}

    def generator_loss(outputs: dict):
        networks = Networks(config, params, batch_stats, opponents, keys[2])
        terms, figures = generator_losses(config, networks, outputs, batch)
        total = sum(term_weight(config, name) * value for name, value in terms.items())
        return total, (terms, figures, networks.batch_stats)

    (total, (terms, figures, batch_stats)), cotangent = jax.value_and_grad(generator_loss, has_aux=True)(outputs)
    (gradients,) = pullback(cotangent)
    update("generator", gradients)
    metrics |= figures | {f"loss/{name}": value for name, value in terms.items()} | {"loss/total": total}

    decay = config.optim.ema_decay
    ema = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.ema, {n: params[n] for n in state.ema})
    return DavsState(state.step + 1, params, batch_stats, opt, ema), metrics


def make_train_step(config, mesh: Mesh):
    """The stage's one jitted step on this mesh: (state, batch) → (state, metrics); the state is donated."""
    state = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(config, mesh))
    batch = dict.fromkeys(batch_spec(config), sharding.batch_sharding(mesh))
    return jax.jit(
        lambda state, batch: train_step(config, state, batch),
        in_shardings=(state, batch),
        out_shardings=(state, sharding.replicated(mesh)),
        donate_argnums=0,
    )

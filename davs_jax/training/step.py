"""One training step of any stage: one forward, the discriminators' step, the generator's step.

A stage is nothing but which networks train (`config.trained`) and which terms have weight (`config.loss`).
The order is the official code's: the discriminator player steps on detached features, then the generator player steps
against the *updated* discriminators. `jax.vjp` keeps the one forward's pullback, so nothing is computed twice.
"""

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from davs_jax import models
from davs_jax.parallel import sharding
from davs_jax.training import losses
from davs_jax.training.forward import Array, Batch, Networks, batch_spec, forward, images, join, select
from davs_jax.training.optimizer import make_optimizers
from davs_jax.training.state import DavsState, abstract_state, adversaries, trained_networks

Metrics = dict[str, Array]


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
    fakes = join([outputs[f"fake_{side}"] for side in config.modalities])
    # The official code judges the reals twice, as many as the fakes: the same loss, another sample variance.
    drivings = len(config.modalities)
    copies = drivings if networks.official_grouping else 1
    fake = networks(name, *_clips_for(name, fakes, join([mfcc] * drivings)))
    real = networks(name, *_clips_for(name, join([frames] * copies), join([mfcc] * copies)))
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
    sides = config.modalities
    if "person_ce" in active:
        terms["person_ce"] = losses.cross_entropy(outputs["face_logits"], batch["face_id"])
        metrics["accuracy/person"] = losses.accuracy(outputs["face_logits"], batch["face_id"])
    if "word_ce" in active:
        for side in sides:
            terms[f"word_ce_{side}"] = losses.cross_entropy(outputs[f"word_{side}"], batch["word"])
            metrics[f"accuracy/word_{side}"] = losses.accuracy(outputs[f"word_{side}"], batch["word"])
    if "contrastive" in active:
        contrastive = losses.CONTRASTIVE[config.contrastive]
        terms["contrastive"] = contrastive(outputs["wid_video"], outputs["wid_audio"], config.margin)
    if "modality" in active:
        for side, label in (("audio", 0.0), ("video", 1.0)):  # each side is to be taken for the other
            wid = models.flatten_time(outputs[f"wid_{side}"])
            terms[f"modality_{side}"] = losses.binary(networks("modality_discriminator", wid), label)
    if "pid_uniform" in active:
        terms["pid_uniform"] = losses.uniformity(networks("word_adversary", outputs["adversary_maps"]))
    if "wid_uniform" in active:
        terms["wid_uniform"] = losses.uniformity(networks("person_adversary", outputs["face_wid"]))
    if "sync" in active:
        terms["sync"], metrics["accuracy/sync"] = losses.sync_matching(outputs["sync_face"], outputs["sync_sound"])
    if active & losses.GENERATION_TERMS:
        terms |= _picture_losses(config, networks, outputs, batch, active)
    return terms, metrics


def _picture_losses(config, networks: Networks, outputs: dict, batch: Batch, active: set[str]) -> dict:
    terms, (frames, mfcc) = {}, real_frames(config, batch)
    for side in config.modalities:
        for name, loss in (("l1", losses.l1), ("mouth", losses.mouth_l1), ("mouth_l2", losses.mouth_l2)):
            if name in active:
                terms[f"{name}_{side}"] = loss(outputs[f"fake_{side}"], frames)
    if "temporal" in active:
        terms["temporal"] = losses.temporal(outputs["fake_audio"], images(batch["identity_frame"]))
    fakes = join([outputs[f"fake_{side}"] for side in config.modalities])
    for term in ("gan_sequence", "gan_frame"):
        if term in active:
            name = losses.TERMS[term].adversary
            patch, match = networks(name, *_clips_for(name, fakes, join([mfcc] * len(config.modalities))))
            terms |= {f"{term}_patch": losses.binary(patch, 1.0), f"{term}_match": losses.binary(match, 1.0)}
    return terms


def term_weight(config, name: str) -> float:
    """Weight of a term by its full name (`l1_audio` → `config.loss.l1`), with the stated rule of the uniformities."""
    term = max((known for known in losses.TERMS if name.startswith(known)), key=len)
    classes = {"pid_uniform": config.model.num_words, "wid_uniform": config.model.num_identities}.get(term)
    return config.loss[term] * (losses.uniformity_weight(classes) if classes else 1.0)


def train_step(config, state: DavsState, batch: Batch, mesh: Mesh | None = None) -> tuple[DavsState, Metrics]:
    """(state, batch) → (state, metrics); pure. Metrics are float32 scalars, terms unweighted.

    With `config.accumulate` = k the batch is read in k parts. The discriminators step on the mean gradient of all, and
    only then the generator player, on the mean of all against the updated discriminators: the published order, at the
    price of a second forward where there are adversaries. Contrastive losses compare, and norms see, what is in one
    part; running statistics move once a part.

    Args:
      mesh: where parameters may be divided over `fsdp`.
    """
    trained, opponents, optimizers = trained_networks(config), adversaries(config), make_optimizers(config)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), state.step), 3)
    params, opt = dict(state.params), dict(state.opt)
    metrics: Metrics = {}

    def whole(names) -> dict:
        return sharding.gathered({name: params[name] for name in names}, mesh)

    def update(player: str, gradients: dict, figures: Metrics) -> None:
        """Steps one player, and notes its figures and each network's gradient norm."""
        gradients = sharding.divided(gradients, mesh)
        metrics.update(figures | {f"gradient_norm/{name}": optax.tree.norm(g) for name, g in gradients.items()})
        own = {name: params[name] for name in gradients}
        updates, opt[player] = optimizers[player].update(gradients, opt[player], own)
        params.update(optax.apply_updates(own, updates))

    def run_forward(batch: Batch, batch_stats: dict, key: Array):
        """Outputs, their pullback to the trained networks, and the statistics after them."""
        everything = whole(params)

        def run(own: dict):
            networks = Networks(config, everything | own, batch_stats, trained, key)
            return forward(config, networks, batch), networks.batch_stats

        return jax.vjp(run, {name: everything[name] for name in trained}, has_aux=True)

    def discriminator_gradients(outputs: dict, batch: Batch, batch_stats: dict, key: Array):
        def loss(own: dict):
            networks = Networks(config, own, batch_stats, opponents, key)
            terms, figures = discriminator_losses(config, networks, jax.lax.stop_gradient(outputs), batch)
            figures |= {f"loss/discriminator/{name}": value for name, value in terms.items()}
            return sum(terms.values()), (figures, networks.batch_stats)

        gradients, (figures, batch_stats) = jax.grad(loss, has_aux=True)(whole(opponents))
        return gradients, figures, batch_stats

    def outputs_gradients(outputs: dict, batch: Batch, batch_stats: dict, key: Array):
        discriminators = whole(opponents)

        def loss(outputs: dict):
            networks = Networks(config, discriminators, batch_stats, opponents, key)
            terms, figures = generator_losses(config, networks, outputs, batch)
            total = sum(term_weight(config, name) * value for name, value in terms.items())
            figures |= {f"loss/{name}": value for name, value in terms.items()} | {"loss/total": total}
            return total, (figures, networks.batch_stats)

        gradients, (figures, batch_stats) = jax.grad(loss, has_aux=True)(outputs)
        return gradients, figures, batch_stats

    if config.accumulate == 1:  # one forward serves both players
        outputs, pullback, batch_stats = run_forward(batch, state.batch_stats, keys[0])
        if opponents:
            gradients, figures, batch_stats = discriminator_gradients(outputs, batch, batch_stats, keys[1])
            update("discriminator", gradients, figures)
        cotangent, figures, batch_stats = outputs_gradients(outputs, batch, batch_stats, keys[2])
        update("generator", *pullback(cotangent), figures)
    else:

        def first_pass(batch: Batch, batch_stats: dict, keys: Array):
            outputs, _, _ = run_forward(batch, batch_stats, keys[0])  # its statistics are noted in the second pass
            return discriminator_gradients(outputs, batch, batch_stats, keys[1])

        def second_pass(batch: Batch, batch_stats: dict, keys: Array):
            outputs, pullback, batch_stats = run_forward(batch, batch_stats, keys[0])
            cotangent, figures, batch_stats = outputs_gradients(outputs, batch, batch_stats, keys[2])
            return *pullback(cotangent), figures, batch_stats

        batch_stats = state.batch_stats
        if opponents:
            gradients, figures, batch_stats = _mean_of_parts(config.accumulate, first_pass, batch, batch_stats, keys)
            update("discriminator", gradients, figures)
        gradients, figures, batch_stats = _mean_of_parts(config.accumulate, second_pass, batch, batch_stats, keys)
        update("generator", gradients, figures)

    decay = config.optim.ema_decay
    ema = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, state.ema, {n: params[n] for n in state.ema})
    return DavsState(state.step + 1, params, batch_stats, opt, ema), metrics


def _mean_of_parts(count: int, function, batch: Batch, batch_stats: dict, keys: Array) -> tuple[dict, Metrics, dict]:
    """Gradients and metrics of `function`, averaged over the parts of a batch, and the statistics after the last part.

    Part i holds rows i, i + count, …: so every device has its share of every part.
    """
    parts = jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1), batch)
    found = jax.eval_shape(function, jax.tree.map(lambda x: x[0], parts), batch_stats, keys)[:2]
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), found)

    def add(carry, part):
        (sums, batch_stats), (number, batch) = carry, part
        own_keys = jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)
        *found, batch_stats = function(batch, batch_stats, own_keys)
        return (jax.tree.map(jnp.add, sums, tuple(found)), batch_stats), None

    (sums, batch_stats), _ = jax.lax.scan(add, (nothing, batch_stats), (jnp.arange(count), parts))
    return *jax.tree.map(lambda total: total / count, sums), batch_stats


def make_train_step(config, mesh: Mesh):
    """The stage's one jitted step on this mesh: (state, batch) → (state, metrics); the state is donated."""
    state = jax.tree.map(lambda leaf: leaf.sharding, abstract_state(config, mesh))
    batch = dict.fromkeys(batch_spec(config), sharding.batch_sharding(mesh))
    return jax.jit(
        lambda state, batch: train_step(config, state, batch, mesh),
        in_shardings=(state, batch),
        out_shardings=(state, sharding.replicated(mesh)),
        donate_argnums=0,
    )

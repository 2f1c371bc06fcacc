"""One pure function per loss, and the table of terms: what each moves, and which adversary it plays against.

Pictures are float32 in 0…1, `[B, T, S, S, 3]`; the constants are those of the official code (`Gen_final_v1.py`,
`loss_functions.py`), whose weights stand in `configs/common.py`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from davs_jax.constants import mouth_box
from davs_jax.models.layers import flatten_time

Array = jax.Array


class Term(NamedTuple):
    """A term of the generator player's loss.

    Attributes:
      moves: networks that receive its gradient (where the stage trains them).
      uses: further networks that it needs.
      adversary: the discriminator player's network that it needs, if any.
      modalities: those without which it has no meaning; any other term is computed on those that the stage has.
    """

    moves: tuple[str, ...]
    uses: tuple[str, ...] = ()
    adversary: str | None = None
    modalities: frozenset[str] = frozenset()


ENCODERS = {"audio": "audio_encoder", "video": "visual_encoder"}  # by modality
WORDS = ("visual_encoder", "audio_encoder")
BOTH = frozenset(ENCODERS)
GENERATION = ("person_encoder", *WORDS, "decoder")

TERMS = {
    "person_ce": Term(("person_encoder", "person_classifier")),
    "word_ce": Term((*WORDS, "word_classifier")),
    "contrastive": Term(WORDS, modalities=BOTH),
    "modality": Term(WORDS, adversary="modality_discriminator", modalities=BOTH),
    "pid_uniform": Term(("person_encoder",), adversary="word_adversary"),
    "wid_uniform": Term(("visual_encoder",), adversary="person_adversary", modalities=frozenset({"video"})),
    "l1": Term(GENERATION),
    "mouth": Term(GENERATION),
    "mouth_l2": Term(GENERATION),
    "temporal": Term(
        ("person_encoder", "audio_encoder", "decoder"), uses=("visual_encoder",), modalities=frozenset({"audio"})
    ),
    "gan_sequence": Term(GENERATION, adversary="sequence_discriminator"),
    "gan_frame": Term(GENERATION, adversary="frame_discriminator"),
    "sync": Term(("syncnet",)),
}
TEMPERATURE = 0.1  # of the cosines in `frame_contrastive`
WORD_TERMS = frozenset({"word_ce", "contrastive", "modality"})
GENERATION_TERMS = frozenset({"l1", "mouth", "mouth_l2", "temporal", "gan_sequence", "gan_frame"})
FACE_TERMS = frozenset({"person_ce", "wid_uniform"})


def active(config) -> set[str]:
    """Names of the terms whose weight is above zero: only these are computed.

    Raises:
      ValueError: no term is active, a weight is negative, or `config.contrastive` is not a known form.
    """
    if config.contrastive not in CONTRASTIVE:
        raise ValueError(f"config.contrastive is {config.contrastive!r}; it must be one of {', '.join(CONTRASTIVE)}")
    if negative := [name for name, weight in config.loss.items() if weight < 0]:
        raise ValueError(f"config.loss.{negative[0]} is {config.loss[negative[0]]}; a weight is 0 (off) or above")
    names = {name for name, weight in config.loss.items() if weight > 0}
    if not names:
        raise ValueError("every weight in config.loss is 0: there is nothing to train; set at least one above 0")
    return names


def networks(config, name: str, used: bool = False) -> tuple[str, ...]:
    """Networks that a term moves in the modalities that the stage has; with `used`, those too that it only needs.

    Raises:
      ValueError: `config.modalities` is empty or names another, or lacks one without which the term has no meaning.
    """
    term, present = TERMS[name], set(config.modalities)
    if not present or present - BOTH:
        raise ValueError(f"config.modalities is {tuple(config.modalities)}; it holds 'audio', 'video' or both")
    if missing := term.modalities - present:
        raise ValueError(
            f"config.loss.{name} is above 0 but needs {sorted(missing)}, which config.modalities lacks; set it to 0"
        )
    absent = {encoder for modality, encoder in ENCODERS.items() if modality not in present}
    return tuple(n for n in (*term.moves, *(term.uses if used else ())) if n not in absent)


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Mean cross-entropy of logits `[N, K]` and integer labels `[N]`."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def accuracy(logits: Array, labels: Array) -> Array:
    """Fraction of `[N, K]` logits whose greatest is the label's."""
    return jnp.mean(jnp.argmax(logits, -1) == labels)


def products(a: Array, b: Array) -> Array:
    """Inner products `[N, M]` of rows, in full float32: TPUs and newer GPUs would round the factors first, and
    distances, small differences of these, would be noise."""
    return jnp.matmul(a, b.T, precision="highest")


def contrastive(fixed: Array, moving: Array, margin: float) -> Array:
    """L2 contrastive loss between vectors `[N, D]`; pairs are equal rows. `fixed` receives no gradient.

    [Σ_i d_ii² + Σ_{i≠j} max(0, margin − d_ij)²] / 2N, with d the Euclidean distances.
    """
    fixed = jax.lax.stop_gradient(fixed)
    squared = jnp.sum(fixed**2, 1)[:, None] + jnp.sum(moving**2, 1)[None] - 2 * products(fixed, moving)
    same = jnp.sum((fixed - moving) ** 2, 1)  # exact on the diagonal, where the expansion above cancels
    distance = jnp.sqrt(jnp.maximum(squared, 1e-12))  # the floor keeps the root's gradient finite
    others = jnp.square(jnp.maximum(0.0, margin - distance)) * (1 - jnp.eye(len(fixed)))
    return (jnp.sum(same) + jnp.sum(others)) / (2 * len(fixed))


def l2_normalised(x: Array) -> Array:
    """Rows of `[N, D]` scaled to length 1."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x**2, -1, keepdims=True), 1e-12))


def clip_contrastive(wid_video: Array, wid_audio: Array, margin: float) -> Array:
    """Joint stage: whole clips `[B, T, E]`, L2-normalised; only the audio side moves."""
    video, audio = (l2_normalised(wid.reshape(len(wid), -1)) for wid in (wid_video, wid_audio))
    return contrastive(video, audio, margin)


def chunk_contrastive(wid_video: Array, wid_audio: Array, margin: float) -> Array:
    """Word pretraining as published: a third of a clip at a time, not normalised, each side towards the other."""
    video, audio = (wid.reshape(3 * len(wid), -1) for wid in (wid_video, wid_audio))
    return contrastive(video, audio, margin) + contrastive(audio, video, margin)


def frame_contrastive(wid_video: Array, wid_audio: Array, margin: float) -> Array:
    """Ours: every frame of the batch finds its own sound among all others', and the sound its frame.

    Cross-entropy over cosines `[B·T, B·T]` at a fixed temperature. The wrong answers include the other frames of the
    same clip, in which the person is the same: only what the mouth does tells them apart. So this trains the eye in a
    few hundred steps of small batches, where the published hinge leaves it at chance (docs/decisions.md). `margin` is
    not used: a softmax has none.
    """
    video, audio = (l2_normalised(flatten_time(wid)) for wid in (wid_video, wid_audio))
    logits, own = products(video, audio) / TEMPERATURE, jnp.arange(len(video))
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def sync_matching(face: Array, sound: Array) -> tuple[Array, Array]:
    """SyncNet's windows of a clip, faces and sounds `[B, N, E]`, find each other: a face its sound, a sound its face.

    Cross-entropy over N ways, both ways, whose logits are negative Euclidean distances: what SyncNet's scores are made
    of. All are of one clip, so that only time tells them apart. SyncNet's own loss, one wrong sound a face and a
    margin, has nearly its minimum where all vectors are half a margin apart, and stayed there (docs/decisions.md); many
    ways are Chung, Chung & Kang's (2019).

    Returns:
      the loss, and the share of faces that are nearest to their own sound.
    """
    squared = jnp.sum((face[:, :, None] - sound[:, None]) ** 2, -1)
    logits = -jnp.sqrt(jnp.maximum(squared, 1e-12))  # the floor keeps the root's gradient finite
    own = jnp.tile(jnp.arange(face.shape[1]), len(face))
    to_sound, to_face = flatten_time(logits), flatten_time(logits.swapaxes(1, 2))
    return (cross_entropy(to_sound, own) + cross_entropy(to_face, own)) / 2, accuracy(to_sound, own)


CONTRASTIVE = {"clip": clip_contrastive, "chunks": chunk_contrastive, "frames": frame_contrastive}


def binary(logits: Array, label: float | Array) -> Array:
    """Mean binary cross-entropy of logits of any shape with one label (official `GANLoss`)."""
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, label))


def uniformity(logits: Array) -> Array:
    """Mean-square distance of softmax(logits `[N, K]`) to uniform (official `L2SoftmaxLoss`)."""
    return jnp.mean(jnp.square(jax.nn.softmax(logits) - 1 / logits.shape[-1]))


def uniformity_weight(classes: int) -> float:
    """Weight of `uniformity` for K classes: it keeps the weighted term's maximum at what 1e6 gives for 500.

    The maximum of the mean square is (K − 1)/K², at a one-hot softmax; so the weight is
    1e6 · (499/500²) · K²/(K − 1): 1e6 at 500 words, 2.2e4 at 10.
    """

    def greatest(k):
        return (k - 1) / k**2

    return 1e6 * greatest(500) / greatest(classes)


def mouth_mask(image_size: int) -> Array:
    """[S, S, 1], one inside the mouth box."""
    return jnp.zeros((image_size, image_size, 1)).at[mouth_box(image_size)].set(1.0)


def l1(fakes: Array, reals: Array) -> Array:
    """Mean absolute difference on the 0…255 scale."""
    return 255 * jnp.mean(jnp.abs(fakes - reals))


def mouth_l1(fakes: Array, reals: Array) -> Array:
    """`l1` inside the mouth box; still averaged over *all* pixels, as the official code does."""
    return l1(fakes * (mask := mouth_mask(fakes.shape[-2])), reals * mask)


def mouth_l2(fakes: Array, reals: Array) -> Array:
    """Ours: mean squared difference on the 0…255 scale inside the mouth box, averaged over all pixels as `mouth_l1` is.

    Where the sound leaves the mouth uncertain, the least absolute error is the median, and the median mouth is shut;
    the least squared error is the mean, which moves from the first hundred steps on (docs/decisions.md).
    """
    return 255**2 * jnp.mean(jnp.square((fakes - reals) * mouth_mask(fakes.shape[-2])))


def temporal(fakes: Array, identity_frame: Array) -> Array:
    """Σ_t of the mean absolute difference, outside the mouth, between frame t `[B, T, S, S, 3]` and frame t − 1.

    Frame −1 is the identity frame `[B, S, S, 3]`; the earlier frame receives no gradient.
    """
    before = jax.lax.stop_gradient(jnp.concatenate([identity_frame[:, None], fakes[:, :-1]], 1))
    outside = 1 - mouth_mask(fakes.shape[-2])
    return fakes.shape[1] * jnp.mean(jnp.abs(fakes - before) * outside)

"""One pure function per loss.

Images are float32 in 0…1, `[B, T, S, S, 3]`. The constants are those of the official code (`Gen_final_v1.py`,
`loss_functions.py`); its weights are in `configs/common.py`.
"""

import jax
import jax.numpy as jnp
import optax

from davs_jax.face_geometry import mouth_box
from davs_jax.models.layers import flatten_time

Array = jax.Array
WARP_SCALES = (1, 2, 4, 8)  # in 64ths of the side
TEMPERATURE = 0.1  # of the cosines in `frame_contrastive` and SyncNet


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Mean cross-entropy of logits `[N, K]` and integer labels `[N]`, over those with a label; 0 where none has one.

    A label of −1 is unknown: that row has no loss and no gradient.
    """
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(labels, 0))
    return _mean_of_labelled(losses, labels)


def accuracy(logits: Array, labels: Array) -> Array:
    """Fraction of logits `[N, K]` whose largest entry is the label `[N]`, of those with one, as `cross_entropy`."""
    return _mean_of_labelled(jnp.argmax(logits, -1) == labels, labels)


def _mean_of_labelled(values: Array, labels: Array) -> Array:
    known = labels >= 0
    return jnp.sum(jnp.where(known, values, 0)) / jnp.maximum(jnp.sum(known), 1)


def centroid_logits(features: Array, centroids: Array, kernel: Array) -> Array:
    """Logits `[N, C]` of features `[N, H]` against centroids `[C, H]`, as further columns of a last layer `[H, K]`.

    Transductive Centroid Projection (Liu et al. 2018, eq. 5): a cluster without a label is a class of its own while its
    batch lasts. Its column is the centroid of its features, as long as the mean column of the layer. Like a weight, it
    receives no gradient through the features.
    """
    length = jnp.mean(jnp.linalg.norm(kernel, axis=0))
    return products(features, jax.lax.stop_gradient(length * l2_normalised(centroids)))


def transductive_cross_entropy(logits: Array, centroids: Array, labels: Array) -> Array:
    """`cross_entropy` in which a row without a label has to find its own centroid among words and centroids.

    Args:
      logits: `[N, K]` of the words.
      centroids: logits `[N, N]` of `centroid_logits`; column j is row j's own centroid, which counts where row j has no
        label.
      labels: `[N]`, −1 where unknown.
    """
    unknown = labels < 0
    columns = jnp.where(unknown[None], centroids, -jnp.inf)
    own = logits.shape[-1] + jnp.arange(len(labels))
    return cross_entropy(jnp.concatenate([logits, columns], 1), jnp.where(unknown, own, labels))


def products(a: Array, b: Array) -> Array:
    """Inner products `[N, M]` of rows, in full float32.

    TPUs and newer GPUs round the factors by default; distances, small differences of these products, would be noise.
    """
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
    """Joint stage: whole clips `[B, T, E]`, L2-normalised; only the audio encoder receives a gradient."""
    video, audio = (l2_normalised(wid.reshape(len(wid), -1)) for wid in (wid_video, wid_audio))
    return contrastive(video, audio, margin)


def chunk_contrastive(wid_video: Array, wid_audio: Array, margin: float) -> Array:
    """Word pretraining as published: thirds of clips, not normalised, in both directions."""
    video, audio = (wid.reshape(3 * len(wid), -1) for wid in (wid_video, wid_audio))
    return contrastive(video, audio, margin) + contrastive(audio, video, margin)


def frame_contrastive(wid_video: Array, wid_audio: Array, margin: float) -> Array:
    """Ours: symmetric InfoNCE over all frames of the batch.

    Cross-entropy over cosines `[B·T, B·T]` at a fixed temperature. The negatives include the other frames of the same
    clip, which show the same person: only the mouth distinguishes them. So it trains the visual encoder within a few
    hundred steps of small batches, where the published hinge loss leaves it at chance (docs/decisions.md). `margin` is
    unused: a softmax has none.
    """
    video, audio = (l2_normalised(flatten_time(wid)) for wid in (wid_video, wid_audio))
    logits, own = products(video, audio) / TEMPERATURE, jnp.arange(len(video))
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def sync_matching(face: Array, audio: Array) -> tuple[Array, Array]:
    """Matches SyncNet's face and audio vectors `[B, N, E]` of the N windows of each clip, in both directions.

    N-way cross-entropy over cosines at a fixed temperature. All negatives come from the same clip, so only time
    distinguishes them (N-way matching: Chung, Chung & Kang 2019). SyncNet's own loss, with one negative per face and a
    margin, is near its minimum where all vectors are half a margin apart, and training stayed there
    (docs/decisions.md).

    Returns:
      the loss, and the fraction of faces whose nearest audio vector is their own.
    """
    logits = _sync_logits(face, audio)
    own = jnp.tile(jnp.arange(face.shape[1]), len(face))
    to_audio, to_face = flatten_time(logits), flatten_time(logits.swapaxes(1, 2))
    return (cross_entropy(to_audio, own) + cross_entropy(to_face, own)) / 2, accuracy(to_audio, own)


def sync_expert(face: Array, audio: Array, own: Array) -> tuple[Array, Array]:
    """A frozen SyncNet judges generated frames: does the face fit the clip's audio best at its own moment?

    N-way cross-entropy as in `sync_matching`. Prajwal et al. (2020) train a generator against such an expert, with one
    negative per face.

    Args:
      face: `[B, E]`, of one window of generated frames per clip.
      audio: `[B, N, E]`, of all windows of the clip.
      own: `[B]`, the window whose audio the face was generated from.

    Returns:
      the loss, and the fraction of faces whose nearest audio vector is their own.
    """
    logits = _sync_logits(face[:, None], audio)[:, 0]
    return cross_entropy(logits, own), accuracy(logits, own)


def _sync_logits(face: Array, audio: Array) -> Array:
    """Cosines of SyncNet's vectors `[B, N, E]` and `[B, M, E]` of each clip, at the temperature: `[B, N, M]`."""
    return jnp.einsum("bne,bme->bnm", l2_normalised(face), l2_normalised(audio), precision="highest") / TEMPERATURE


CONTRASTIVE = {"clip": clip_contrastive, "chunks": chunk_contrastive, "frames": frame_contrastive}


def binary(logits: Array, label: float | Array) -> Array:
    """Mean binary cross-entropy of logits of any shape against one label (official `GANLoss`)."""
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, label))


def uniformity(logits: Array) -> Array:
    """Mean-square distance of softmax(logits `[N, K]`) to uniform (official `L2SoftmaxLoss`)."""
    return jnp.mean(jnp.square(jax.nn.softmax(logits) - 1 / logits.shape[-1]))


def uniformity_weight(classes: int) -> float:
    """Weight of `uniformity` for K ≥ 2 classes; the weighted maximum is that of the official 1e6 at 500 words.

    The maximum of the mean square is (K − 1)/K², at a one-hot softmax; so the weight is
    1e6 · (499/500²) · K²/(K − 1): 1e6 at 500 words, 2.2e4 at 10.
    """

    def maximum(k):
        return (k - 1) / k**2

    return 1e6 * maximum(500) / maximum(classes)


def mouth_mask(image_size: int) -> Array:
    """`[S, S, 1]`, 1 inside the mouth box and 0 elsewhere."""
    return jnp.zeros((image_size, image_size, 1)).at[mouth_box(image_size)].set(1.0)


def l1(fakes: Array, reals: Array) -> Array:
    """Mean absolute difference on the 0…255 scale."""
    return 255 * jnp.mean(jnp.abs(fakes - reals))


def mouth_l1(fakes: Array, reals: Array) -> Array:
    """`l1` inside the mouth box; still averaged over *all* pixels, as the official code does."""
    return l1(fakes * (mask := mouth_mask(fakes.shape[-2])), reals * mask)


def mouth_l2(fakes: Array, reals: Array) -> Array:
    """Ours: mean squared difference on the 0…255 scale inside the mouth box, averaged over all pixels as `mouth_l1` is.

    Where the audio leaves the mouth uncertain, the absolute error is least at the median, and the median mouth is
    closed; the squared error is least at the mean, which moves within the first hundred steps (docs/decisions.md).
    """
    return 255**2 * jnp.mean(jnp.square((fakes - reals) * mouth_mask(fakes.shape[-2])))


def warp(moved: Array, reals: Array) -> Array:
    """Ours: mean squared difference on the 0…255 scale between photos moved by the flow head alone and real frames.

    Counted from the mouth box down to the chin, and averaged over all pixels as `mouth_l2` is. Both images are averaged
    over squares of 1, 2, 4 and 8 64ths of the side, and the four results averaged. Single pixels pull a lip only as far
    as it is high, and where it should go further the network would redraw it, blurred; large squares pull it from afar.

    Args:
      moved, reals: `[…, S, S, 3]` in 0…1.
    """
    size = moved.shape[-2]
    rows, columns = mouth_box(size)
    room = slice(max(0, columns.start - size // 16), columns.stop + size // 16)
    error = (moved - reals)[..., rows.start :, room, :]
    error = error.reshape(-1, *error.shape[-3:])
    share = error.shape[1] * error.shape[2] / size**2
    squares = [jnp.mean(jnp.square(_averaged(error, scale * max(1, size // 64)))) for scale in WARP_SCALES]
    return 255**2 * share * sum(squares) / len(squares)


def _averaged(x: Array, side: int) -> Array:
    """Means over squares of `[N, H, W, C]`, half a side apart."""
    step = max(1, side // 2)
    sums = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, side, side, 1), (1, step, step, 1), "VALID")
    return sums / side**2


def temporal(fakes: Array, identity_frame: Array) -> Array:
    """Σ_t of the mean absolute difference outside the mouth between frames t and t − 1 of `[B, T, S, S, 3]`.

    The frame before the first is the identity frame `[B, S, S, 3]`; the earlier frame receives no gradient.
    """
    before = jax.lax.stop_gradient(jnp.concatenate([identity_frame[:, None], fakes[:, :-1]], 1))
    outside = 1 - mouth_mask(fakes.shape[-2])
    return fakes.shape[1] * jnp.mean(jnp.abs(fakes - before) * outside)

"""The metrics of an evaluation: pure functions of arrays, each defined in its docstring."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from davs_jax.errors import NotMeasurable
from davs_jax.evaluate.sections import Motion, Ranks
from davs_jax.face_geometry import mouth_box
from davs_jax.parallel import sharding

RECALLS = (1, 5, 10, 50)
SAMPLES = 1000  # bootstrap resamples
SSIM_WINDOW = 11  # pixels, Gaussian of σ 1.5: Wang et al. (2004)
SSIM_SIGMA = 1.5


def interval(
    values: np.ndarray, groups: np.ndarray | None = None, samples: int = SAMPLES, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of values `[N]` → (low, high).

    Args:
      groups: `[N]`; whole groups are resampled instead of single values. Clips of one person resemble each other,
        so an interval over clips alone would be too narrow for *new people*.
      samples, seed: of the bootstrap.

    Raises:
      NotMeasurable: no values.
    """
    if not len(values):
        raise NotMeasurable("no values: there is nothing to compute an interval from")
    total, count = _resampled_sums((values, np.ones(len(values))), groups, samples, seed)
    return _percentiles(total / count)


def _resampled_sums(terms, groups: np.ndarray | None, samples: int, seed: int) -> list[np.ndarray]:
    """Sums of each of the terms `[N]` over bootstrap resamples of the groups → arrays `[samples]`."""
    unit = np.unique(groups, return_inverse=True)[1] if groups is not None else np.arange(len(terms[0]))
    units = unit.max() + 1
    counts = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), samples)
    return [counts @ np.bincount(unit, np.asarray(term, np.float64)) for term in terms]


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def word_logits(audio_logits: np.ndarray, video_logits: np.ndarray) -> dict[str, np.ndarray]:
    """Logits `[N, words]` of audio, of video, and of both: their sum, as in the official evaluation."""
    return {"audio": audio_logits, "video": video_logits, "both": audio_logits + video_logits}


def label_ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """0-based rank of the right label among the logits `[N, classes]` → `[N]`.

    The rank is 0 where the argmax is right, and below k where the label is among the k highest. Among equal logits the
    earlier class ranks first, as in argmax.
    """
    own = logits[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    return ((logits > own) | ((logits == own) & earlier)).sum(1)


def confusion(answers: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """How often clips of each label (row) got each answer (column): int `[classes, classes]`."""
    return np.bincount(labels * classes + answers, minlength=classes**2).reshape(classes, classes)


def clip_vectors(wid: np.ndarray) -> np.ndarray:
    """wid `[N, T, E]` → one L2-normalised vector per clip, `[N, T·E]` (zero where the clip's is zero)."""
    vectors = np.asarray(wid, np.float32).reshape(len(wid), -1)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def retrieval_ranks(
    queries: np.ndarray, gallery: np.ndarray, block: int = 1024, mesh: Mesh | None = None
) -> np.ndarray:
    """0-based rank of gallery[i] among the whole gallery by Euclidean distance to queries[i]; `[N, D]` twice → `[N]`.

    Both are clip vectors of the same clips in the same order. Ties count against the model: vectors that are all
    equal rank last, not first.

    Args:
      block: queries compared at once, over all devices; memory holds the gallery and `[block, N]` numbers.
      mesh: divides every block over its devices; None is one device.
    """
    if mesh is not None:
        block = -(-block // mesh.size) * mesh.size
        gallery = _on_mesh(gallery, sharding.replicated(mesh))
    ranks = []
    for start in range(0, len(queries), block):
        part = queries[start : start + block]
        places = np.minimum(start + np.arange(block), len(queries) - 1)
        padded = np.pad(part, ((0, block - len(part)), (0, 0)))
        if mesh is not None:
            padded, places = (_on_mesh(values, sharding.batch_sharding(mesh)) for values in (padded, places))
        ranks.append(np.asarray(_block_ranks(mesh)(padded, gallery, places))[: len(part)])
    return np.concatenate(ranks)


def _on_mesh(values: np.ndarray, layout: jax.sharding.NamedSharding) -> jax.Array:
    return jax.make_array_from_callback(values.shape, layout, lambda index: values[index])


@functools.cache
def _block_ranks(mesh: Mesh | None):
    def ranks(part: jax.Array, gallery: jax.Array, places: jax.Array) -> jax.Array:
        # For unit vectors this falls as the Euclidean distance rises.
        similarity = jnp.matmul(part, gallery.T, precision="highest")
        own = jnp.take_along_axis(similarity, places[:, None], 1)
        return (similarity >= own).sum(1) - 1

    return jax.jit(ranks, **({"out_shardings": sharding.replicated(mesh)} if mesh is not None else {}))


def retrieval(queries: np.ndarray, gallery: np.ndarray, mesh: Mesh | None = None) -> Ranks:
    """Retrieval of each query's own clip, as the official evaluation counts it.

    Returns:
      the share of queries whose clip is among the nearest k, median_rank (floor of the median of the 0-based ranks,
      + 1), mean_rank (1-based) and gallery (its size).
    """
    ranks = retrieval_ranks(queries, gallery, mesh=mesh)
    recalls = {f"r{k}": float(np.mean(ranks < k)) for k in RECALLS}
    return Ranks(
        **recalls,
        median_rank=float(np.floor(np.median(ranks)) + 1),
        mean_rank=float(ranks.mean() + 1),
        gallery=len(gallery),
    )


def image_figures(images: np.ndarray, reference: np.ndarray) -> dict[str, np.ndarray]:
    """Similarity of images to the reference, uint8 `[N, S, S, 3]` twice → float `[N]` each:

    psnr: dB of the squared error over all pixels and channels (peak 255); equal images count as 100 dB.
    legacy_psnr: PSNR of scripts that subtract and square in bytes, which wrap at 256: an error of 16 squares to 0, one
      of 255 to 1. Only for comparison with figures published in this way. 100 dB where the error is 0.
    ssim: structural similarity, the mean over pixels and channels.
    mouth_psnr, mouth_l1: PSNR and mean absolute error (0…255) inside the mouth box.
    """
    figures = {name: np.asarray(values) for name, values in _image_figures(images, reference).items()}
    wrapped = np.square(images - reference).mean((1, 2, 3), dtype=np.float64)  # uint8 throughout
    return figures | {"legacy_psnr": 10 * np.log10(255**2 / np.maximum(wrapped, 255**2 * 1e-10))}


def movement(frames: np.ndarray) -> dict[str, np.ndarray]:
    """Change from frame to frame in one clip, uint8 `[T, S, S, 3]` → 0…255, float `[T − 1]` each:

    mouth: mean absolute difference inside the mouth box: the mouth's activity.
    elsewhere: the same outside the mouth box. Real frames change a little there (pose, blinks); generated frames come
      from one photo, so their change there is jitter.
    """
    change = np.abs(np.diff(frames.astype(np.float32), axis=0)).mean(-1)
    inside = np.zeros(change.shape[1:], bool)
    inside[mouth_box(frames.shape[1])] = True
    return {"mouth": change[:, inside].mean(1), "elsewhere": change[:, ~inside].mean(1)}


def mouth_sharpness(frames: np.ndarray) -> np.ndarray:
    """Mean length of the gradient of brightness inside the mouth box, uint8 `[N, S, S, 3]` → float `[N]`.

    Unlike the variance of the Laplacian it does not count noise and compression many times.
    """
    rows, columns = mouth_box(frames.shape[1])
    down, across = np.gradient(frames[:, rows, columns].astype(np.float32).mean(-1), axis=(1, 2))
    return np.hypot(down, across).mean((1, 2))


@jax.jit
def _image_figures(images: jax.Array, reference: jax.Array) -> dict[str, jax.Array]:
    images, reference = images.astype(jnp.float32), reference.astype(jnp.float32)
    rows, columns = mouth_box(images.shape[1])
    error = images - reference
    mouth = error[:, rows, columns]
    return {
        "psnr": _psnr(error),
        "ssim": ssim(images, reference),
        "mouth_psnr": _psnr(mouth),
        "mouth_l1": jnp.abs(mouth).mean((1, 2, 3)),
    }


def _psnr(error: jax.Array) -> jax.Array:
    # The floor, 100 dB, is below any error of uint8 images: only equal images reach it.
    return 10 * jnp.log10(255**2 / jnp.maximum(jnp.square(error).mean((1, 2, 3)), 255**2 * 1e-10))


def ssim(x: jax.Array, y: jax.Array) -> jax.Array:
    """Structural similarity (Wang et al. 2004) of float images in 0…255, `[N, H, W, C]` twice → `[N]`.

    An 11-pixel Gaussian window of σ 1.5, valid positions only, K 0.01 and 0.03, population covariance: scikit-image's
    `structural_similarity(gaussian_weights=True, use_sample_covariance=False)`, but on the device and for a batch, as
    two matrix products per moment; image by image on the host it would take most of an evaluation's time.
    """

    def blur(values: jax.Array) -> jax.Array:
        rows, columns = _gaussian_band(values.shape[1]), _gaussian_band(values.shape[2])
        return jnp.einsum("oh,nhwc,pw->nopc", rows, values, columns, precision="highest")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return (similarity / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean((1, 2, 3))


@functools.cache
def _gaussian_band(size: int) -> np.ndarray:
    """`[size − 10, size]`: each row holds the window's weights at its position."""
    kernel = np.exp(-0.5 * (np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2) ** 2 / SSIM_SIGMA**2)
    band = np.zeros((size - SSIM_WINDOW + 1, size), np.float32)
    for row in range(len(band)):
        band[row, row : row + SSIM_WINDOW] = kernel / kernel.sum()
    return band


def motion(estimated: np.ndarray, true: np.ndarray, groups: np.ndarray | None = None, seed: int = 0) -> Motion:
    """Timing and extent of mouth motion: opening curves `[N, T]` twice.

    Each clip's mean is subtracted from both curves, then all frames of all clips are pooled:
    correlation = Σxy / √(Σx²·Σy²), amplitude = √(Σx² / Σy²), x estimated and y true. A mouth that never moves
    has correlation 0 and amplitude 0. Pooling weighs a clip by its motion, so that silent stretches, where a
    correlation is noise, count little. A high correlation with a small amplitude is a mouth that twitches.

    Returns:
      correlation, amplitude, and the correlation's interval as in `interval`.

    Raises:
      NotMeasurable: the true curves never move.
    """
    x = estimated - estimated.mean(1, keepdims=True)
    y = true - true.mean(1, keepdims=True)
    sums = [np.sum(a * b, axis=1, dtype=np.float64) for a, b in ((x, x), (y, y), (x, y))]
    xx, yy, xy = (float(term.sum()) for term in sums)
    if yy == 0:
        raise NotMeasurable("the true mouth opening never changes: there is no motion to compare with")
    if xx < 1e-12 * yy:  # only rounding errors, whose correlation is chance
        return Motion(correlation=0.0, amplitude=0.0, low=0.0, high=0.0)
    many_xx, many_yy, many_xy = _resampled_sums(sums, groups, SAMPLES, seed)
    low, high = _percentiles(many_xy / np.sqrt(np.maximum(many_xx * many_yy, 1e-300)))
    return Motion(correlation=xy / (xx * yy) ** 0.5, amplitude=(xx / yy) ** 0.5, low=low, high=high)

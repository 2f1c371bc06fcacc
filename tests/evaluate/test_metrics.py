import cv2
import numpy as np
import pytest
from ml_collections import ConfigDict
from scipy import stats
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.metrics import confusion_matrix, pairwise_distances, top_k_accuracy_score

from davs_jax.errors import NotMeasurable
from davs_jax.evaluate import metrics
from davs_jax.evaluate.sections import Motion
from davs_jax.face_geometry import mouth_box
from davs_jax.parallel import sharding


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_both_are_read_from_the_summed_logits():
    audio = np.array([[3.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    video = np.array([[0.0, 2.0], [0.0, 1.0], [0.0, 4.0]])
    answers = {name: logits.argmax(1).tolist() for name, logits in metrics.word_logits(audio, video).items()}
    assert answers == {"audio": [0, 1, 0], "video": [1, 1, 1], "both": [0, 1, 1]}


def test_top_k_accuracy_and_confusions_equal_scikit_learn(rng):
    labels, logits = rng.integers(0, 8, 300), rng.normal(size=(300, 8))
    ranks = metrics.label_ranks(logits, labels)
    for k in (1, 3, 5):
        assert np.mean(ranks < k) == pytest.approx(top_k_accuracy_score(labels, logits, k=k))
    counts = metrics.confusion(logits.argmax(1), labels, 8)
    np.testing.assert_array_equal(counts, confusion_matrix(labels, logits.argmax(1)))


def test_equal_logits_rank_as_argmax_has_them():
    logits = np.array([[1.0, 1.0, 0.0]])
    assert [int(metrics.label_ranks(logits, np.array([i]))[0]) for i in range(3)] == [0, 1, 2]


def test_bootstrap_interval_agrees_with_scipy(rng):
    values = rng.random(200) < 0.7
    ours = metrics.interval(values, samples=5000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=5000, method="percentile", rng=rng).confidence_interval
    np.testing.assert_allclose(ours, theirs, atol=0.012)


def test_bootstrap_over_persons_is_wider_when_their_clips_agree(rng):
    persons = np.repeat(np.arange(10), 20)
    values = (rng.random(10) < 0.5)[persons]  # a person's clips are all right or all wrong
    by_clip, by_person = metrics.interval(values), metrics.interval(values, persons)
    assert by_person[1] - by_person[0] > 3 * (by_clip[1] - by_clip[0])


def test_an_interval_of_nothing_is_refused():
    with pytest.raises(NotMeasurable, match="no values"):
        metrics.interval(np.array([]))


def test_retrieval_equals_sorting_the_euclidean_distances(rng):
    wid = rng.normal(size=(40, 12, 8))
    audio = metrics.clip_vectors(wid)
    video = metrics.clip_vectors(wid + 6 * rng.normal(size=wid.shape))
    order = np.argsort(pairwise_distances(audio, video), axis=1)
    ranks = np.array([np.flatnonzero(order[i] == i)[0] for i in range(40)])
    np.testing.assert_array_equal(metrics.retrieval_ranks(audio, video, block=16), ranks)
    assert 0 < ranks.mean() < 39  # the case is neither trivial nor hopeless
    figures = metrics.retrieval(audio, video)
    assert figures.r1 == np.mean(ranks == 0)
    assert figures.r10 == np.mean(ranks <= 9)
    assert figures.median_rank == np.floor(np.median(ranks)) + 1
    assert figures.mean_rank == pytest.approx(np.mean(ranks + 1))


def test_a_mesh_ranks_the_same(rng):
    queries, gallery = (metrics.clip_vectors(rng.normal(size=(20, 2, 4))) for _ in range(2))
    mesh = sharding.make_mesh(ConfigDict({"data": -1, "fsdp": 1}))
    on_mesh = metrics.retrieval_ranks(queries, gallery, block=8, mesh=mesh)
    np.testing.assert_array_equal(on_mesh, metrics.retrieval_ranks(queries, gallery))


def test_equal_vectors_for_all_clips_rank_last():
    same = metrics.clip_vectors(np.ones((10, 12, 4)))
    assert metrics.retrieval(same, same).median_rank == 10


def test_psnr_and_ssim_equal_scikit_image(rng):
    images = rng.integers(0, 256, (3, 64, 64, 3), np.uint8)
    reference = np.clip(images + rng.normal(0, 20, images.shape), 0, 255).astype(np.uint8)
    figures = metrics.image_figures(images, reference)
    for i, (a, b) in enumerate(zip(images, reference, strict=True)):
        assert figures["psnr"][i] == pytest.approx(peak_signal_noise_ratio(b, a), abs=1e-3)
        theirs = structural_similarity(
            a, b, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        assert figures["ssim"][i] == pytest.approx(theirs, abs=2e-4)


def test_the_legacy_psnr_is_that_of_wrapping_bytes(rng):
    images, reference = rng.integers(0, 256, (2, 2, 64, 64, 3), np.uint8)
    wrapped = [((int(a) - int(b)) ** 2) % 256 for a, b in zip(images[0].ravel(), reference[0].ravel(), strict=True)]
    expected = 10 * np.log10(255**2 / np.mean(wrapped))
    figures = metrics.image_figures(images, reference)
    assert figures["legacy_psnr"][0] == pytest.approx(expected)
    assert figures["legacy_psnr"][0] > figures["psnr"][0] + 10  # it is too high: no error counts more than 255
    assert metrics.image_figures(reference + np.uint8(16), reference)["legacy_psnr"][0] == pytest.approx(100)


def test_movement_tells_the_mouth_from_the_rest():
    frames = np.full((3, 64, 64, 3), 100, np.uint8)
    frames[(1, *mouth_box(64))] = 130
    moved = metrics.movement(frames)
    np.testing.assert_allclose(moved["mouth"], [30, 30])
    np.testing.assert_allclose(moved["elsewhere"], [0, 0])
    frames[:, 0] = np.arange(3)[:, None, None] * 64
    assert metrics.movement(frames)["elsewhere"] == pytest.approx([64 * 64 / (64 * 64 - 16 * 32)] * 2)


def test_the_mouth_figures_see_the_mouth_box_only():
    reference = np.full((1, 64, 64, 3), 100, np.uint8)
    elsewhere, mouth = reference.copy(), reference.copy()
    elsewhere[:, :20] = 0
    mouth[(0, *mouth_box(64))] = 110
    assert metrics.image_figures(elsewhere, reference)["mouth_l1"][0] == 0
    figures = metrics.image_figures(mouth, reference)
    assert figures["mouth_l1"][0] == pytest.approx(10)
    assert figures["mouth_psnr"][0] == pytest.approx(20 * np.log10(255 / 10), abs=1e-4)


def test_a_blurred_mouth_is_less_sharp_and_the_rest_of_the_image_does_not_count(rng):
    image = cv2.resize(rng.integers(0, 256, (16, 16, 3), np.uint8), (64, 64))
    frames = np.stack([image, cv2.GaussianBlur(image, (0, 0), 2), image])
    outside = np.ones((64, 64), bool)
    outside[mouth_box(64)] = False
    frames[2, outside] = 0
    sharp, blurred, alone = metrics.mouth_sharpness(frames)
    assert blurred < 0.8 * sharp
    assert alone == pytest.approx(sharp)


def test_equal_images_count_as_100_db():
    image = np.zeros((1, 64, 64, 3), np.uint8)
    assert metrics.image_figures(image, image)["psnr"][0] == pytest.approx(100)


def test_motion_is_the_pooled_pearson_correlation_after_removing_clip_means(rng):
    true = rng.normal(size=(6, 29)) + rng.normal(size=(6, 1)) * 5
    estimated = 0.5 * true + 0.2 * rng.normal(size=true.shape) + 7
    x, y = ((c - c.mean(1, keepdims=True)).ravel() for c in (estimated, true))
    figures = metrics.motion(estimated, true)
    assert figures.correlation == pytest.approx(stats.pearsonr(x, y).statistic)
    assert figures.amplitude == pytest.approx(x.std() / y.std())
    assert figures.low < figures.correlation < figures.high


def test_a_still_mouth_has_no_correlation_and_no_amplitude(rng):
    still = Motion(correlation=0.0, amplitude=0.0, low=0.0, high=0.0)
    assert metrics.motion(np.full((2, 29), 0.4), rng.random((2, 29))) == still


def test_motion_needs_true_motion():
    with pytest.raises(NotMeasurable, match="never changes"):
        metrics.motion(np.zeros((2, 29)), np.ones((2, 29)))

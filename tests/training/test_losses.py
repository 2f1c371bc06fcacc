"""The losses, against numbers worked out by hand or by plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import common
from davs_jax import models
from davs_jax.face_geometry import mouth_box
from davs_jax.training import losses
from davs_jax.training.terms import TERMS


def test_contrastive_equals_its_definition_pair_by_pair():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 4)) / 3
    expected = 0.0
    for i in range(5):
        for j in range(5):
            distance = np.sqrt(np.sum((a[i] - b[j]) ** 2))
            expected += distance**2 if i == j else max(0.0, 1 - distance) ** 2
    np.testing.assert_allclose(losses.contrastive(jnp.asarray(a), jnp.asarray(b), 1.0), expected / 10, rtol=1e-5)


def test_contrastive_moves_only_the_moving_side_and_stays_finite_on_equal_vectors():
    x = jnp.ones((3, 4))
    fixed, moving = jax.grad(losses.contrastive, argnums=(0, 1))(x, x, 1.0)
    assert np.all(fixed == 0)
    assert np.all(np.isfinite(moving))


def test_frame_contrastive_is_a_softmax_over_the_batchs_frames_both_ways():
    video, audio = np.random.default_rng(1).normal(size=(2, 2, 3, 4))
    unit = [wid.reshape(6, 4) / np.linalg.norm(wid.reshape(6, 4), axis=1, keepdims=True) for wid in (video, audio)]
    cosines = unit[0] @ unit[1].T / losses.TEMPERATURE

    def surprise(row, own):
        return np.log(np.sum(np.exp(row))) - row[own]

    expected = np.mean([surprise(cosines[i], i) + surprise(cosines[:, i], i) for i in range(6)]) / 2
    actual = losses.frame_contrastive(jnp.asarray(video), jnp.asarray(audio), 1.0)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


def test_frame_contrastive_does_not_reward_telling_clips_apart_when_their_frames_are_alike():
    frames = jax.random.normal(jax.random.key(0), (2, 5, 8))
    still = jnp.broadcast_to(frames.mean(1, keepdims=True), frames.shape)  # knows the clip, but not the moment
    losses_ = [losses.frame_contrastive(wid, wid, 1.0) for wid in (frames, still)]
    assert losses_[0] < 0.5 < np.log(5) - 1e-3 < losses_[1]


def test_rows_without_a_label_have_no_loss_no_gradient_and_no_share_in_the_mean():
    logits, labels = jax.random.normal(jax.random.key(0), (5, 3)), jnp.array([2, -1, 0, -1, 1])
    known = jnp.array([0, 2, 4])
    for of in (losses.cross_entropy, losses.accuracy):
        np.testing.assert_allclose(of(logits, labels), of(logits[known], labels[known]), rtol=1e-6)
    gradient = jax.grad(losses.cross_entropy)(logits, labels)
    np.testing.assert_array_equal(gradient[jnp.array([1, 3])], 0)
    assert np.abs(gradient[known]).min() > 0
    nothing = jnp.full(5, -1)
    assert losses.cross_entropy(logits, nothing) == losses.accuracy(logits, nothing) == 0
    assert np.all(jax.grad(losses.cross_entropy)(logits, nothing) == 0)


def test_transductive_centroids_are_further_columns_of_the_softmax():
    rng = np.random.default_rng(0)
    features, centroids, kernel = rng.normal(size=(4, 6)), rng.normal(size=(4, 6)), rng.normal(size=(6, 3))
    labels = np.array([2, -1, 0, -1])
    length = np.mean([np.sqrt((kernel[:, k] ** 2).sum()) for k in range(3)])
    expected = []
    for i, label in enumerate(labels):
        columns = [features[i] @ kernel[:, k] for k in range(3)]
        for j in (1, 3):
            columns.append(length * features[i] @ centroids[j] / np.sqrt((centroids[j] ** 2).sum()))
        right = label if label >= 0 else {1: 3, 3: 4}[i]
        expected.append(np.log(np.sum(np.exp(columns))) - columns[right])
    logits, own = (
        jnp.asarray(features @ kernel),
        losses.centroid_logits(*map(jnp.asarray, (features, centroids, kernel))),
    )
    found = losses.transductive_cross_entropy(logits, own, jnp.asarray(labels))
    np.testing.assert_allclose(found, np.mean(expected), rtol=1e-5)


def test_without_unlabelled_rows_centroids_change_nothing():
    logits, labels = jax.random.normal(jax.random.key(0), (4, 3)), jnp.array([2, 1, 0, 0])
    found = losses.transductive_cross_entropy(logits, jnp.full((4, 4), 5.0), labels)
    np.testing.assert_allclose(found, losses.cross_entropy(logits, labels), rtol=1e-6)


def test_a_centroid_receives_no_gradient():
    vectors = jax.random.normal(jax.random.key(0), (3, 4))
    gradient = jax.grad(lambda c: losses.centroid_logits(vectors, c, jnp.ones((4, 2))).sum())(vectors)
    np.testing.assert_array_equal(gradient, 0)


def test_the_uniformity_weight_is_1e6_at_500_words_and_keeps_the_terms_maximum():
    assert losses.uniformity_weight(500) == pytest.approx(1e6)
    assert losses.uniformity_weight(10) == pytest.approx(2.2e4, rel=0.01)

    def greatest(k):
        return losses.uniformity_weight(k) * losses.uniformity(100.0 * jax.nn.one_hot(jnp.zeros(2, int), k))

    np.testing.assert_allclose([greatest(k) for k in (10, 500, 40_145)], 1996, rtol=1e-3)


def test_uniform_logits_cost_nothing():
    assert losses.uniformity(jnp.full((4, 7), 3.0)) == pytest.approx(0, abs=1e-12)


def test_the_mouth_box_is_the_official_one_and_scales():
    assert mouth_box(256) == (slice(170, 234), slice(64, 192))
    assert mouth_box(64) == (slice(42, 58), slice(16, 48))


def test_mouth_l1_counts_the_mouth_only_but_averages_over_all_pixels():
    reals = jnp.zeros((1, 1, 256, 256, 3))
    assert losses.mouth_l1(reals.at[..., :100, :, :].set(1.0), reals) == 0
    everywhere = losses.mouth_l1(jnp.ones_like(reals), reals)
    np.testing.assert_allclose(everywhere, 255 * 64 * 128 / 256**2, rtol=1e-5)


def test_mouth_l2_counts_squares_in_the_mouth_only():
    reals = jnp.zeros((1, 1, 64, 64, 3))
    assert losses.mouth_l2(reals.at[..., :40, :, :].set(1.0), reals) == 0
    everywhere = losses.mouth_l2(jnp.full_like(reals, 0.1), reals)
    np.testing.assert_allclose(everywhere, 25.5**2 * 16 * 32 / 64**2, rtol=1e-5)


def test_warp_is_the_mean_over_squares_of_four_sizes_from_the_mouth_down():
    rng = np.random.default_rng(0)
    moved, reals = rng.random((2, 2, 1, 128, 128, 3), np.float32)
    rows, columns = mouth_box(128)
    error = (moved - reals)[:, 0, rows.start :, columns.start - 8 : columns.stop + 8]
    expected = []
    for side in (2, 4, 8, 16):
        step = side // 2
        height, width = error.shape[1:3]
        places = [(y, x) for y in range(0, height - side + 1, step) for x in range(0, width - side + 1, step)]
        expected.append(np.mean([error[:, y : y + side, x : x + side].mean((1, 2)) ** 2 for y, x in places]))
    share = error.shape[1] * error.shape[2] / 128**2
    np.testing.assert_allclose(losses.warp(moved, reals), 255**2 * share * np.mean(expected), rtol=1e-4)
    moved = reals.copy()
    moved[..., : rows.start, :, :] = 1
    assert losses.warp(moved, reals) == 0


def test_warp_pulls_a_lip_further_than_the_lip_is_high():
    """Two dark bars that do not touch: single pixels see no reason to bring them closer, squares do."""
    reals = jnp.ones((1, 64, 64, 3)).at[:, 56:58, 24:40].set(0.0)

    def bar(top):
        return jnp.ones((1, 64, 64, 3)).at[:, top : top + 2, 24:40].set(0.0)

    assert losses.mouth_l2(bar(46), reals) == pytest.approx(losses.mouth_l2(bar(48), reals))
    assert losses.warp(bar(50), reals) < losses.warp(bar(48), reals) * 0.95


def test_temporal_compares_with_the_frame_before_and_spares_the_mouth():
    still = jnp.full((1, 3, 64, 64, 3), 0.5)
    identity = jnp.full((1, 64, 64, 3), 0.25)
    outside = 1 - 16 * 32 / 64**2
    np.testing.assert_allclose(losses.temporal(still, identity), 0.25 * outside, rtol=1e-5)  # frame 0 alone differs
    mouth = still.at[:, 1, 42:58, 16:48].set(1.0)
    np.testing.assert_allclose(losses.temporal(mouth, identity), losses.temporal(still, identity))


def test_the_frame_before_receives_no_gradient():
    frames = jnp.stack([jnp.full((64, 64, 3), v) for v in (0.1, 0.3)])[None]
    gradient = jax.grad(losses.temporal)(frames, frames[:, 1])
    rows, columns = mouth_box(64)
    assert np.all(gradient[:, :, rows, columns] == 0)
    assert np.all(gradient[0, 0, 0] < 0)  # only its own distance to the identity frame, not frame 1's to it
    assert np.all(gradient[0, 1, 0] > 0)


def test_binary_is_the_cross_entropy_of_a_sigmoid():
    logits, label = np.array([-2.0, 0.5, 3.0]), 0.9
    p = 1 / (1 + np.exp(-logits))
    expected = -np.mean(label * np.log(p) + (1 - label) * np.log(1 - p))
    np.testing.assert_allclose(losses.binary(jnp.asarray(logits), label), expected, rtol=1e-6)


def test_sync_matching_is_cross_entropy_over_the_cosines_within_a_clip():
    rng = np.random.default_rng(0)
    face, audio = rng.normal(size=(2, 3, 4, 5))
    loss, found = losses.sync_matching(jnp.asarray(face), jnp.asarray(audio))
    surprise, nearest = [], []
    for faces, audios in zip(face, audio, strict=True):
        cosine = np.array([[f @ a / np.linalg.norm(f) / np.linalg.norm(a) for a in audios] for f in faces])
        for own, ways in enumerate(zip(cosine, cosine.T, strict=True)):
            surprise += [np.log(np.exp(way / 0.1).sum()) - way[own] / 0.1 for way in ways]
            nearest.append(cosine[own].argmax() == own)
    np.testing.assert_allclose(loss, np.mean(surprise), rtol=1e-5)
    np.testing.assert_allclose(found, np.mean(nearest), rtol=1e-6)


def test_the_expert_asks_for_the_moment_of_the_audio():
    rng = np.random.default_rng(1)
    audio, own, clip = rng.normal(size=(3, 4, 5)), np.array([2, 0, 3]), np.arange(3)
    face = audio[clip, own] + rng.normal(size=(3, 5))
    loss, hit = losses.sync_expert(*map(jnp.asarray, (face, audio, own)))
    lengths = np.linalg.norm(face, axis=1)[:, None] * np.linalg.norm(audio, axis=2)
    cosine = np.einsum("be,bne->bn", face, audio) / lengths
    expected = np.log(np.exp(cosine / 0.1).sum(1)) - cosine[clip, own] / 0.1
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(hit, (cosine.argmax(1) == own).mean(), rtol=1e-6)
    exact, right = losses.sync_expert(*map(jnp.asarray, (audio[clip, own], audio, own)))
    assert right == 1
    assert exact < loss


def test_sync_matching_has_a_finite_gradient_at_a_vector_of_zeros():
    audio = jnp.eye(2)[None]
    gradient = jax.grad(lambda face: losses.sync_matching(face, audio)[0])(0 * audio)
    assert np.all(np.isfinite(gradient))


def test_every_adversary_of_a_term_is_a_network_that_export_leaves_out():
    assert {term.adversary for term in TERMS.values()} - {None} == set(models.adversaries(common.get_config().model))

import numpy as np
import pytest

from davs_jax.data.pipeline import eval_batches
from davs_jax.data.sources import open_clips
from davs_jax.errors import NotMeasurable
from davs_jax.evaluate.generated import (
    VARIANTS,
    activity_table,
    generate_variants,
    likeness_table,
    lip_sync_table,
    measure,
    motion_table,
    opening_curves,
)
from davs_jax.evaluate.lip_sync import Score
from davs_jax.evaluate.recognition import clips
from davs_jax.inference import Davs
from support.tiny_data import WORDS
from support.tiny_model import random_model, random_weights


@pytest.fixture
def model(joint_config):
    return random_model(joint_config)


@pytest.fixture
def source(clips_folder):
    return open_clips(clips_folder, "test")


@pytest.fixture
def words(source):
    return np.array([source.record(i)["word"] for i in range(len(source))])


def test_the_variants_differ_in_what_drives_them(model, source):
    clip, other = list(clips(eval_batches(source, 7)))[:2]
    variants = generate_variants(model, model, clip, other["speech"])
    assert list(variants) == list(VARIANTS)
    person = model.encode_person(clip["frames"][0])
    np.testing.assert_array_equal(variants["audio"], model.decode(person, model.wid_from_audio(clip["speech"])))
    np.testing.assert_array_equal(variants["video"], model.decode(person, model.wid_from_video(clip["frames"])))
    np.testing.assert_array_equal(variants["shuffled"], model.decode(person, model.wid_from_audio(other["speech"])))
    np.testing.assert_array_equal(variants["untrained"], variants["audio"])  # the same weights were given
    assert (variants["photo"] == clip["frames"][0]).all()


def test_drivers_are_multiplied_by_the_gains_that_generation_uses(joint_config, source):
    weights = random_weights(joint_config)
    clip = next(clips(eval_batches(source, 4)))
    plain = generate_variants(Davs(joint_config, *weights), None, clip, None)
    joint_config.video_gain = 2.0
    gained = generate_variants(Davs(joint_config, *weights), None, clip, None)
    np.testing.assert_array_equal(gained["audio"], plain["audio"])
    assert (gained["video"] != plain["video"]).any()


class Copyist(Davs):
    """Generates the real frames of the clip that it was last shown: the best that there can be."""

    def wid_from_video(self, frames):
        self.seen = frames if len(frames) == 29 else self.seen
        return super().wid_from_video(frames)

    def decode(self, person, wid):
        return np.concatenate([self.seen] * (len(wid) // len(self.seen)))


def mean_red(frames: np.ndarray) -> np.ndarray:
    return frames[..., 0].mean((1, 2))


def test_perfect_frames_get_perfect_figures_and_the_photo_does_not(joint_config, source, words):
    model = Copyist(joint_config, *random_weights(joint_config))
    result = measure(model, None, source, eval_batches(source, 4), words, mean_red)
    np.testing.assert_array_equal(result.index, np.arange(len(source)))
    table = likeness_table(result, None, seed=0)
    assert table["video"].psnr.mean == pytest.approx(100)
    assert table["video"].mouth_l1.mean == 0
    assert table["photo"].psnr.mean < 60
    assert table["photo"].jitter.mean == 0
    assert table["photo"].identity.mean == pytest.approx(1, abs=1e-4)
    assert table["video"].identity.mean < 1
    assert len(result.extremes["best"]) == len(result.extremes["worst"]) == 3
    gains = result.figures["photo"]["mouth_l1"] - result.figures["audio"]["mouth_l1"]
    assert set(result.extremes["best"]) == set(np.argsort(-gains)[:3].tolist())
    activity = activity_table(result, None, seed=0)
    assert activity["video"].correlation == pytest.approx(1)
    assert activity["photo"].amplitude == 0
    assert table["photo"].ssim.mean < 1
    assert "untrained" not in table
    np.testing.assert_array_equal(result.opening["video"], result.opening["real"])
    assert np.ptp(result.opening["photo"]) >= 0
    assert (np.ptp(result.opening["photo"], axis=1) == 0).all()


def test_motion_is_measured_on_the_clips_with_a_known_opening(model, source, words):
    true = np.stack([clip["mouth_opening"] for clip in clips(eval_batches(source, 4))])
    result = measure(model, None, source, eval_batches(source, 4), words, mean_red)
    known = np.isfinite(true).all(1)
    assert 0 < known.sum() < len(known)
    table = motion_table(result, true, None, seed=0)
    assert table.estimator.clips == known.sum()
    assert table.by_driver["photo"].correlation == 0
    assert not table.estimator.trusted  # mean red does not estimate the opening
    curves = opening_curves(result, true)
    assert len(curves) == known[list(result.examples)].sum()
    assert {"true", "real", "audio", "video", "photo"} <= set(curves[0])
    with pytest.raises(NotMeasurable, match="never changes"):
        motion_table(result, np.full_like(true, np.nan), None, seed=0)


def test_syncnet_scores_the_real_frames_and_every_driver(model, source, words):
    seen = []

    def scorer(frames, samples):
        seen.append((frames.shape, len(samples)))
        return {"whole-frame": Score(8.0, 2.0, 1, 24, 504, 240)}

    batches = eval_batches(source, 4)
    result = measure(model, None, source, batches, words, None, scorer, scored_clips=len(source))
    table = lip_sync_table(result)["whole-frame"]
    assert set(table) == {"real", "audio", "video", "shuffled", "photo"}
    assert table["real"].clips == len(source)
    assert set(seen) == {((29, 64, 64, 3), 29 * 640)}


@pytest.mark.parametrize(
    ("own", "number", "reads"), [(WORDS, 4, True), (WORDS[::-1], 4, False), ((), 4, True), ((), 9, False)]
)
def test_a_judge_reads_the_words_of_its_own_vocabulary_only(joint_config, model, source, words, own, number, reads):
    joint_config.words, joint_config.model.num_words = own, number
    batches = eval_batches(source, 7)
    made = measure(model, None, source, batches, words, None, scored_clips=0, judge=random_model(joint_config))
    assert (likeness_table(made, None, 0)["audio"].read is not None) == reads

import itertools

import jax
import numpy as np
import pytest

from davs_jax.data import pipeline, records
from davs_jax.data.sources import open_clips
from davs_jax.errors import ConfigError, DataError
from davs_jax.parallel import sharding
from davs_jax.training.stage import Stage
from support.tiny_data import SPEAKERS, WORDS, clip_record, write_shards

CLIP_KEYS = ("frames", "speech", "word", "generate_start", "identity_frame", "adversary_frames")
ALL_KEYS = (*CLIP_KEYS, "faces", "face_id")


def take(count, config, keys=ALL_KEYS, **position):
    return list(itertools.islice(pipeline.host_batches(config, keys, **position), count))


def assert_equal(batches, expected):
    assert len(batches) == len(expected)
    for batch, other in zip(batches, expected, strict=True):
        assert batch.keys() == other.keys()
        for key in batch:
            np.testing.assert_array_equal(batch[key], other[key], err_msg=key)


def test_a_training_batch_is_what_the_step_asks_for(joint_config):
    mesh = sharding.make_mesh(joint_config.mesh)
    spec = Stage.from_config(joint_config).batch
    batch = next(pipeline.train_batches(joint_config, mesh, spec))
    assert {k: (v.shape, v.dtype) for k, v in batch.items()} == {k: (v.shape, v.dtype) for k, v in spec.items()}
    assert all(v.sharding == sharding.batch_sharding(mesh) for v in batch.values())
    assert set(spec) == set(ALL_KEYS)


def test_batches_from_a_step_on_are_the_continuation(joint_config):
    assert_equal(take(3, joint_config, first=5), take(8, joint_config)[5:])


def test_device_batches_start_at_the_step_too(word_config):
    mesh, spec = sharding.make_mesh(word_config.mesh), Stage.from_config(word_config).batch
    later = next(pipeline.train_batches(word_config, mesh, spec, start_step=2))
    assert_equal([jax.device_get(later)], take(1, word_config, tuple(spec), first=2))


def test_two_processes_load_the_halves_of_the_global_batch(joint_config):
    halves = [take(3, joint_config, rows=lambda n, p=p: range(p * n // 2, (p + 1) * n // 2)) for p in range(2)]
    joined = [{k: np.concatenate([a[k], b[k]]) for k in a} for a, b in zip(*halves, strict=True)]
    assert_equal(joined, take(3, joint_config))


def test_another_seed_is_another_order(joint_config):
    words = [batch["word"] for batch in take(4, joint_config, CLIP_KEYS)]
    joint_config.seed = 1
    assert not np.array_equal(words, [batch["word"] for batch in take(4, joint_config, CLIP_KEYS)])


def test_every_epoch_visits_every_clip_once_in_a_new_order(word_config):
    source = open_clips(word_config.data.clips, "train")
    first_windows = {
        source.record(i)["mfcc"][4 * start : 4 * start + 20].tobytes(): i for i in range(16) for start in (2, 3)
    }
    batches = take(8, word_config, ("speech",))  # 16 clips are four batches
    clips = [first_windows[clip[0].tobytes()] for batch in batches for clip in batch["speech"]]
    assert sorted(clips[:16]) == sorted(clips[16:]) == list(range(16))
    assert clips[:16] != clips[16:]


def test_a_share_of_the_clips_is_the_same_in_every_epoch(word_config):
    word_config.data.share = 0.2
    batches = take(6, word_config, ("speech", "word"))  # 4 of 16 clips, one batch
    assert all(sorted(batch["word"]) == sorted(batches[0]["word"]) for batch in batches)
    assert len({clip.tobytes() for batch in batches for clip in batch["speech"]}) <= 8  # each has two first frames


@pytest.fixture
def unlabelled(tmp_path):
    """Five clips of a corpus without a vocabulary; their audio is told apart by its first number."""
    (tmp_path / "u").mkdir()
    clips = [clip_record(40 + i) | {"word": -1} for i in range(5)]
    for i, clip in enumerate(clips):
        clip["mfcc"][:, 0] = 1000 + i
    return write_shards(tmp_path / "u", "u", records.clip_features([], SPEAKERS), {"train": clips})


@pytest.mark.parametrize(("share", "rows"), [(0.5, [0, 2]), (0.75, [0, 1, 3]), (0.25, [1])])
def test_unlabelled_clips_have_their_share_of_every_batch_and_no_word(word_config, unlabelled, share, rows):
    word_config.data.update(unlabelled=unlabelled, unlabelled_share=share)
    batches = take(10, word_config, ("speech", "word"))
    for batch in batches:
        np.testing.assert_array_equal(np.flatnonzero(batch["speech"][:, 0, 0, 0] >= 1000), rows)
        np.testing.assert_array_equal(np.flatnonzero(batch["word"] < 0), rows)
    seen = [int(clip[0, 0, 0]) for batch in batches for clip in batch["speech"] if clip[0, 0, 0] >= 1000]
    assert sorted(seen[:5]) == list(range(1000, 1005))  # an epoch of its own
    assert_equal(take(3, word_config, ("speech", "word"), first=7), batches[7:])


@pytest.mark.parametrize(("share", "count"), [(0.1, 0), (0.9, 4)])
def test_a_share_that_would_leave_a_batch_without_labelled_or_unlabelled_clips_is_refused(
    word_config, unlabelled, share, count
):
    word_config.data.update(unlabelled=unlabelled, unlabelled_share=share)
    with pytest.raises(ConfigError, match=f"unlabelled_share is {share}: of 4 clips a step, {count} would be of"):
        take(1, word_config, ("speech", "word"))


def test_a_corpus_without_words_alone_is_refused_where_words_are_read(word_config, unlabelled):
    word_config.data.clips = unlabelled
    with pytest.raises(DataError, match=r"u has no words, and this stage reads them; name it as config\.data"):
        take(1, word_config, ("speech", "word"))
    assert take(1, word_config, ("speech",))[0]["speech"].shape == (4, 12, 20, 12)


def test_the_person_stage_needs_no_clips(joint_config):
    joint_config.data.clips = ""
    (batch,) = take(1, joint_config, ("faces", "face_id"))
    assert batch["faces"].shape == (2, 64, 64, 3)
    assert batch["face_id"].dtype == np.int32


def test_the_word_stage_needs_no_faces(word_config):
    word_config.data.faces = ""
    keys = tuple(Stage.from_config(word_config).batch)
    assert take(1, word_config, keys)[0].keys() == {"frames", "speech", "word"}


def test_evaluation_counts_every_clip_exactly_once(clips_folder):
    source = open_clips(clips_folder, "test")
    batches = list(pipeline.eval_batches(source, 3))
    assert [batch["frames"].shape for batch in batches] == [(3, 29, 64, 64, 3)] * 3
    assert [int(batch["mask"].sum()) for batch in batches] == [3, 3, 1]
    kept = np.concatenate([batch["index"][batch["mask"]] for batch in batches])
    assert kept.tolist() == list(range(7))
    words = np.concatenate([batch["word"][batch["mask"]] for batch in batches])
    assert words.tolist() == [source.record(i)["word"] for i in range(7)]


def test_evaluation_gives_all_windows_and_the_openings_that_are_known(clips_folder):
    source = open_clips(clips_folder, "val")
    (batch,) = pipeline.eval_batches(source, 5)
    for i in range(5):
        record = source.record(i)
        np.testing.assert_array_equal(batch["speech"][i, 28], record["mfcc"][4 * 28 : 4 * 28 + 20])
        if len(record["mouth_opening"]):
            np.testing.assert_array_equal(batch["mouth_opening"][i], record["mouth_opening"])
        else:
            assert np.isnan(batch["mouth_opening"][i]).all()
    assert 0 < np.isnan(batch["mouth_opening"]).all(1).sum() < 5


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ({"num_words": 500}, "has 4 words but config.model.num_words is 500; set --config.model.num_words=4"),
        ({"num_identities": 9}, "set --config.model.num_identities=5"),
        ({"image_size": 128}, "has 64 pixels a side but config.model.image_size is 128"),
    ],
)
def test_sizes_that_differ_from_the_data_are_refused(joint_config, setting, says):
    joint_config.model.update(setting)
    with pytest.raises(DataError, match=says):
        take(1, joint_config)


def test_a_batch_that_does_not_divide_over_the_devices_is_refused(word_config):
    mesh = jax.sharding.AbstractMesh((3, 1), ("data", "fsdp"))
    with pytest.raises(
        ConfigError, match=r"batch_size is 4, which does not divide over 3 .* --config.data.batch_size=6"
    ):
        pipeline.train_batches(word_config, mesh, Stage.from_config(word_config).batch)


def test_a_damaged_record_ends_the_stream_with_its_name(word_config, tmp_path):
    clips = [clip_record(i) for i in range(4)]
    clips[2]["frames"] = [b"damaged"] * 29
    features = records.clip_features(WORDS, SPEAKERS)
    word_config.data.clips = write_shards(tmp_path, "clips", features, {"train": clips})
    mesh, spec = sharding.make_mesh(word_config.mesh), Stage.from_config(word_config).batch
    with pytest.raises(DataError, match="clip MONEY_00002, frame"):
        next(pipeline.train_batches(word_config, mesh, spec))

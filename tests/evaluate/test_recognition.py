import dataclasses

import numpy as np
import pytest

from davs_jax.data.pipeline import eval_batches
from davs_jax.data.sources import open_clips
from davs_jax.errors import NotMeasurable
from davs_jax.evaluate.recognition import (
    accuracies,
    baselines,
    clips,
    encode,
    logits,
    partner,
    recognise,
    retrieval,
    synchronisation,
    word_table,
)
from davs_jax.evaluate.sections import Word
from davs_jax.inference import Davs
from davs_jax.media.offsets import frame_distances
from support.tiny_model import random_model, random_weights

WORDS = 4


@pytest.fixture
def model(joint_config):
    return random_model(joint_config)


@pytest.fixture
def source(clips_folder):
    return open_clips(clips_folder, "test")


def test_every_clip_counts_once_and_padding_not_at_all(model, source):
    vectors = encode(model, eval_batches(source, 4))
    np.testing.assert_array_equal(vectors.index, np.arange(len(source)))
    assert vectors.audio.shape == vectors.video.shape == (len(source), 12, 256)
    assert len(list(clips(eval_batches(source, 4)))) == len(source)


def test_the_batch_size_changes_no_figure(model, source):
    by_three, by_seven = (recognise(model, eval_batches(source, size)) for size in (3, 7))
    assert by_three == by_seven
    assert set(by_three) == {
        *("audio_accuracy", "video_accuracy", "both_accuracy"),
        *("audio_to_video_r1", "video_to_audio_r1"),
    }


def test_the_words_are_read_from_frames_2_to_24(model, source):
    np.testing.assert_array_equal(model.word_frames, np.arange(2, 25, 2))
    clip = next(clips(eval_batches(source, 1)))
    vectors = encode(model, eval_batches(source, 7), persons=True)
    np.testing.assert_allclose(vectors.video[0], model.wid_from_video(clip["frames"][2:25:2]), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(vectors.audio[0], model.wid_from_audio(clip["speech"][2:25:2]), rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(vectors.pid[0], model.pid_from_frames(clip["frames"][2:25:2])[0], rtol=1e-4, atol=1e-2)


def test_accuracy_is_the_share_of_words_named_correctly(model, source):
    clips_ = list(clips(eval_batches(source, 4)))
    wid = np.stack([model.wid_from_audio(clip["speech"][2:25:2]) for clip in clips_])
    words = np.array([clip["word"] for clip in clips_])
    expected = np.mean(model.word_logits(wid).argmax(1) == words)
    assert recognise(model, eval_batches(source, 4))["audio_accuracy"] == pytest.approx(expected)


def test_a_partner_says_another_word():
    words = np.array([0, 0, 1, 1, 0, 2])
    assert all(words[partner(i, words)] != words[i] for i in range(len(words)))
    assert partner(1, np.full(4, -1)) == 3  # where no word is known, any other clip
    with pytest.raises(NotMeasurable, match="one word"):
        partner(0, np.zeros(4))


def test_words_are_counted_where_they_are_known(vectors):
    known = np.arange(80) % 2 == 0
    half = dataclasses.replace(vectors, word=np.where(known, vectors.word, -1))
    read = {"audio": np.eye(WORDS)[vectors.word]}
    assert accuracies(read, half, 0)["audio"].accuracy == 1.0
    with pytest.raises(NotMeasurable, match="no clip's word is known"):
        accuracies(read, dataclasses.replace(vectors, word=np.full(80, -1)), 0)


def test_a_perfect_audio_encoder_never_reads_its_word_from_exchanged_audio(model, source):
    vectors = encode(model, eval_batches(source, 7))
    perfect, blind = np.eye(4)[vectors.word], np.zeros((len(vectors.word), 4))
    read = {"audio": perfect, "video": blind, "both": perfect}
    found = baselines(model, eval_batches(source, 7), read, vectors, seed=0)
    assert found["shuffled"]["audio"].accuracy == found["shuffled"]["both"].accuracy == 0
    own = logits(model, vectors)
    assert found["untrained"] == accuracies(own, vectors, seed=0)  # here they are one model


def test_all_frames_give_the_same_words_and_the_distances_besides(model, source):
    some, every = (encode(model, eval_batches(source, 7), every_frame=flag) for flag in (False, True))
    np.testing.assert_allclose(every.video, some.video, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(every.audio, some.audio, rtol=1e-4, atol=1e-2)
    assert some.distances is None
    assert every.distances.shape == (len(source), 29, 29)


def test_offsets_are_counted_over_all_clips(vectors):
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(80, 29, 8))
    late = np.concatenate([seen[:, :1], seen[:, :-1]], 1)  # audio t belongs to frame t − 1
    figures = synchronisation(dataclasses.replace(vectors, distances=frame_distances(seen, late)), seed=0)
    assert figures.offsets["1"] == 80
    assert figures.exact.accuracy == 0  # every known shift is found one frame later than it is
    assert figures.within_1.accuracy == 1


def test_every_word_lists_what_it_was_taken_for():
    right = np.diag([2, 2, 0])
    confusions = {"audio": right, "both": right, "video": np.array([[1, 1, 0], [0, 2, 0], [0, 0, 0]])}
    table = word_table(confusions, ("ABOUT", "HOUSE", "MONEY"))
    assert table == {
        "ABOUT": Word(clips=2, audio=1.0, both=1.0, video=0.5, taken_for="HOUSE"),
        "HOUSE": Word(clips=2, audio=1.0, both=1.0, video=1.0, taken_for=""),
    }


def test_without_a_word_classifier_only_retrieval_is_measured(joint_config, source):
    params, batch_stats = random_weights(joint_config)
    params = {name: value for name, value in params.items() if name != "word_classifier"}
    figures = recognise(Davs(joint_config, params, batch_stats), eval_batches(source, 4))
    assert set(figures) == {"audio_to_video_r1", "video_to_audio_r1"}


def test_retrieval_looks_both_ways(vectors):
    same = dataclasses.replace(vectors, video=vectors.audio)
    assert [retrieval(same).audio_to_video.r1, retrieval(same).video_to_audio.r1] == [1.0, 1.0]

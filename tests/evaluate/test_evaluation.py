import dataclasses
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from davs_jax.data.sources import open_clips
from davs_jax.errors import DataError, NotMeasurable
from davs_jax.evaluate import context
from davs_jax.evaluate.evaluation import PARTS, UNMEASURED, evaluate
from davs_jax.evaluate.generated import VARIANTS
from davs_jax.evaluate.report.record import encoded
from davs_jax.evaluate.sections import Figures
from davs_jax.inference import Davs
from davs_jax.media.faces import mesh
from support.tiny_model import random_model, random_weights


def test_a_corpus_with_everything_known_gets_every_figure(model, spoken):
    result, lips = evaluate(model, spoken), () if mesh.installed() else ("lips",)
    assert result.clips == 25
    assert [name for name, section in vars(result.figures).items() if section is None] == [
        *("control", "face_probes", *lips, "lip_sync", "perceptual")
    ]
    assert set(result.skipped) == {"lip_sync", "control", "LPIPS, FID", *lips, *UNMEASURED}
    assert set(result.figures.likeness) == set(VARIANTS)
    assert set(result.figures.motion.by_driver) == {*VARIANTS, "real"}
    assert all(counts.sum() == 25 for counts in result.confusions.values())
    assert sum(row.clips for row in result.figures.words.values()) == 25
    assert result.intervals == "resampling the 5 people, whose clips resemble each other"
    json.dumps(encoded(result.figures))  # only plain numbers


def test_what_is_not_known_is_left_out_with_its_reason(model, clips_folder):
    result = evaluate(model, open_clips(clips_folder, "test"))  # its people are those of the training split
    assert result.clips == 7
    assert result.figures.motion is None
    assert "no training clip" in result.skipped["motion"]


def test_a_corpus_of_recordings_is_not_searched_for_openings(model, clips_folder):
    source = open_clips(clips_folder, "test")
    vectors = context.recognition.encode(model, context.eval_batches(source, 7))
    vectors.mouth_opening[:] = np.nan
    with pytest.raises(NotMeasurable, match="no clip has a known mouth opening"):
        context.fit_estimator(source, vectors)


def test_a_limit_counts_the_first_clips(model, clips_folder):
    result = evaluate(model, open_clips(clips_folder, "test"), limit=5)
    assert result.clips == 5
    np.testing.assert_array_equal(result.generated.index, np.arange(5))
    assert result.figures.retrieval.audio_to_video.gallery == 5


def test_a_lost_clip_fails_the_evaluation(model, clips_folder, monkeypatch):
    batches = context.eval_batches
    monkeypatch.setattr(context, "eval_batches", lambda *args, **_: list(batches(args[0], 4))[:1])
    with pytest.raises(RuntimeError, match="4 clips were read, 4 different; there are 7"):
        evaluate(model, open_clips(clips_folder, "test"))


def test_a_stage_is_evaluated_as_far_as_its_networks_go(joint_config, clips_folder):
    params, batch_stats = random_weights(joint_config)
    words = ("visual_encoder", "audio_encoder", "word_classifier")
    model = Davs(joint_config, {name: params[name] for name in words}, batch_stats)
    result = evaluate(model, open_clips(clips_folder, "test"))
    assert result.figures.accuracy.keys() == {"audio", "video", "both", "weighted"}
    assert result.figures.fusion.clips == 5  # of the validation split
    assert result.figures.retrieval
    assert "decoder" in result.skipped["generated frames"]
    assert result.skipped["word_from_pid"] == "the weights have no person encoder"
    assert result.generated is None


def test_without_another_split_the_logits_are_only_summed(joint_config, clips_folder):
    params, batch_stats = random_weights(joint_config)
    words = ("visual_encoder", "audio_encoder", "word_classifier")
    model = Davs(joint_config, {name: params[name] for name in words}, batch_stats)
    result = evaluate(model, open_clips(clips_folder, "val"))
    assert result.figures.accuracy.keys() == {"audio", "video", "both"}
    assert "has no split 'val' besides the evaluated one" in result.skipped["fusion"]


def test_a_corpus_without_words_is_evaluated_as_far_as_that_goes(model, clips_folder):
    stored = open_clips(clips_folder, "test")
    clips = [stored.record(i) | {"word": -1} for i in range(len(stored))]
    result = evaluate(model, dataclasses.replace(stored, data=clips, words=()))
    assert result.skipped["accuracy"] == result.skipped["words"] == "no clip's word is known"
    assert result.figures.retrieval and result.figures.likeness["shuffled"].read is None


def test_every_section_has_one_part():
    assert sorted(part.section for part in PARTS) == sorted(vars(Figures()))


def test_clips_of_another_vocabulary_are_refused(joint_config, clips_folder):
    joint_config.model.num_words = 9
    with pytest.raises(DataError, match="has num_words 4 but the weights were trained with 9"):
        evaluate(random_model(joint_config), open_clips(clips_folder, "test"))


def test_weights_that_read_no_words_are_evaluated_on_clips_of_any_vocabulary(joint_config, clips_folder):
    joint_config.model.num_words = 9
    params, batch_stats = random_weights(joint_config)
    del params["word_classifier"]
    result = evaluate(Davs(joint_config, params, batch_stats), open_clips(clips_folder, "test"))
    assert result.figures.retrieval and not result.figures.accuracy
    assert result.figures.likeness["audio"].read is None


def test_untrained_weights_are_fresh_ones_of_the_same_sizes(joint_config, monkeypatch):
    monkeypatch.undo()
    params, batch_stats = random_weights(joint_config)
    model = Davs(joint_config, {name: params[name] for name in ("audio_encoder", "word_classifier")}, batch_stats)
    fresh = context.untrained(model, seed=3)
    mfcc = np.random.default_rng(0).normal(size=(2, 20, 12)).astype(np.float32)
    assert fresh.networks == model.networks
    assert fresh.wid_from_audio(mfcc).shape == model.wid_from_audio(mfcc).shape
    assert not np.array_equal(fresh.wid_from_audio(mfcc), model.wid_from_audio(mfcc))


@pytest.mark.cluster
@pytest.mark.parametrize("processes", [1, 2])
def test_one_device_and_eight_devices_give_the_same_figures(clips_folder, processes):
    command = [sys.executable, "tests/support/eight_devices_evaluate.py", clips_folder]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        job = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free.getsockname()[1]}", "JAX_NUM_PROCESSES": str(processes)}
    environs = [os.environ | (job | {"JAX_PROCESS_ID": str(i)} if processes > 1 else {}) for i in range(processes)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, env=environ, **pipes) for environ in environs]
    for process in started:
        out, error = process.communicate(timeout=500)
        assert process.returncode == 0, error[-2000:]
        assert "8 devices print what 1 does" in out

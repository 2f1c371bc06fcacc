import dataclasses
import json
import os
import re
import socket
import subprocess
import sys

import numpy as np
import pytest

from davs_jax.checkpoint.export import save_weights
from davs_jax.data.sources import ClipSource, DataError, open_clips
from davs_jax.evaluate import evaluation
from davs_jax.evaluate.evaluation import evaluate, main
from davs_jax.evaluate.pictures import VARIANTS
from davs_jax.evaluate.report import results
from davs_jax.inference import Davs
from support.tiny_model import random_model, random_weights


@pytest.fixture
def spoken(clips_folder, monkeypatch) -> ClipSource:
    """A test split of five people who are not in the training split, with known mouth openings."""
    stored = open_clips(clips_folder, "train")
    opening = np.sin(np.arange(29, dtype=np.float32))
    clips = [stored.record(i % len(stored)) | {"speaker": i % 5, "mouth_opening": opening} for i in range(25)]
    splits = {"test": clips, "train": [clip | {"speaker": 5} for clip in clips[:4]]}
    monkeypatch.setattr(
        evaluation, "open_clips", lambda folder, split: dataclasses.replace(stored, split=split, data=splits[split])
    )
    return evaluation.open_clips(clips_folder, "test")


@pytest.fixture
def model(joint_config):
    return random_model(joint_config)


@pytest.fixture(autouse=True)
def same_weights_as_untrained(monkeypatch):
    """Fresh weights take half a minute to compile; the one test that needs them asks for them."""
    monkeypatch.setattr(evaluation, "untrained", lambda model, seed: model)
    monkeypatch.setattr(evaluation.pictures, "JUDGED_CLIPS", 2)  # and looking for faces takes seconds


def test_a_corpus_with_everything_known_gets_every_figure(model, spoken):
    result = evaluate(model, spoken)
    assert result.clips == 25
    recognition = {"accuracy", "accuracy_baselines", "words", "retrieval", "sync", "probes"}
    assert set(result.figures) == recognition | {"swap", "pictures", "activity", "landmarks", "motion"}
    assert set(result.skipped) == {"lip_sync", "control", "LPIPS, FID", *evaluation.UNMEASURED}
    assert set(result.figures["pictures"]) == set(VARIANTS)
    assert set(result.figures["motion"]) == {*VARIANTS, "real", "ruler"}
    assert all(counts.sum() == 25 for counts in result.confusions.values())
    assert sum(row["clips"] for row in result.figures["words"].values()) == 25
    assert result.intervals == "resampling the 5 people, whose clips resemble each other"
    json.dumps(result.figures)  # nothing but plain numbers


def test_what_is_not_known_is_left_out_with_its_reason(model, clips_folder):
    result = evaluate(model, open_clips(clips_folder, "test"))  # its people are those of the training split
    assert result.clips == 7
    assert "motion" not in result.figures
    assert "no training clip" in result.skipped["motion"]


def test_a_corpus_of_recordings_is_not_searched_for_openings(model, clips_folder):
    vectors = evaluation.recognition.encode(model, evaluation.eval_batches(open_clips(clips_folder, "test"), 7))
    vectors.mouth_opening[:] = np.nan
    with pytest.raises(ValueError, match="no clip has a known mouth opening"):
        evaluation._ruler(open_clips(clips_folder, "test"), vectors)


def test_a_limit_counts_the_first_clips(model, clips_folder):
    result = evaluate(model, open_clips(clips_folder, "test"), limit=5)
    assert result.clips == 5
    np.testing.assert_array_equal(result.pictures.index, np.arange(5))
    assert result.figures["retrieval"]["audio_to_video"]["gallery"] == 5


def test_a_lost_clip_fails_the_evaluation(model, clips_folder, monkeypatch):
    batches = evaluation.eval_batches
    monkeypatch.setattr(evaluation, "eval_batches", lambda *args: list(batches(args[0], 4))[:1])
    with pytest.raises(RuntimeError, match="4 clips were read, 4 different; there are 7"):
        evaluate(model, open_clips(clips_folder, "test"))


def test_a_stage_is_evaluated_as_far_as_its_networks_go(joint_config, clips_folder):
    params, batch_stats = random_weights(joint_config)
    words = ("visual_encoder", "audio_encoder", "word_classifier")
    model = Davs(joint_config, {name: params[name] for name in words}, batch_stats)
    result = evaluate(model, open_clips(clips_folder, "test"))
    assert {"accuracy", "retrieval"} <= set(result.figures)
    assert "decoder" in result.skipped["pictures"]
    assert result.skipped["word_from_pid"] == "the weights have no person encoder"
    assert result.pictures is None


@pytest.mark.parametrize(("encoder", "side"), [("visual_encoder", "video"), ("audio_encoder", "audio")])
def test_a_reader_of_one_modality_is_evaluated_alone(joint_config, spoken, tmp_path, encoder, side):
    params, batch_stats = random_weights(joint_config)
    weights = {name: params[name] for name in (encoder, "word_classifier")}
    save_weights(str(tmp_path / "w"), joint_config, weights, {name: batch_stats[name] for name in weights}, "float32")
    arguments = ["--checkpoint", str(tmp_path / "w"), "--data", spoken.folder, "--output", str(tmp_path / "r")]
    assert main(arguments) == 0
    record = json.loads((tmp_path / "r" / "report.json").read_text())
    assert set(record["figures"]) == {"accuracy", "accuracy_baselines", "words", "probes"}
    assert set(record["figures"]["accuracy"]) == {side}
    assert {"retrieval, sync", "pictures", "word_from_pid"} <= set(record["skipped"])
    assert f"Missing parts: {len(record['skipped'])}" in (tmp_path / "r" / "report.html").read_text()


def test_clips_of_another_vocabulary_are_refused(joint_config, clips_folder):
    joint_config.model.num_words = 9
    with pytest.raises(DataError, match="has num_words 4 but the weights were trained with 9"):
        evaluate(random_model(joint_config), open_clips(clips_folder, "test"))


@pytest.fixture
def workdir(joint_config, tmp_path) -> str:
    """A run's folder: weights, and the curves of its training."""
    folder = tmp_path / "run & co"
    save_weights(str(folder), joint_config, *random_weights(joint_config), "float32")
    events = [{"step": step, "loss/l1": 1 / (step + 1)} for step in range(5)]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, events)))
    return str(folder)


def test_the_command_writes_one_self_contained_report(workdir, spoken, tmp_path, capsys):
    output = tmp_path / "report"
    assert main(["--checkpoint", workdir, "--data", spoken.folder, "--output", str(output), "--limit", "6"]) == 0
    record = json.loads((output / "report.json").read_text())
    assert record["clips"] == 6
    assert record["evaluated"]["clips"] == "6 of 25"
    assert record["config"]["model"]["image_size"] == 64
    assert "jax" in record["evaluated"]["versions"]
    page = (output / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)  # nothing from elsewhere
    assert page.count("data:image/png;base64,") == 4  # sheet, confusions, openings, curves
    assert page.count("data:video/mp4;base64,") == 3  # examples, best, worst
    assert "run &amp; co" in page
    assert main(["--compare", str(output), str(output), "--output", str(tmp_path / "both")]) == 0
    both = (tmp_path / "both" / "comparison.html").read_text()
    assert both.count("data:video/mp4;base64,") == 6
    assert f"{100 * record['figures']['accuracy']['audio']['accuracy']:.1f} %" in both
    assert f"{100 * record['figures']['accuracy']['audio']['accuracy']:.1f} %" in page
    assert "words read from the sound" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--checkpoint": "/nowhere"}, "/nowhere holds no weights"),
        ({"--data": "/nowhere"}, "/nowhere holds no finished shards"),
        ({"--split": "exam"}, "no split 'exam'"),
        ({"--output": "/dev/null/report"}, "/dev/null/report cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(workdir, clips_folder, tmp_path, changed, message):
    arguments = {"--checkpoint": workdir, "--data": clips_folder, "--output": str(tmp_path / "r")} | changed
    with pytest.raises(SystemExit, match=message) as stopped:
        main([part for pair in arguments.items() for part in pair])
    assert "\n" not in str(stopped.value)


def test_a_control_must_be_a_report_on_the_same_clips(clips_folder, tmp_path):
    source = open_clips(clips_folder, "test")
    with pytest.raises(DataError, match="is not a report"):
        results.control(tmp_path, source, 7)
    record = {"evaluated": {"data": clips_folder, "split": "test"}, "clips": 7, "figures": {"probes": {}}}
    (tmp_path / "report.json").write_text(json.dumps(record | {"skipped": {}, "config": {}}))
    assert results.control(tmp_path, source, 7) == {"probes": {}}
    with pytest.raises(DataError, match=r"reports 7 clips of split 'test'.* not 6"):
        results.control(tmp_path, source, 6)


def test_a_limit_must_be_a_number(capsys):
    with pytest.raises(SystemExit):
        main(["--checkpoint", "w", "--data", "d", "--limit", "0"])
    assert "'0' is not a number of clips above 0" in capsys.readouterr().err


def test_untrained_weights_are_fresh_ones_of_the_same_sizes(model, monkeypatch):
    monkeypatch.undo()
    model.config.loss.update(gan_sequence=0.0, pid_uniform=0.0)
    fresh = evaluation.untrained(model, seed=3)
    mfcc = np.random.default_rng(0).normal(size=(2, 20, 12)).astype(np.float32)
    assert fresh.has("person_encoder", "decoder")
    assert fresh.wid_from_audio(mfcc).shape == model.wid_from_audio(mfcc).shape
    assert not np.array_equal(fresh.wid_from_audio(mfcc), model.wid_from_audio(mfcc))


@pytest.mark.parametrize("processes", [1, 2])
def test_one_device_and_eight_devices_print_the_same_figures(clips_folder, processes):
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

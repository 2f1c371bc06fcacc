import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from conftest import SPEAKERS, WORDS, clip_record, write_shards

from davs_jax import checkpoint, records, sharding
from davs_jax.monitor import NotFiniteError
from davs_jax.state import abstract_state
from davs_jax.train import ConfigError, train
from davs_jax.weights import leaves

# Takes four of the batches and no more, so that step 4 and its checkpoint never come.
STALLING = """
import itertools, json, sys, time
from ml_collections import ConfigDict
from davs_jax import data, train
batches = data.train_batches

def stalling(*arguments):
    yield from itertools.islice(batches(*arguments), 3)
    time.sleep(600)

data.train_batches = stalling
train.train(ConfigDict(json.load(open(sys.argv[1]))), sys.argv[2])
"""


def final_state(workdir, config):
    checkpoints = checkpoint.Checkpoints(workdir, 1, "")
    state, _ = checkpoints.restore_latest(config, abstract_state(config, sharding.make_mesh(config.mesh)))
    return state


def events(workdir, *prefixes):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    wanted = ("step", *prefixes)
    return [{k: v for k, v in json.loads(line).items() if k.startswith(wanted)} for line in lines]


def wait_for(found, process, seconds=240):
    """Waits until `found()` is true; fails when the process ends before that."""
    end = time.monotonic() + seconds
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "took too long"
        time.sleep(0.01)


@pytest.fixture
def config_file(word_config, tmp_path):
    path = tmp_path / "stage.json"
    path.write_text(word_config.to_json())
    return path


def test_three_steps_killed_and_three_more_are_six_bit_for_bit(word_config, config_file, tmp_path):
    assert train(word_config, tmp_path / "whole")
    command = [sys.executable, "-c", STALLING, config_file, tmp_path / "killed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        wait_for((tmp_path / "killed" / "checkpoints" / "3" / "metrics").exists, process)
        process.kill()
    assert checkpoint.checkpoint_steps(tmp_path / "killed") == [3]
    assert train(word_config, tmp_path / "killed")
    whole, killed = (leaves(final_state(tmp_path / name, word_config)) for name in ("whole", "killed"))
    assert whole["step"] == 6 and whole.keys() == killed.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], killed[name], err_msg=name)
    told = [events(tmp_path / name, "loss/", "gradient_norm/") for name in ("whole", "killed")]
    assert [event["step"] for event in told[0]] == [1, 2, 3, 4, 5, 6]
    assert told[0] == told[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_and_saves(number, word_config, config_file, tmp_path):
    word_config.update(steps=1_000_000)
    word_config.checkpoint.every = 1_000_000
    config_file.write_text(word_config.to_json())
    file, workdir = tmp_path / "stage.py", tmp_path / "run"
    file.write_text(f"""
import json
from ml_collections import ConfigDict

def get_config():
    return ConfigDict(json.load(open({str(config_file)!r})))
""")
    command = [sys.executable, "-m", "davs_jax.main", f"--config={file}", f"--workdir={workdir}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: (workdir / "metrics.jsonl").exists() and len(events(workdir)) >= 2, process)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    (step,) = checkpoint.checkpoint_steps(workdir)
    assert said.splitlines()[-1].startswith(f"step {step} of 1000000, saved in {workdir}/checkpoints/{step}: stopped")
    assert events(workdir)[-1]["step"] == step
    assert int(final_state(workdir, word_config).step) == step


def test_validation_chooses_the_best_and_counts_every_clip(word_config, tmp_path, monkeypatch):
    word_config.log.eval_every = 2
    told = iter([0.25, 0.75, 0.5])
    seen = []

    def recognise(model, batches):
        seen.append(sum(int(batch["mask"].sum()) for batch in batches))
        return {"video_accuracy": next(told)}

    monkeypatch.setattr("davs_jax.train.recognise", recognise)
    word_config.checkpoint.keep = 1
    assert train(word_config, tmp_path)
    assert seen == [5, 5, 5]
    assert checkpoint.checkpoint_steps(tmp_path) == [4, 6]
    figures = [event for event in events(tmp_path, "video_accuracy") if "video_accuracy" in event]
    assert figures == [{"step": s, "video_accuracy": v} for s, v in ((2, 0.25), (4, 0.75), (6, 0.5))]


def test_validation_reads_lips_with_the_networks_in_training(word_config, tmp_path):
    word_config.log.eval_every = 6
    assert train(word_config, tmp_path)
    last = events(tmp_path, "video_", "audio_", "both_")[-1]
    assert set(last) == {
        "step",
        "video_accuracy",
        "audio_accuracy",
        "both_accuracy",
        "audio_to_video_r1",
        "video_to_audio_r1",
    }
    assert all(round(value * 5, 6) % 1 == 0 for name, value in last.items() if name != "step")  # of five clips


def test_a_finished_run_is_left_as_it_is(word_config, tmp_path, capsys):
    word_config.steps = 3
    assert train(word_config, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text()
    capsys.readouterr()
    assert train(word_config, tmp_path)
    assert "is at step 3 of 3: nothing left to do" in capsys.readouterr().out
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_the_tables_say_what_is_trained_on_what(word_config, tmp_path, capsys):
    word_config.steps = 1
    train(word_config, tmp_path)
    said = capsys.readouterr().out
    assert "modality_discriminator       66,049 parameters  adversary  from fresh" in said
    assert "batch frames                  uint8 [4, 12, 64, 64, 3]" in said
    assert (tmp_path / "images" / "batch_00000001.png").exists()


def test_a_stage_starts_from_the_weights_of_another(word_config, tmp_path, capsys):
    word_config.steps = 1
    train(word_config, tmp_path / "first")
    word_config.init_from = str(tmp_path / "first")
    word_config.optim.learning_rate = word_config.optim.discriminator_learning_rate = 0.0
    capsys.readouterr()
    train(word_config, tmp_path / "second")
    assert (
        f"visual_encoder               42,545 parameters  trained    from {tmp_path}/first" in capsys.readouterr().out
    )
    (_, before, _), (_, after, _) = (checkpoint.load_weights(tmp_path / name) for name in ("first", "second"))
    jax.tree.map(np.testing.assert_array_equal, before, after)  # at learning rate 0 they stay


def test_a_number_that_is_not_finite_stops_the_run_before_it_is_saved(word_config, tmp_path):
    clips = [clip_record(i) for i in range(8)]
    clips[5]["mfcc"][:] = np.nan
    (tmp_path / "clips").mkdir()
    features = records.clip_features(WORDS, SPEAKERS)
    word_config.data.clips = write_shards(tmp_path / "clips", "clips", features, {"train": clips})
    word_config.checkpoint.every = 2  # one epoch: the clip has been met
    with pytest.raises(NotFiniteError, match=r"step [12]: .*loss/word_ce_audio is nan"):
        train(word_config, tmp_path / "run")
    assert checkpoint.checkpoint_steps(tmp_path / "run") == []


@pytest.mark.parametrize(
    ("group", "name", "value", "says"),
    [
        (None, "steps", 0, "config.steps is 0; it must be at least 1"),
        ("checkpoint", "best", "accuracy", r"config.checkpoint.best is 'accuracy'; it must be one of .*video_accuracy"),
        ("optim", "schedule", "linear", "config.optim.schedule is 'linear'"),
        ("mesh", "fsdp", 3, "config.mesh is data=-1, fsdp=3"),
        (None, "trained", ("decoder",), "config.trained names"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_made(word_config, tmp_path, group, name, value, says):
    (word_config[group] if group else word_config)[name] = value
    with pytest.raises(ConfigError, match=says):
        train(word_config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_compilation_cache_of_the_environment_is_used(word_config, tmp_path, capsys):
    word_config.steps = 1
    train(word_config, tmp_path)
    assert f"kept in {os.environ['JAX_COMPILATION_CACHE_DIR']}" in capsys.readouterr().out

import contextlib
import io
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import common
from davs_jax import checkpoint
from davs_jax.checkpoint.export import leaves
from davs_jax.data import records
from davs_jax.data.sources import open_clips
from davs_jax.errors import ConfigError, DataError
from davs_jax.monitor.monitor import Monitor, NotFiniteError
from davs_jax.parallel import sharding
from davs_jax.training import loop as train_module
from davs_jax.training.loop import _show_generated, _stop_signals, _validate, _validation_clips, train
from davs_jax.training.stage import Stage
from davs_jax.training.state import DavsState, abstract_state
from support.runs import STALLING, events, wait_for
from support.tiny_data import SPEAKERS, WORDS, clip_record, tiny, write_shards
from support.tiny_model import random_weights


def final_state(workdir, config):
    checkpoints = checkpoint.Checkpoints(workdir, 1, "")
    abstract = abstract_state(Stage.from_config(config), sharding.make_mesh(config.mesh))
    state, _ = checkpoints.restore_latest(config, abstract)
    return state


@pytest.fixture(scope="module", autouse=True)
def compiled_once():
    """Runs of the same stage in this file share one compiled step."""
    compiled = {}

    def compile_once(job):
        key = str([job.stage.model, job.stage.weights])
        if key not in compiled:
            compiled[key] = compile_step(job)
        return compiled[key]

    compile_step = train_module._compile
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "_compile", compile_once)
        yield


class Finished(NamedTuple):
    """A run of six steps, validated at the last, and its output."""

    workdir: Path
    config: ConfigDict
    said: str


@pytest.fixture(scope="module")
def finished(clips_folder, tmp_path_factory):
    config, workdir = tiny(common.get_config("word"), clips_folder, ""), tmp_path_factory.mktemp("finished")
    config.log.eval_every = 6
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert train(config, workdir)
    return Finished(workdir, config, said.getvalue())


def test_three_steps_killed_and_three_more_are_six_bit_for_bit(finished, tmp_path):
    (tmp_path / "stage.json").write_text(finished.config.to_json())
    command = [sys.executable, "-c", STALLING, tmp_path / "stage.json", tmp_path / "killed"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        wait_for((tmp_path / "killed" / "checkpoints" / "3" / "metrics").exists, process)
        process.kill()
    assert checkpoint.checkpoint_steps(tmp_path / "killed") == [3]
    assert train(finished.config, tmp_path / "killed")
    runs = (finished.workdir, tmp_path / "killed")
    whole, killed = (leaves(final_state(workdir, finished.config)) for workdir in runs)
    assert whole["step"] == 6 and whole.keys() == killed.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], killed[name], err_msg=name)
    told = [events(workdir, "loss/", "gradient_norm/", "video_", "audio_") for workdir in runs]
    assert [event["step"] for event in told[0]] == [1, 2, 3, 4, 5, 6, 6]
    assert told[0] == told[1]


def test_a_damaged_checkpoint_is_named_and_training_resumes_from_the_one_before(finished, tmp_path, capsys):
    shutil.copytree(finished.workdir, tmp_path / "run")
    file = max((tmp_path / "run" / "checkpoints" / "6" / "state").rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert train(finished.config, tmp_path / "run")
    said = capsys.readouterr().out
    assert re.search(
        rf"WARNING: checkpoints/6 is damaged \(state/.*{file.name} is not as it was written\); it is", said
    )
    assert "resuming from step 3\n" in said
    runs = (leaves(final_state(folder, finished.config)) for folder in (finished.workdir, tmp_path / "run"))
    for (name, expected), found in zip(next(runs).items(), next(runs).values(), strict=True):
        np.testing.assert_array_equal(found, expected, err_msg=name)


def test_a_checkpoint_without_checksums_is_noted(finished, tmp_path, capsys):
    steps = shutil.copytree(finished.workdir, tmp_path / "run") / "checkpoints"
    shutil.rmtree(steps / "6")
    (steps / "3" / "checksums-0-of-1.txt").unlink()
    assert train(finished.config, tmp_path / "run")
    assert "checkpoints/3 has no checksums of all its files; it is used all the same" in capsys.readouterr().out
    assert "checksums" not in finished.said


def test_sigterm_finishes_the_step_and_saves(audio_config, tmp_path):
    audio_config.steps = audio_config.checkpoint.every = 1_000_000
    file, workdir = tmp_path / "stage.py", tmp_path / "run"
    settings = f"ConfigDict({audio_config.to_dict()!r})"
    file.write_text(f"from ml_collections import ConfigDict\n\ndef get_config():\n    return {settings}\n")
    command = [sys.executable, "-m", "davs_jax.main", f"--config={file}", f"--workdir={workdir}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: (workdir / "metrics.jsonl").exists() and len(events(workdir)) >= 2, process)
        process.terminate()
        wait_for(lambda: list((workdir / "checkpoints").iterdir()), process)
        process.terminate()  # during the save
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    (step,) = checkpoint.checkpoint_steps(workdir)
    assert said.splitlines()[-1].startswith(f"step {step} of 1000000, saved in {workdir}/checkpoints/{step}: stopped")
    assert events(workdir)[-1]["step"] == step
    assert int(final_state(workdir, audio_config).step) == step
    assert not (workdir / "run.lock").exists()  # another host may resume at once


@pytest.fixture
def interruptible():
    """Restores Ctrl-C, which background jobs of a shell ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_sigterm_changes_nothing():
    """Schedulers send several; the save that the first one asked for must finish."""
    before = signal.getsignal(signal.SIGTERM)
    with _stop_signals() as asked:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert asked()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_ctrl_c_ends_the_process_at_once(interruptible):
    with _stop_signals() as asked:
        assert not asked()
        signal.raise_signal(signal.SIGINT)
        assert asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_validation_chooses_the_best_and_counts_every_clip(word_config, tmp_path, monkeypatch):
    word_config.log.eval_every = 2
    told = iter([0.25, 0.75, 0.5])
    seen = []

    def recognise(model, batches):
        seen.append(sum(int(batch["mask"].sum()) for batch in batches))
        return {"video_accuracy": next(told)}

    monkeypatch.setattr("davs_jax.training.loop.recognise", recognise)
    word_config.checkpoint.keep = 1
    assert train(word_config, tmp_path)
    assert seen == [5, 5, 5]
    assert checkpoint.checkpoint_steps(tmp_path) == [4, 6]
    figures = [event for event in events(tmp_path, "video_accuracy") if "video_accuracy" in event]
    assert figures == [{"step": s, "video_accuracy": v} for s, v in ((2, 0.25), (4, 0.75), (6, 0.5))]


def test_validation_reads_lips_with_the_networks_in_training(finished):
    *_, last = events(finished.workdir, "video_", "audio_", "both_")
    accuracies = {f"{side}_accuracy" for side in ("audio", "video", "both")}
    assert set(last) == accuracies | {"step", "audio_to_video_r1", "video_to_audio_r1"}
    assert all(round(value * 5, 6) % 1 == 0 for name, value in last.items() if name != "step")  # of five clips


def test_validation_hears_the_spectrum_of_the_stage(joint_config, clips_folder):
    joint_config.model.spectrum = "log_mel"
    now = DavsState(np.int32(1), *random_weights(joint_config), {}, {})
    figures = _validate(joint_config, sharding.make_mesh(joint_config.mesh), now, open_clips(clips_folder, "val"))
    assert 0 <= figures["audio_accuracy"] <= 1


def test_a_finished_run_is_left_as_it_is(finished, capsys):
    before = (finished.workdir / "metrics.jsonl").read_text()
    assert train(finished.config, finished.workdir)
    assert "is at step 6 of 6: nothing left to do" in capsys.readouterr().out
    assert (finished.workdir / "metrics.jsonl").read_text() == before


def test_the_tables_list_networks_roles_and_batch(finished):
    assert "modality_discriminator       66,049 parameters  adversary  from fresh" in finished.said
    assert "batch frames                  uint8 [4, 12, 64, 64, 3]" in finished.said
    assert (finished.workdir / "images" / "batch_00000001.png").exists()


def test_a_run_stores_its_words_with_its_weights(finished):
    config, _, _ = checkpoint.load_weights(str(finished.workdir))
    assert tuple(config.words) == open_clips(config.data.clips, "train").words


def test_compiled_steps_are_kept_on_disk(finished):
    assert list(Path(jax.config.jax_compilation_cache_dir).glob("jit_*"))


def test_a_stage_starts_from_the_weights_of_another(finished, word_config, tmp_path, capsys):
    word_config.steps = 1
    word_config.init_from = str(finished.workdir)
    train(word_config, tmp_path)
    said = capsys.readouterr().out
    assert re.search(rf"visual_encoder +[\d,]+ parameters +trained +from {re.escape(str(finished.workdir))}\n", said)
    fresh, carried = events(finished.workdir, "loss/")[0], events(tmp_path, "loss/")[0]
    assert carried["loss/total"] < fresh["loss/total"]  # the same first batch after six steps of training


def test_a_nan_stops_the_run_before_it_is_saved(audio_config, tmp_path):
    clips = [clip_record(i) for i in range(8)]
    clips[5]["mfcc"][:] = np.nan
    (tmp_path / "clips").mkdir()
    features = records.clip_features(WORDS, SPEAKERS)
    audio_config.data.clips = write_shards(tmp_path / "clips", "clips", features, {"train": clips})
    audio_config.checkpoint.every = 2  # one epoch: the clip has been read
    with pytest.raises(NotFiniteError, match=r"step [12]: .*loss/word_ce_audio is nan"):
        train(audio_config, tmp_path / "run")
    assert checkpoint.checkpoint_steps(tmp_path / "run") == []


def test_a_corpus_without_a_validation_split_is_refused_with_the_settings_that_want_one(word_config, tmp_path):
    features = records.clip_features(WORDS, SPEAKERS)
    (tmp_path / "clips").mkdir()
    word_config.data.clips = write_shards(tmp_path / "clips", "clips", features, {"train": [clip_record(0)]})
    word_config.log.eval_every = 1
    with pytest.raises(DataError, match=r"eval_split: .* has no split 'val'; it has \['train'\]; .*log\.eval_every"):
        _validation_clips(word_config, Stage.from_config(word_config))


@pytest.mark.parametrize(
    ("group", "name", "value", "says"),
    [
        (None, "steps", 0, "config.steps is 0; it must be at least 1"),
        ("checkpoint", "best", "accuracy", r"config.checkpoint.best is 'accuracy'; it must be one of .*video_accuracy"),
        ("mesh", "fsdp", 3, "config.mesh is data=-1, fsdp=3"),
        (None, "trained", ("decoder",), "config.trained names"),
    ],
)
def test_an_invalid_value_is_refused_before_anything_is_written(word_config, tmp_path, group, name, value, says):
    (word_config[group] if group else word_config)[name] = value
    with pytest.raises(ConfigError, match=says):
        train(word_config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_generated_images_show_real_audio_driven_and_video_driven_rows(joint_config, clips_folder, tmp_path):
    params, batch_stats = random_weights(joint_config)
    now = DavsState(np.int32(1), params, batch_stats, {}, {})
    with contextlib.closing(Monitor(tmp_path, 0, 1, 1)) as monitor:
        source = open_clips(clips_folder, "val")
        _show_generated(joint_config, sharding.make_mesh(joint_config.mesh), now, source, monitor, 1)
    sheet = cv2.imread(str(tmp_path / "images" / "generated_00000001.png"), cv2.IMREAD_COLOR_RGB)
    side = len(sheet) // 9  # three clips
    photo, *real = np.split(sheet[:side], sheet.shape[1] // side, 1)
    assert len(real) == 9  # every third of frames 2…26
    below = np.split(sheet[side : 2 * side], 10, 1)
    np.testing.assert_array_equal(below[0], photo)
    assert all((a != b).mean() > 0.5 for a, b in zip(below[1:], real, strict=True))  # generated by random weights

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict

from configs.ablations import grid, news, synthetic
from davs_jax.ablations import run
from davs_jax.ablations.__main__ import main
from davs_jax.ablations.run import Study, StudyError
from davs_jax.monitor.monitor import NotFiniteError
from davs_jax.training import loop
from davs_jax.training.stage import Stage

ARMS_FILE = """
from configs.ablations import synthetic
from support.tiny_data import tiny

ARMS = {{name: synthetic.ARMS[name] for name in ("audio", "talk-direct")}}

def get_config(arm, root):
    config = tiny(synthetic.get_config(arm, root), {clips!r}, "")
    config.steps = 2
    return config
"""


@pytest.fixture
def command(clips_folder, tmp_path):
    (tmp_path / "arms.py").write_text(ARMS_FILE.format(clips=clips_folder))
    return ["--config", str(tmp_path / "arms.py"), "--output", str(tmp_path / "out"), "--only", "audio"]


def test_a_stopped_study_resumes_and_leaves_what_is_finished(command, tmp_path, monkeypatch, capsys):
    whole = loop.train
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train", lambda config, workdir: config.seed < 1 and whole(config, workdir))
        assert main([*command, "--seeds", "0", "1"]) == 75
    assert "stopped; run the same command again" in capsys.readouterr().out
    first = tmp_path / "out" / "0" / "audio" / run.RECORD
    record, finished = json.loads(first.read_text()), first.stat().st_mtime_ns
    assert set(record["figures"]) == {"read/audio"}  # three people are too few for probes
    assert record["figures"]["read/audio"] * 7 % 1 == pytest.approx(0, abs=1e-6)  # of seven clips
    assert not (tmp_path / "out" / "1" / "audio" / run.RECORD).exists()
    assert main([*command, "--seeds", "0", "1"]) == 0
    assert first.stat().st_mtime_ns == finished
    summary = json.loads((tmp_path / "out" / "ablations.json").read_text())
    assert [(r["arm"], r["seed"]) for r in summary["runs"]] == [("audio", 0), ("audio", 1)]
    earlier = {key: value for key, value in record["config"].items() if key != "tcp"}  # of a version without it
    first.write_text(json.dumps(record | {"config": earlier}))
    assert main([*command, "--seeds", "0"]) == 0
    first.write_text(json.dumps(record | {"config": record["config"] | {"steps": 9}}))
    with pytest.raises(SystemExit, match=r"made with other settings \(steps: 9 → 2 now\)"):
        main(command)


def test_a_corpus_that_a_later_arm_lacks_is_named_before_the_first_arm_runs(command, tmp_path, monkeypatch):
    file = tmp_path / "arms.py"
    absent = '    if arm == "talk-direct":\n        config.data.clips = "nowhere"\n    return config'
    file.write_text(file.read_text().replace("    return config", absent))
    monkeypatch.setattr(loop, "train", lambda config, workdir: pytest.fail("it trains"))
    with pytest.raises(SystemExit, match="nowhere holds no finished shards"):
        main([*command, "talk-direct"])


def test_a_run_that_is_not_finite_is_a_result_and_the_others_continue(command, tmp_path, monkeypatch):
    def explodes(config, workdir):
        raise NotFiniteError("step 1: loss/total is nan")

    monkeypatch.setattr(loop, "train", explodes)
    assert main(command) == 0
    assert "seed 2: step 1: loss/total is nan" in (tmp_path / "out" / "ablations.md").read_text()


def test_a_finished_arm_is_measured_again_where_a_judge_was_added(tmp_path, monkeypatch):
    arms = {name: SimpleNamespace(about="", after=()) for name in ("word", "syncnet", "syncnet-news", "davs")}
    corpora = {"syncnet-news": "news"}

    def measured(model, source, judges, keep):
        return {"scorer": judges and judges.scorer}

    monkeypatch.setattr(run, "open_clips", lambda corpus, split: SimpleNamespace(folder=corpus))
    monkeypatch.setattr(run.inference, "load", lambda path, devices: SimpleNamespace(missing=lambda encoder: ""))
    monkeypatch.setattr(run.Scorer, "load", lambda path: Path(path).name)
    monkeypatch.setattr(run.measure, "measure", measured)
    monkeypatch.setattr(run.measure, "measure_frames", measured)

    def study(*judges: str) -> Study:
        def config(arm, root):
            return ConfigDict({"data": {"clips": corpora.get(arm, "own")}})

        return Study(arms, config, tmp_path, judges={"syncnet": judges}, tested=("news",))

    before = {"hours": 1.0, "config": {"data": {"clips": "own"}}}
    davs, word = ({"arm": arm} | before for arm in ("davs", "word"))
    assert study("syncnet")._measured(davs, tmp_path) and not study("syncnet")._measured(davs, tmp_path)
    assert davs["figures"] == {"scorer": "syncnet"} and davs["elsewhere"] == {"news": {"scorer": None}}
    assert davs["hours"] > 1
    davs["figures"] = "kept"
    assert study("syncnet", "syncnet-news")._measured(davs, tmp_path)
    assert davs["figures"] == "kept" and davs["elsewhere"] == {"news": {"scorer": "syncnet-news"}}
    assert study("syncnet")._measured(word, tmp_path)
    assert word["figures"] == {"scorer": None}  # the judges start from it
    assert not study("syncnet", "syncnet-news")._measured(word, tmp_path)
    assert not study("syncnet")._measured(davs | {"failed": "nan"}, tmp_path)


def test_arms_bring_those_that_they_start_from(tmp_path):
    study = Study(synthetic.ARMS, synthetic.get_config, tmp_path)
    assert study._with_what_they_start_from(["talk-pid-wid", "audio"]) == ["audio", "joint-both-wid", "talk-pid-wid"]
    with pytest.raises(StudyError, match="there is no arm 'lips'; the arms are video, audio"):
        study.run([0], ["lips"])


@pytest.mark.parametrize(
    ("file", "said"), [("nowhere.py", "FileNotFoundError"), ("configs/common.py", "KeyError: 'ARMS'")]
)
def test_a_file_without_arms_is_refused(file, said, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--config", file, "--output", str(tmp_path)])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("module", "arm"),
    [(module, arm) for module in (synthetic, grid, news) for arm in module.ARMS],
    ids=lambda value: str(value)[:40],
)
def test_every_arm_is_a_stage_that_trains_all_its_networks(module, arm):
    config, entry = module.get_config(arm, "root"), module.ARMS[arm]
    stage = Stage.from_config(config)
    assert stage.trained == tuple(config.trained)
    assert set(config.init_networks) == ({"audio_encoder", "visual_encoder"} if entry.after else set())
    assert ("speech" in stage.batch) == (entry.modalities != ("video",))
    assert ("visual_encoder" in stage.networks) == ("video" in entry.modalities)
    assert ("audio_encoder" in stage.networks) == ("audio" in entry.modalities)


def test_equal_budgets_count_the_steps_that_an_arm_inherits():
    total = {
        arm: synthetic.get_config(arm).steps + (synthetic.get_config(entry.after).steps if entry.after else 0)
        for arm, entry in synthetic.ARMS.items()
        if arm not in synthetic.CONTROLS
    }
    assert {steps for arm, steps in total.items() if arm.startswith("talk")} == {synthetic.READ + synthetic.TALK}
    assert {steps for arm, steps in total.items() if not arm.startswith("talk")} == {synthetic.READ}


def test_the_former_names_are_those_of_ablations():
    from configs.claims import grid as former_grid
    from configs.claims import synthetic as former_synthetic
    from davs_jax import claims

    assert claims.main is main
    assert (former_synthetic.ARMS, former_grid.ARMS) == (synthetic.ARMS, grid.ARMS)
    assert former_synthetic.get_config is synthetic.get_config

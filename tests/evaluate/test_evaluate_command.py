"""The command davs-evaluate."""

import json
import re

import pytest

from davs_jax.checkpoint.export import save_weights
from davs_jax.evaluate.__main__ import main
from support.tiny_model import random_weights


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
    assert {"retrieval, sync", "generated frames", "word_from_pid"} <= set(record["skipped"])
    assert f"Missing parts: {len(record['skipped'])}" in (tmp_path / "r" / "report.html").read_text()


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
    assert "words read from audio" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--checkpoint": "/nowhere"}, "/nowhere holds no weights"),
        ({"--data": "/nowhere"}, "/nowhere holds no finished shards"),
        ({"--split": "exam"}, "no split 'exam'"),
        (
            {"--output": "/dev/null/report"},
            "/dev/null/report: Not a directory; check the file, its folder and its disk",
        ),
    ],
)
def test_invalid_arguments_are_refused_in_one_sentence(workdir, clips_folder, tmp_path, changed, message):
    arguments = {"--checkpoint": workdir, "--data": clips_folder, "--output": str(tmp_path / "r")} | changed
    with pytest.raises(SystemExit, match=message) as stopped:
        main([part for pair in arguments.items() for part in pair])
    assert "\n" not in str(stopped.value)


def test_a_limit_must_be_a_number(capsys):
    with pytest.raises(SystemExit):
        main(["--checkpoint", "w", "--data", "d", "--limit", "0"])
    assert "'0' is not a whole number of 1 or more" in capsys.readouterr().err


def test_a_damaged_training_shard_fails_the_evaluation(workdir, damaged_folder, tmp_path):
    """The mouth-opening estimator cannot be fitted, but that is no reason to leave a row out of the report."""
    arguments = ["--checkpoint", workdir, "--data", damaged_folder, "--output", str(tmp_path / "r")]
    with pytest.raises(SystemExit, match=r"damaged: record \d+ of split 'train' cannot be read") as stopped:
        main(arguments)
    assert "\n" not in str(stopped.value)
    assert not (tmp_path / "r" / "report.json").exists()

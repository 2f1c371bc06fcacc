"""The same shards by an Apache Beam pipeline, in memory."""

import json

import pytest
from PIL import Image

from data_prep import beam, faces, shards
from support.counting import contents, make_plan


@pytest.fixture
def prepare(tmp_path, points):
    """`prepare(output, *flags)` → exit status: eleven photos of two people, their points known; one photo is empty."""
    for i in range(11):
        path = tmp_path / "in" / "AB"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((160, 140), 60).convert("RGB").save(path)
        path.with_suffix(".json").write_text(json.dumps({"points": points.tolist()}))
    path.write_bytes(b"")

    def run(output, *flags):
        common = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / output), "--image-size", "64"]
        return faces.main([*common, *flags])

    return run


BY_BEAM = ("--runner", "DirectRunner")


def test_beam_processes_and_job_arrays_make_the_same_bytes(prepare, tmp_path):
    pytest.importorskip("apache_beam")
    assert prepare("one", "--workers", "1") == 0
    assert prepare("pool", "--workers", "2") == 0
    assert [prepare("array", "--shard", task) for task in ("1/2", "0/2")] == [0, 0]
    assert prepare("array") == 0
    assert prepare("beam", *BY_BEAM, "--", "--direct_running_mode=in_memory") == 0
    one = contents(tmp_path / "one")
    assert len([name for name in one if "array_record" in name]) == 2
    assert one == contents(tmp_path / "pool") == contents(tmp_path / "array") == contents(tmp_path / "beam")


def test_beam_makes_only_what_a_killed_run_left(prepare, tmp_path):
    pytest.importorskip("apache_beam")
    assert prepare("beam", "--shard", "0/2") == 0
    (made,) = (tmp_path / "beam").glob("*array_record*")
    before = made.stat()
    assert prepare("beam", *BY_BEAM) == 0
    assert (made.stat().st_mtime_ns, made.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert len(list((tmp_path / "beam").glob("*array_record*"))) == 2


def test_a_shard_that_the_runner_loses_is_missed(prepare, monkeypatch, capsys):
    pytest.importorskip("apache_beam")
    make = beam.make_named
    monkeypatch.setattr(beam, "make_named", lambda name, *more: None if "00001-of" in name else make(name, *more))
    assert prepare("beam", *BY_BEAM) == 1
    assert "shard train-00001-of-00002 is not made yet; run the preparation again" in capsys.readouterr().err


def test_a_pipeline_that_fails_says_why_in_a_sentence_and_keeps_what_it_made(tmp_path):
    pytest.importorskip("apache_beam")
    plan = make_plan([0, 1, "nothing"], count=3)
    pending = shards.open_output(plan, tmp_path)
    with pytest.raises(beam.PreparationError, match=r"neither a record nor a rejection for nothing.*finished shards"):
        beam.make_all(plan, pending, tmp_path, *BY_BEAM[1:], [])
    with pytest.raises(beam.PreparationError, match="a worker does not find the plan"):
        beam.make_named("train-00000-of-00003", tmp_path, "of another plan")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--runner", "NoRunner"], "--runner NoRunner"),
        (["--runner", "DirectRunner", "--shard", "0/2"], "leave one of them out"),
        (["--", "--project=p"], "--project=p: is no option; name the --runner that it is for"),
    ],
)
def test_what_does_not_go_together_is_said_in_a_sentence(prepare, flags, said, capsys):
    if "NoRunner" in flags:
        pytest.importorskip("apache_beam")
    assert prepare("beam", *flags) == 1
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_without_beam_its_extra_is_named(prepare, monkeypatch, capsys):
    monkeypatch.setattr(beam, "apache_beam", None)
    assert prepare("beam", *BY_BEAM) == 1
    assert "pip install 'davs_jax[beam]'" in capsys.readouterr().err

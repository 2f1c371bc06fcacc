"""The same shards by an Apache Beam pipeline, in memory."""

import sys

import pytest

import support.preparation
from data_prep import beam, faces, shards
from support.counting import make_plan
from support.preparation import contents

BY_BEAM = ("--runner", "DirectRunner")


@pytest.fixture
def prepare(tmp_path, write_photos):
    """`prepare(output, *flags)` → exit status, for eleven photos of two people."""
    folder = write_photos(tmp_path / "in", 11)
    return lambda output, *flags: support.preparation.prepare(faces, folder, *flags, output=tmp_path / output)[0]


def test_beam_and_one_process_make_the_same_bytes(prepare, tmp_path):
    pytest.importorskip("apache_beam")
    assert prepare("one") == 0
    assert prepare("beam", *BY_BEAM, "--", "--direct_running_mode=in_memory") == 0
    one = contents(tmp_path / "one")
    assert len([name for name in one if "array_record" in name]) == 2
    assert one == contents(tmp_path / "beam")


def test_beam_makes_only_the_shards_that_a_killed_run_left(prepare, tmp_path):
    pytest.importorskip("apache_beam")
    assert prepare("beam", "--shard", "0/2") == 0
    (made,) = (tmp_path / "beam").glob("*array_record*")
    before = made.stat()
    assert prepare("beam", *BY_BEAM) == 0
    assert (made.stat().st_mtime_ns, made.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert len(list((tmp_path / "beam").glob("*array_record*"))) == 2


def test_a_shard_that_the_runner_loses_is_reported(prepare, monkeypatch, capsys):
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
        (["--", "--project=p"], "--project=p: unknown option; name the --runner that it is for"),
    ],
)
def test_flags_that_contradict_each_other_are_refused_in_one_sentence(prepare, flags, said, capsys):
    if "NoRunner" in flags:
        pytest.importorskip("apache_beam")
    assert prepare("beam", *flags) == 1
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error


def test_without_beam_the_message_names_its_extra(prepare, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    assert prepare("beam", *BY_BEAM) == 1
    assert "pip install 'davs_jax[beam]'" in capsys.readouterr().err

import json
import time

import pytest
from etils import epath

from davs_jax.monitor import goodput


def line(began, first, at, total, **spent):
    return json.dumps({"began": began, "first": first, "at": at, "of": 100, "total": total, **spent})


def test_one_start_is_its_last_line_and_what_nobody_named_is_other():
    seconds = goodput.totals([line(1, 0, 10, 50.0, step=30.0), line(1, 0, 20, 100.0, step=70.0, compile=20.0)])
    assert seconds["step"] == 70.0
    assert seconds["compile"] == 20.0
    assert seconds["other"] == pytest.approx(10.0)
    assert sum(seconds.values()) == pytest.approx(100.0)


def test_what_a_killed_run_did_after_its_checkpoint_is_lost():
    killed = [line(1, 0, 10, 50.0, step=40.0), line(1, 0, 19, 90.0, step=75.0)]
    resumed = [line(2, 10, 20, 60.0, step=45.0, start=5.0)]
    seconds = goodput.totals(killed + resumed)
    assert seconds["lost"] == pytest.approx(40.0)
    assert seconds["step"] == pytest.approx(40.0 + 45.0)
    assert sum(seconds.values()) == pytest.approx(90.0 + 60.0)


def test_a_run_killed_before_its_first_checkpoint_is_lost_as_a_whole():
    seconds = goodput.totals([line(1, 0, 5, 30.0, step=20.0), line(2, 0, 5, 25.0, step=20.0)])
    assert seconds["lost"] == pytest.approx(30.0)
    assert seconds["step"] == pytest.approx(20.0)


def test_a_run_that_saved_before_it_stopped_loses_nothing():
    assert goodput.totals([line(1, 0, 10, 50.0), line(2, 10, 20, 50.0)])["lost"] == 0.0


def test_a_line_that_was_being_written_when_the_run_was_killed_is_left_out():
    assert goodput.totals([line(1, 0, 10, 50.0), '{"began": 1, "fir'])["other"] == 50.0


def test_the_account_of_a_start_joins_those_before(tmp_path):
    folder = epath.Path(tmp_path / "run")
    before = goodput.Account(folder, 0, 100, True)
    before.add("step", 1_000.0)
    before.note(10)
    now = goodput.Account(folder, 10, 100, True)
    with now.spending("evaluation"):
        time.sleep(0.01)
    seconds = now.total(20)
    assert seconds["step"] == 1_000.0
    assert 0.0 < seconds["evaluation"] < 1.0


def test_a_sentence_names_the_largest_first_and_nothing_small():
    seconds = {"step": 3_000.0, "compile": 590.0, "data": 10.0, "lost": 0.0}
    assert goodput.sentence(seconds) == "time: 1 h 00 min, of which step 83%, compile 16%"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (185, "3 min 05 s"), (7_620, "2 h 07 min"), (273_600, "3 d 04 h")],
)
def test_durations_read_well(seconds, text):
    assert goodput.duration(seconds) == text

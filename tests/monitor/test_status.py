import json
import os
import re
import time

import pytest

from davs_jax.monitor import __main__ as monitor
from davs_jax.monitor import status


@pytest.fixture
def workdir(tmp_path):
    run = tmp_path / "run"
    (run / "images").mkdir(parents=True)
    speed = {"time/clips_per_second": 80.0, "time/steps_per_second": 5.0, "time/waiting_for_data": 0.014}
    events = [{"step": s, "loss/total": 100.0 / s, "loss/l1_audio": 3.0, **speed} for s in (50, 100, 150)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events) + '{"step": 200, "lo')
    entry = {"began": 1.0, "first": 0, "at": 150, "of": 1_000, "total": 60.0, "step": 40.0, "compile": 15.0}
    (run / "goodput.jsonl").write_text(json.dumps(entry) + "\n")
    for number in (50, 150):
        (run / "images" / f"generated_{number:08d}.png").write_bytes(b"")
    return run


def test_the_page_shows_progress_speed_time_losses_and_the_newest_images(workdir):
    text = status.page(workdir, time.time(), 100, 40)
    assert "step 150 of 1,000 (15%), 2 min 50 s to go" in text
    assert "80.0 clips/s, 5 steps/s, waiting for data 1.4%" in text
    assert "compile 25%" in text
    assert re.search(r"loss/total +0\.6667 █▃▁", text)
    assert "generated: images/generated_00000150.png" in text
    assert text.startswith(str(workdir))
    assert "generated_00000050" not in text
    assert "still alive" not in text


def test_a_run_without_new_events_may_be_dead(workdir):
    hour_ago = time.time() - 3_600
    os.utime(workdir / "metrics.jsonl", (hour_ago, hour_ago))
    assert "no new event for 1 h 00 min" in status.page(workdir, time.time(), 100, 40)


def test_the_page_fits_the_terminal(workdir):
    many = {"step": 200} | {f"loss/term{i}": 1.0 for i in range(50)}
    (workdir / "metrics.jsonl").write_text(json.dumps(many) + "\n")
    lines = status.page(workdir, time.time(), 60, 20).splitlines()
    assert len(lines) <= 20
    assert max(map(len, lines)) <= 60
    assert any("more curves" in line for line in lines)


def test_a_sparkline_spans_its_values_whatever_the_width():
    assert status.sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == status.BARS
    assert status.sparkline([5.0], 8) == "▁"
    assert len(status.sparkline(list(range(1_000)), 30)) == 30


def test_the_command_shows_a_run_once_where_it_has_no_terminal(workdir, capsys):
    assert monitor.main([str(workdir)]) == 0
    assert "step 150 of 1,000" in capsys.readouterr().out


def test_a_folder_without_a_run_is_refused_in_one_sentence(tmp_path, capsys):
    assert monitor.main([str(tmp_path)]) == 1
    assert "it is not the workdir of a run" in capsys.readouterr().err


def test_following_updates_the_page_until_it_is_interrupted(workdir):
    written = []

    def write(text):
        written.append(text)
        if len(written) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        status.follow(workdir, 0.0, lambda: (80, 24), write)
    assert all("step 150 of 1,000" in text for text in written)

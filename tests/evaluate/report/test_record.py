import json

import pytest

from davs_jax.data.sources import open_clips
from davs_jax.errors import DataError
from davs_jax.evaluate.report import record
from davs_jax.evaluate.sections import Corners, Figures, Motion, MouthMotion, Trust

MOTION = Motion(correlation=0.8, amplitude=0.5, low=0.7, high=0.9)
NO_SECTIONS = '{"evaluated": 1, "clips": 1, "figures": 1, "skipped": 1, "config": 1}'


def test_a_control_must_be_a_report_on_the_same_clips(clips_folder, tmp_path):
    source = open_clips(clips_folder, "test")
    with pytest.raises(DataError, match="is not a report"):
        record.read_control(tmp_path, source, 7)
    held = {"evaluated": {"data": clips_folder, "split": "test"}, "clips": 7, "figures": {"probes": {}}}
    (tmp_path / "report.json").write_text(json.dumps(held | {"skipped": {}, "config": {}}))
    assert record.read_control(tmp_path, source, 7) == Figures(probes={})
    with pytest.raises(DataError, match=r"reports 7 clips of split 'test'.* not 6"):
        record.read_control(tmp_path, source, 6)


def test_sections_come_back_from_their_json():
    figures = Figures(
        motion=MouthMotion(by_driver={"audio": MOTION, "real": MOTION}, estimator=Trust(trusted=True, clips=9)),
        activity={"audio": MOTION},
    )
    held = json.loads(json.dumps(record.encoded(figures)))
    assert set(held) == {"motion", "activity"}
    assert set(held["motion"]) == {"audio", "real", "ruler"}
    assert record.decoded(Figures, held) == figures


def test_a_distance_that_no_frame_gave_stays_in_the_json():
    assert record.encoded(Corners(mean=None, frames=0, missed=8)) == {"mean": None, "frames": 0, "missed": 8}


def test_reports_of_other_versions_are_read_as_far_as_possible(tmp_path):
    figures = {"accuracy": {"audio": {"accuracy": 0.5}}, "a section of tomorrow": {"x": 1}}
    evaluated = {"checkpoint": "w", "data": "clips", "split": "test", "a fact of tomorrow": 1}
    held = {"evaluated": evaluated, "clips": 7, "figures": figures, "skipped": {"swap": "no"}, "config": {"seed": 0}}
    (tmp_path / "report.json").write_text(json.dumps(held))
    report = record.read(tmp_path)
    assert (report.evaluated.checkpoint, report.evaluated.device) == ("w", None)
    assert (report.figures.accuracy["audio"].accuracy, report.figures.accuracy["audio"].low) == (0.5, None)
    assert report.figures.swap is None
    assert report.skipped == {"swap": "no"}


@pytest.mark.parametrize("content", ["", "[]", "{}", NO_SECTIONS])
def test_a_file_that_is_not_a_report_is_refused_in_one_sentence(content, tmp_path):
    (tmp_path / "report.json").write_text(content)
    with pytest.raises(DataError, match=r"report\.json is not a report .*; make one with") as refused:
        record.read(tmp_path)
    assert "\n" not in str(refused.value)

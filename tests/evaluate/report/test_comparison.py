import json

import pytest

from davs_jax.errors import DataError
from davs_jax.evaluate.report.comparison import write_comparison


@pytest.fixture
def reports(tmp_path):
    """Three reports; the last one holds less, and is on other clips."""
    folders = []
    for i, name in enumerate(("one", "two & co", "three")):
        accuracy = {"accuracy": 0.25 * (i + 1), "low": 0.1, "high": 0.9, "top5": 0.5, "top5_low": 0.4, "top5_high": 0.6}
        figures = {"accuracy": {"audio": accuracy}, "words": {"ABOUT": {"clips": 1}}}
        if i < 2:
            figures["activity"] = {"audio": {"correlation": 0.5, "amplitude": 0.125, "low": 0.4, "high": 0.6}}
        evaluated = {
            "checkpoint": f"runs/{name}",
            "data": "clips",
            "split": "test" if i < 2 else "val",
            "clips": "7 of 7",
        }
        (folder := tmp_path / name).mkdir()
        record = {"evaluated": evaluated, "clips": 7, "figures": figures, "skipped": {}, "config": {}}
        (folder / "report.json").write_text(json.dumps(record))
        folders.append(folder)
    (folders[0] / "best.mp4").write_bytes(b"mp4")
    return folders


def test_every_report_has_its_column(reports, tmp_path):
    page = write_comparison(reports, tmp_path / "out").read_text()
    assert "<th>one</th><th>two &amp; co</th><th>three</th>" in page
    bracket = "<small>[10.0 %, 90.0 %]</small>"
    cells = "".join(f"<td>{share}{bracket}</td>" for share in ("25.0 %", "50.0 %", "75.0 %"))
    assert f"<td>audio</td>{cells}" in page
    assert page.count("50.0 %<small>[40.0 %, 60.0 %]</small>") == 3
    assert "<td>audio · amplitude</td><td>0.125</td><td>0.125</td><td></td>" in page
    assert page.count("data:video/mp4") == 1
    assert "ABOUT" not in page


def test_reports_on_other_clips_bring_a_warning(reports, tmp_path):
    assert "Not the same clips" in write_comparison(reports, tmp_path / "out").read_text()
    assert "Not the same clips" not in write_comparison(reports[:2], tmp_path / "out").read_text()


def test_a_folder_without_a_report_is_named(reports, tmp_path):
    with pytest.raises(DataError, match=r"nothing/report\.json is not a report"):
        write_comparison([*reports, tmp_path / "nothing"], tmp_path / "out")

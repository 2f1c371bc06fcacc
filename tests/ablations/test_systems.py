import json

import numpy as np
import pytest

from configs.baselines import table
from davs_jax.ablations import examples, systems
from davs_jax.ablations.run import Study, StudyError
from davs_jax.evaluate.generated import Generated
from davs_jax.training.stage import Stage

ARMS = {"davs": "ours", "glance": "theirs", "one-subject": "another corpus", "syncnet": "a judge"}


def record(arm: str, seed: int, clips: str, **figures: float) -> dict:
    known = {"picture/psnr_audio": 20.0 + seed, "picture/psnr_photo": 26.0, "sync/lse_d_real": 7.0} | figures
    known |= {} if arm == "syncnet" else {"cost/fps": 100.0, "cost/parameters": 2_500_000.0}
    made = {"steps": 10, "steps_per_second": 2.0, "hours": 0.5, "commit": "abc"}
    return {"arm": arm, "seed": seed, "figures": known, "config": {"data": {"clips": clips}}} | made


def kept(workdir, source, value: int) -> None:
    clip = {name: np.full((29, 64, 64, 3), shade, np.uint8) for name, shade in (("photo", 9), ("real", 5))}
    made = Generated(np.zeros(1), {}, {}, {}, {3: clip | {"audio": np.full((29, 64, 64, 3), value, np.uint8)}})
    workdir.mkdir(parents=True)
    examples.keeper(workdir, source, True)(made)


class Source:
    folder = "a"

    def record(self, i):
        return {"audio": np.zeros(29 * 640, np.int16)}


@pytest.fixture
def page(tmp_path):
    for name, value in (("davs", 100), ("glance", 200)):
        kept(tmp_path / "0" / name, Source(), value)
    records = [record(arm, seed, "a") for arm in ("syncnet", "davs", "glance") for seed in (0, 1)]
    records.append(record("one-subject", 0, "b"))
    records[2]["elsewhere"] = {"news": records[2]["figures"]}
    return systems.write(tmp_path, ARMS, (0, 1), records)


def test_systems_stand_in_a_table_of_their_corpus_beside_the_photo_and_the_real_frames(page, tmp_path):
    lines = (tmp_path / "systems.md").read_text().splitlines()
    of_a = lines[lines.index("## a") : lines.index("## b")]
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in of_a if line.startswith("| ")}
    names = ("picture/psnr", "sync/lse_d")  # and no column of what was measured nowhere
    assert rows["system"][:-2] == [systems.COLUMNS[name] for name in names]
    assert rows["davs: ours"][0] == "20.50 ± 0.71" and rows["the photo, copied"][0] == "26.00 ± 0.00"
    assert rows["the real frames"][1] == "7.00 ± 0.00"
    assert rows["glance: theirs"][-2:] == ["100", "2.50 |"]
    assert {"## a", "## b", "## news"} <= set(lines) and not any(line.startswith("| syncnet: ") for line in lines)
    assert json.loads((tmp_path / "systems.json").read_text())["arms"] == ARMS


def test_the_page_shows_videos_side_by_side(page, tmp_path):
    assert page.read_text().count("<video") == 1
    workdirs = {name: tmp_path / "0" / name for name in ("davs", "glance", "nothing")}
    columns, data = examples.side_by_side(workdirs, examples.file("a"), 4)
    assert columns == ["the photo", "the real clip", "davs", "glance"] and data[4:8] == b"ftyp"
    assert examples.side_by_side({"nothing": tmp_path}, examples.file("a"), 4) is None


@pytest.mark.parametrize("arm", table.ARMS)
def test_every_system_of_the_table_is_a_valid_stage(arm):
    stage = Stage.from_config(table.get_config(arm))
    assert stage.trained


def test_a_finished_baseline_is_left_as_it_is_and_refused_with_other_settings(tmp_path):
    study = Study(table.ARMS, table.get_config, tmp_path)
    config = table.get_config("speech2vid-face", str(tmp_path / "0"))
    (tmp_path / "record.json").write_text(json.dumps({"config": json.loads(config.to_json())}))
    study._check(tmp_path / "record.json", config)
    config.loss.l1 = 2.0
    with pytest.raises(StudyError, match=r"loss.l1: 1.0 → 2.0 now"):
        study._check(tmp_path / "record.json", config)


def test_an_arm_brings_all_that_it_starts_from_and_the_judges(tmp_path):
    study = Study(table.ARMS, table.get_config, tmp_path, judges=table.JUDGES)
    wanted = study._with_what_they_start_from(["speech2vid"])
    assert wanted == [*table.JUDGES["syncnet"], "word", "person", "davs", "speech2vid-face", "speech2vid"]

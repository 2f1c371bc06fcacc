"""Plans and shards: complete, resumable, and the same whoever makes them."""

import json
from dataclasses import replace

import pytest
import tensorflow_datasets as tfds
from tqdm import tqdm

from data_prep import dataset, shards
from data_prep.plan import PreparationError, into_shards, read_plan, split_by_share
from data_prep.worker_pool import WorkerError
from support.counting import make_plan
from support.preparation import contents


def prepare(plan, output, workers=1, overwrite=False):
    shards.make_all(plan, shards.open_output(plan, output, overwrite), output, workers)
    return dataset.finish(plan, output)


def test_the_folder_is_a_tfds_dataset_of_every_item_once(tmp_path):
    tables = prepare(make_plan(), tmp_path)
    assert {split: dict(table) for split, table in tables.items()} == {
        "train": {"records": 20},
        "val": {"records": 2},
    }
    builder = tfds.builder_from_directory(str(tmp_path))
    assert builder.info.features["identity"].names == ["even", "odd"]
    train = builder.as_data_source("train")
    assert sorted(int(record["face_id"]) for record in train) == list(range(20))
    assert all(record["image"] == int(record["face_id"]).to_bytes(4, "little") * 100 for record in train)


def test_processes_make_the_same_bytes_as_one(tmp_path):
    prepare(make_plan(), tmp_path / "one", workers=1)
    prepare(make_plan(), tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_where_processes_cannot_share_memory_one_makes_the_same_bytes(tmp_path, monkeypatch, caplog):
    def refused(self):
        raise OSError(30, "Read-only file system")

    prepare(make_plan(), tmp_path / "two", workers=2)
    monkeypatch.setattr("multiprocessing.context.BaseContext.Lock", refused)
    prepare(make_plan(), tmp_path / "one", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    (note,) = [record.getMessage() for record in caplog.records]
    assert note.startswith("processes cannot share memory (Read-only file system), so one process does the work")


@pytest.mark.parametrize("workers", [1, 2])
def test_the_bar_counts_items_while_their_shard_is_being_made(tmp_path, monkeypatch, workers):
    class Bar(tqdm):
        """Creates the file that the second item waits for as soon as the first one is counted."""

        def update(self, n=1):
            super().update(n)
            counted.append(self.n)
            if self.n == 1:
                (tmp_path / "counted").touch()

    counted = []
    monkeypatch.setattr(shards, "progress", lambda **options: Bar(**options))
    plan = replace(make_plan(), splits={"train": [[0, f"await {tmp_path / 'counted'}", 1]]})
    assert prepare(plan, tmp_path / "out", workers)["train"] == {"records": 3}
    assert counted[-1] == 3 and counted == sorted(counted)


def test_a_resumed_bar_starts_at_the_finished_items(tmp_path, capsys):
    plan = make_plan()
    first, *_ = pending = shards.open_output(plan, tmp_path)
    shards.make_shard(plan, first, tmp_path)
    shards.make_all(plan, pending[1:], tmp_path, workers=1)
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert f"{len(first.items)}/22" in lines[0] + lines[1] and "22/22" in lines[-1]


def test_the_tasks_of_a_job_array_make_the_same_bytes_as_one_command(tmp_path):
    plan = make_plan()
    for task in (2, 0, 1):
        pending = shards.open_output(plan, tmp_path / "array")
        shards.make_all(plan, shards.share(plan, pending, task, 3), tmp_path / "array", workers=1)
        if task != 1:
            with pytest.raises(PreparationError, match="not made yet"):
                dataset.finish(plan, tmp_path / "array")
    prepare(plan, tmp_path / "array")
    prepare(plan, tmp_path / "one")
    assert contents(tmp_path / "array") == contents(tmp_path / "one")


def test_more_tasks_than_shards_leave_some_idle(tmp_path):
    plan = make_plan()
    pending = shards.open_output(plan, tmp_path)
    shares = [shards.share(plan, pending, task, 9) for task in range(9)]
    assert sorted(len(own) for own in shares) == [0] * 5 + [1] * 4
    assert shares[0] + shares[1] + shares[2] + shares[3] == pending


def test_a_stopped_run_resumes_and_ends_as_if_it_had_not_been_stopped(tmp_path):
    plan, output = make_plan(), tmp_path / "stopped"
    first, second, *_ = shards.open_output(plan, output)
    shards.make_shard(plan, first, output)
    made = output / plan.records_file(first)
    before = made.stat()

    stopped = replace(second, items=[*second.items[:2], "stop", *second.items[2:]])
    with pytest.raises(KeyboardInterrupt):
        shards.make_shard(plan, stopped, output)
    assert not (output / plan.records_file(second)).exists()
    draft = output / ".part-x" / plan.records_file(second)
    draft.parent.mkdir()
    draft.write_bytes(b"of a killed process")

    assert [shard.name for shard in shards.open_output(plan, output)] == [
        "train-00001-of-00003",
        "train-00002-of-00003",
        "val-00000-of-00001",
    ]
    prepare(plan, output)
    assert (made.stat().st_mtime_ns, made.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    prepare(plan, tmp_path / "whole")
    assert contents(output) == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (make_plan(length=50), "length was 100, now is 50"),
        (make_plan(range(21)), "the train split had 20 files, now has 21"),
        (make_plan(range(1, 21)), "not the same"),
        (replace(make_plan(), input="elsewhere"), "input was in, now is elsewhere"),
    ],
)
def test_another_plan_is_refused_without_overwrite(tmp_path, other, difference):
    prepare(make_plan(), tmp_path / "out")
    with pytest.raises(PreparationError, match=rf"{difference}.*--overwrite"):
        shards.open_output(other, tmp_path / "out")
    prepare(other, tmp_path / "out", overwrite=True)
    prepare(other, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(PreparationError, match="is not empty"):
            shards.open_output(make_plan(), tmp_path, overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_rejections_are_listed_and_counted_by_stage(tmp_path):
    tables = prepare(make_plan([0, "rejected", 1, "rejected"]), tmp_path)
    assert dict(tables["train"]) == {"records": 2, "face": 2}
    listed = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert listed == 2 * [
        {"file": "rejected", "stage": "face", "reason": "no face", "remedy": "leave it out"},
    ]


def test_an_input_rejected_while_listing_never_reaches_the_source(tmp_path):
    stray = shards.rejected_item("notes.doc", "read", "is no video", "leave it out")
    assert dict(prepare(make_plan([0, stray]), tmp_path)["train"]) == {"records": 1, "read": 1}
    assert json.loads((tmp_path / "rejected.jsonl").read_text()) == stray


def test_a_shard_whose_items_are_all_rejected_is_an_empty_file(tmp_path):
    tables = prepare(make_plan(["rejected", 1], count=2), tmp_path)
    assert tables["train"]["records"] == 1
    assert len(tfds.builder_from_directory(str(tmp_path)).as_data_source("train")) == 1


def test_a_split_without_records_is_left_out_of_the_dataset(tmp_path):
    plan = replace(make_plan(), splits={"train": [[0, 1]], "val": [["rejected"]]})
    for _ in range(2):  # run again, nothing changes
        assert dict(prepare(plan, tmp_path)["val"]) == {"records": 0, "face": 1}
    assert list(tfds.builder_from_directory(str(tmp_path)).as_data_source()) == ["train"]


def test_a_fault_of_the_program_on_one_file_costs_that_file_only(tmp_path):
    tables = prepare(make_plan([0, "not a number", 1]), tmp_path)
    assert dict(tables["train"]) == {"records": 2, "unexpected": 1}
    assert "ValueError at counting.py" in (tmp_path / "rejected.jsonl").read_text()


def test_an_item_without_any_outcome_is_an_error(tmp_path):
    with pytest.raises(PreparationError, match="neither a record nor a rejection for nothing"):
        prepare(make_plan([0, "nothing"]), tmp_path)


def test_a_worker_that_dies_is_reported_and_what_is_finished_is_kept(tmp_path):
    plan = make_plan([0, 1, "crash"], count=3)
    first, *rest = shards.open_output(plan, tmp_path)
    shards.make_shard(plan, first, tmp_path)
    with pytest.raises(WorkerError, match=r"worker process died.*fewer --workers"):
        shards.make_all(plan, rest, tmp_path, workers=2)
    assert first.name not in [shard.name for shard in shards.open_output(plan, tmp_path)]


def test_an_incomplete_folder_does_not_become_a_dataset(tmp_path):
    plan = make_plan()
    pending = shards.open_output(plan, tmp_path)
    for shard in pending[:-1]:
        shards.make_shard(plan, shard, tmp_path)
    with pytest.raises(PreparationError, match="val-00000-of-00001 is not made yet"):
        dataset.finish(plan, tmp_path)
    shards.make_shard(plan, pending[-1], tmp_path)

    one, other = (tmp_path / plan.records_file(shard) for shard in pending[1:3])
    one.write_bytes(other.read_bytes())  # 6 records in the place of 7
    with pytest.raises(PreparationError, match="holds 6 records of 7"):
        dataset.finish(plan, tmp_path)
    one.unlink()
    with pytest.raises(PreparationError, match=r"holds 0 records of 7; delete .*train-00001-of-00003\.json"):
        dataset.finish(plan, tmp_path)
    assert not (tmp_path / "dataset_info.json").exists()


def test_a_run_that_rejects_everything_fails(tmp_path):
    plan = replace(make_plan(), splits={"train": [["rejected"]]})
    with pytest.raises(PreparationError, match=r"every input was rejected; .*rejected\.jsonl gives the reasons"):
        prepare(plan, tmp_path)


def test_a_plan_is_read_back_as_it_was_written(tmp_path):
    plan = make_plan()
    shards.open_output(plan, tmp_path)
    assert read_plan(tmp_path) == plan
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(PreparationError, match=r"plan\.json cannot be read"):
        read_plan(tmp_path)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 100, 1000])
def test_items_are_distributed_evenly_whatever_the_order_of_the_listing(count):
    items = [f"{i:04d}" for i in range(count)]
    parts = into_shards(items, 64, seed=0)
    sizes = [len(shard) for shard in parts]
    assert max(sizes) <= 64
    assert max(sizes) - min(sizes) <= 1
    assert sorted(item for shard in parts for item in shard) == items
    assert parts == into_shards(reversed(items), 64, seed=0)
    if count > 8:
        assert parts != into_shards(items, 64, seed=1)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 10, 532])
def test_splits_get_their_share_and_the_first_ones_first(count):
    shares = {"train": 0.8, "val": 0.1, "test": 0.1}
    units = [f"s{i}" for i in range(count)]
    split_of = split_by_share(units, shares, seed=0)
    assert sorted(split_of) == sorted(units)
    sizes = [list(split_of.values()).count(split) for split in shares]
    assert sizes == {
        1: [1, 0, 0], 2: [1, 1, 0], 3: [1, 1, 1], 6: [4, 1, 1], 10: [8, 1, 1], 532: [426, 53, 53]
    }[count]  # fmt: skip
    assert split_of == split_by_share(reversed(units), shares, seed=0)


def test_a_share_of_nothing_gets_nothing():
    assert set(split_by_share("abc", {"train": 1.0, "val": 0.0}, seed=0).values()) == {"train"}

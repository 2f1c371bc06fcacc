"""Damaged files: none crashes or hangs the program, each gives a record or a reason, every good file gives a record.

The suite takes a few; for hundreds, from real recordings, run

    pytest -m fuzz -s tests/data_prep/test_fuzz.py
"""

import base64
import functools
import io
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import support.preparation
from data_prep import dataset, faces, inspect, ms_celeb, report, voxceleb
from data_prep import folder as folder_of_videos
from data_prep.plan import PreparationError, read_plan
from davs_jax.data.sources import open_faces
from davs_jax.errors import DataError
from support.damage import GOOD, WHOLE, by_chance, images, shard, videos
from support.preparation import rejections
from support.recordings import RECORDINGS

LIMIT, PATIENCE = 30, 900  # s for one file: of CPU, and of the clock on a busy machine


@pytest.fixture(autouse=True)
def limited(monkeypatch):
    """A file that takes longer than LIMIT counts as a fault of the program. The value: s of CPU of each file."""
    times = []

    def over(*_):
        raise TimeoutError(f"more than {LIMIT} s of CPU, or {PATIENCE} s, for one file")

    def timed(examples, plan, item):
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
        signal.alarm(PATIENCE)
        try:
            yield from examples(plan, item)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
            times.append(time.process_time() - began)

    previous = {kind: signal.signal(kind, over) for kind in (signal.SIGALRM, signal.SIGPROF)}
    for source in (faces, ms_celeb, voxceleb, folder_of_videos):
        monkeypatch.setattr(source, "examples", functools.partial(timed, source.examples))
    yield times
    for kind, handler in previous.items():
        signal.signal(kind, handler)


def prepare(source, folder, output, *flags):
    return support.preparation.prepare(source, folder, *flags, output=output)[0]


def stages_of_rejections(folder, output, made):
    """Checks that every file made is an item of the plan and that each gave something, good ones no rejection.

    Returns the number of rejections by stage.
    """
    rejected = rejections(output)
    assert [rejection for rejection in rejected if rejection["stage"] == "unexpected"] == []
    of_plan = [item for shard in read_plan(output).shards() for item in shard.items]
    items = {item.get("video", item.get("file")) if isinstance(item, dict) else item for item in of_plan}
    made = {path.relative_to(folder).as_posix() for path in made}
    assert made <= items
    whole = {file for file in made if Path(file).name.startswith((WHOLE, GOOD))}
    assert whole and whole.isdisjoint(rejection["file"] for rejection in rejected)
    return Counter(rejection["stage"] for rejection in rejected)


def talk(folder, video):
    """A corpus in VoxCeleb2's layout with three good utterances; returns the folder for the damaged ones."""
    place = folder / "mp4" / "id0" / "talk"
    place.mkdir(parents=True)
    for i in range(3):
        shutil.copy(video, place / f"{GOOD} {i}.mp4")
    return place


@pytest.mark.parametrize("source", [voxceleb, folder_of_videos])
def test_damaged_videos_cost_only_their_own_records(tmp_path, write_video, one_face, source):
    place = talk(tmp_path / "in", write_video(tmp_path / "good.mp4", frames=58))
    made = [*videos(tmp_path / "good.mp4", place, count=12, seed=0), *place.glob(f"{GOOD}*")]
    assert prepare(source, tmp_path / "in", tmp_path / "out") == 0
    stages = stages_of_rejections(tmp_path / "in", tmp_path / "out", made)
    assert {"read", "sound", "length"} <= stages.keys()


def test_damaged_photos_cost_only_their_own_records(tmp_path, one_face):
    place = tmp_path / "in" / "Somebody"
    place.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (35, 40, 3), np.uint8)
    photo = tmp_path / "good.jpg"
    Image.fromarray(noise).resize((160, 140)).save(photo)
    shutil.copy(photo, place / f"{GOOD}.jpg")
    made = [*images(photo, place, count=12, seed=0), place / f"{GOOD}.jpg"]
    assert prepare(faces, tmp_path / "in", tmp_path / "out") == 0
    assert {"read", "label"} <= stages_of_rejections(tmp_path / "in", tmp_path / "out", made).keys()


@pytest.mark.parametrize("kind", ["empty", "half", "flipped", "noise"])
def test_a_damaged_shard_is_reported_in_one_sentence(tmp_path, one_face, kind, capsys):
    for i in range(4):
        path = tmp_path / "in" / "Somebody" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((160, 140), 60).convert("RGB").save(path)
    assert prepare(faces, tmp_path / "in", tmp_path / "out") == 0
    plan = read_plan(tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*array_record*")
    shard(path, np.random.default_rng(1), kind)
    capsys.readouterr()
    if kind != "flipped":  # where the count is still right, reading a record finds it out
        with pytest.raises(PreparationError, match=r"faces-train.*delete .*run the preparation again"):
            dataset.finish(plan, tmp_path / "out")
    for command in (inspect, report):
        assert command.main([str(tmp_path / "out")]) == 1
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert str(tmp_path / "out") in said
    with pytest.raises(DataError):
        opened = open_faces(str(tmp_path / "out"), "train")
        for i in range(len(opened)):
            opened.record(i)


def damaged_tables(folder, seeds):
    """Prepares a damaged table of photos beside a whole one, by seed; the whole one's 12 must all come through."""
    lines = []
    for i in range(12):
        photo = io.BytesIO()
        Image.effect_noise((112, 112), 60).convert("RGB").save(photo, "jpeg")
        lines.append(
            "\t".join((f"m.{i % 3}", str(i), "u", "u", "0", "box", base64.b64encode(photo.getvalue()).decode()))
        )
    whole = "\n".join(lines).encode()
    for seed in seeds:
        corpus, output = folder / f"table{seed}", folder / f"of table{seed}"
        corpus.mkdir()
        (corpus / "damaged.tsv").write_bytes(by_chance(whole, np.random.default_rng(seed)))
        (corpus / "whole.tsv").write_bytes(whole)
        assert prepare(ms_celeb, corpus, output, "--crops", "arcface") == 0
        assert [rejection for rejection in rejections(output) if rejection["stage"] == "unexpected"] == []
        records = open_faces(str(output), "train").data
        assert sum(record["face_id"].startswith(b"whole.tsv/") for record in records) == 12


def test_a_damaged_table_costs_only_its_own_photos(tmp_path):
    damaged_tables(tmp_path, range(3))


@pytest.mark.fuzz
@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"real recordings are not there: {RECORDINGS}")
def test_hundreds_of_damaged_files_made_from_real_ones(tmp_path, limited):
    count, stages = 0, Counter()
    grid = RECORDINGS / "grid" / "s1"
    sources = [next(iter(sorted(grid.glob(kind)))) for kind in ("*.mp4", "*.mpg")] + [RECORDINGS / "clips" / "d10.mp4"]
    for number, source in enumerate(sources):
        folder, output = tmp_path / f"in{number}", tmp_path / f"out{number}"
        place = talk(folder, source)
        made = [*videos(source, place, count=55, seed=number), *place.glob(f"{GOOD}*")]
        assert prepare(voxceleb, folder, output) == 0
        stages += stages_of_rejections(folder, output, made)
        count += len(made)
    place = tmp_path / "photos" / "Somebody"
    place.mkdir(parents=True)
    photo = next((RECORDINGS / "faces" / "lfw").glob("*/*.jpg"))
    shutil.copy(photo, place / f"{GOOD}.jpg")
    made = [*images(photo, place, count=60, seed=0), place / f"{GOOD}.jpg"]
    assert prepare(faces, tmp_path / "photos", tmp_path / "out") == 0
    stages += stages_of_rejections(tmp_path / "photos", tmp_path / "out", made)
    count += len(made)
    damaged_tables(tmp_path, range(30))
    count += 30
    print(f"{count} files; rejections by stage: {dict(stages)}; the longest took {max(limited):.1f} s of CPU")
    assert count >= 300

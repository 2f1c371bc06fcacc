"""The synthetic corpus: LRW's layout, true labels, and the same bytes with any number of processes."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("espeakng_loader", reason="needs the extra: pip install 'davs_jax[synthetic]'")

from data_prep.synthetic import __main__ as synthetic
from data_prep.synthetic.__main__ import main
from data_prep.synthetic.corpus import Settings, Task, make_clip, plan, run_task
from data_prep.synthetic.people import MENS_VOICES
from data_prep.synthetic.speech import SpeechError
from davs_jax.media.video.read import read_audio, read_clip
from support.preparation import contents

WORDS = ("BECAUSE", "FAMILY", "PEOPLE")
SETTINGS = Settings(WORDS, 1, val_people=1, test_people=1, further_people=1, clips_per_word=2, images=2, size=64)
FLAGS = [
    *("--words", "family,PEOPLE,because", "--people", "1", "--val-people", "1", "--test-people", "1"),
    *("--further-people", "1", "--clips-per-word", "2", "--images", "2", "--size", "64"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    assert main(["--output", str(folder), *FLAGS, "--workers", "2"]) == 0
    return folder


def test_the_layout_is_lrws(corpus):
    videos = {path.relative_to(corpus).as_posix() for path in corpus.glob("lipread_mp4/*/*/*.mp4")}
    counts = {"train": 2, "val": 1, "test": 1}
    assert videos == {
        f"lipread_mp4/{word}/{split}/{word}_{number + 1:05d}.mp4"
        for word in WORDS
        for split, count in counts.items()
        for number in range(count)
    }
    assert json.loads((corpus / "corpus.json").read_text())["clips"] == {"train": 6, "val": 3, "test": 3}
    assert not list(corpus.rglob(".part-*"))


def test_a_clip_is_29_frames_with_the_word_in_the_middle(corpus):
    for path in corpus.glob("lipread_mp4/*/*/*.mp4"):
        clip = read_clip(path)
        assert clip.frames.shape == (29, 64, 64, 3) and clip.samples.shape == (29 * 640,)
        fifth = path.with_suffix(".txt").read_text().splitlines()[4]
        duration = float(fifth.removeprefix("Duration: ").removesuffix(" seconds"))
        assert 0.2 < duration < 0.9
        middle = len(clip.samples) // 2
        half = round(duration / 2 * 16_000)
        assert np.abs(clip.samples[middle - half : middle + half]).mean() > 0.01


def test_labels_belong_to_the_frames(corpus):
    people = json.loads((corpus / "corpus.json").read_text())["people"]
    for path in corpus.glob("lipread_mp4/*/*/*.json"):
        labels = json.loads(path.read_text())
        assert people[labels["speaker"]]["role"] == path.parent.name
        assert np.shape(labels["points"]) == (29, 5, 2) and len(labels["mouth_opening"]) == 29
        eyes = np.linalg.norm(np.subtract(*np.array(labels["points"])[:, :2].swapaxes(0, 1)), axis=1)
        assert (np.abs(eyes / (64 * 62 / 256) - 1) < 0.15).all()
        assert 0 <= min(labels["mouth_opening"]) < 0.1 < max(labels["mouth_opening"]) < 0.55


def test_the_mouth_moves_with_the_audio(corpus):
    level, opening = [], []
    for path in corpus.glob("lipread_mp4/*/*/*.json"):
        frames = read_audio(path.with_suffix(".mp4")).reshape(29, 640)
        level.append(np.log(frames.std(axis=1) + 0.01))
        opening.append(json.loads(path.read_text())["mouth_opening"])
    level, opening = (np.array(x) - np.mean(x, axis=1, keepdims=True) for x in (level, opening))
    by_lag = {
        lag: np.corrcoef(level[:, 5:-5].ravel(), opening[:, 5 + lag : 24 + lag].ravel())[0, 1] for lag in range(-5, 6)
    }
    best = max(by_lag, key=by_lag.get)
    assert best in (0, 1) and by_lag[best] > 0.4


def test_unseen_people_have_voices_of_their_own():
    many = Settings(people=60, val_people=20, test_people=20)
    names = many.names()
    seen = {many.person(name).voice.name for name in names["train"]}
    unseen = {many.person(name).voice.name for name in names["val"] + names["test"]}
    assert not seen & unseen and len(seen) > 40
    men = [voice for voice in seen if voice.split("+")[1] in MENS_VOICES]
    assert 0.2 < len(men) / len(seen) < 0.8


def test_the_rest_of_the_corpus_is_there(corpus):
    assert {path.parent.name for path in corpus.glob("faces/*/*.jpg")} == {"p000", "f000"}
    assert len(list(corpus.glob("faces/*/*.jpg"))) == 4
    for path in [*corpus.glob("faces/*/*.json"), corpus / "photos" / "t000.json"]:
        assert np.shape(json.loads(path.read_text())["points"]) == (5, 2)
    vocabulary = {word.lower() for word in WORDS}
    for kind in ("speech/t000.wav", "driving/t000.mp4"):
        text = (corpus / kind).with_suffix(".txt").read_text().split()
        assert len(text) == 3 and set(text) <= vocabulary
        assert len(read_audio(corpus / kind)) > 16_000


def test_processes_and_the_order_of_tasks_change_no_byte(corpus, tmp_path):
    for task in reversed([task for task in plan(SETTINGS) if task.name != "v000"]):
        run_task(tmp_path, SETTINGS, task)
    alone = contents(tmp_path)
    together = contents(corpus)
    assert len(alone) > 30
    assert {name: together[name] for name in alone} == alone


def test_complete_sets_are_kept_and_incomplete_ones_made_again(tmp_path):
    task = Task(make_clip, "p000", tuple(("train", "FAMILY", number) for number in (1, 2)))
    run_task(tmp_path, SETTINGS, task)
    before = contents(tmp_path)
    first, second = (tmp_path / "lipread_mp4/FAMILY/train" / f"FAMILY_0000{n}.mp4" for n in (1, 2))
    kept = first.stat().st_mtime_ns
    second.with_suffix(".json").unlink()  # as after a kill just before the end
    second.write_bytes(b"half")
    run_task(tmp_path, SETTINGS, task)
    assert contents(tmp_path) == before and first.stat().st_mtime_ns == kept


def test_settings_are_not_mixed_in_one_folder(tmp_path, capsys):
    (tmp_path / "corpus.json").write_text('{"settings": {}}')
    assert main(["--output", str(tmp_path), *FLAGS]) == 1
    assert "corpus of other settings" in capsys.readouterr().err


def test_without_espeak_the_command_says_what_to_install(tmp_path, monkeypatch, capsys):
    def absent(*_):
        raise SpeechError("eSpeak NG is missing", "install it")

    monkeypatch.setattr(synthetic, "say", absent)
    assert main(["--output", str(tmp_path / "new"), *FLAGS]) == 1
    assert capsys.readouterr().err == "eSpeak NG is missing; install it\n"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "flags",
    [["--words", "ONE"], ["--words", "A-B,C"], ["--people", "0"], ["--context", "2"], ["--size", "65"]],
)
def test_invalid_settings_are_refused_by_name(flags, capsys):
    with pytest.raises(SystemExit):
        main(["--output", "unused", *flags])
    assert flags[0] in capsys.readouterr().err

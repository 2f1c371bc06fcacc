import dataclasses
import json

import numpy as np
import pytest

from davs_jax.generate import manifest
from davs_jax.generate.__main__ import main
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.jobs import Style
from davs_jax.generate.manifest import read_manifest, run_manifest
from davs_jax.media import video
from support.tiny_model import random_model

STYLE = Style(crop=True)


@pytest.fixture
def work(folder, tmp_path):
    """A folder with the files of `folder`, in which a manifest can stand."""
    for name in ("photo.png", "speech.wav", "driver.mp4"):
        (tmp_path / name).symlink_to(folder / name)
    return tmp_path


def test_both_forms_of_a_manifest_give_the_same_jobs(work):
    points = "124,100 176,100 150,135 127,156 173,157"
    (work / "a.csv").write_text(
        f'photo,audio,video,output,points\np.png,"a, b.wav",,o/1.mp4,\np.png,,v.mp4,2.gif,"{points}"\n'
    )
    lines = [
        {"photo": "p.png", "audio": "a, b.wav", "output": "o/1.mp4"},
        {"photo": "p.png", "video": "v.mp4", "output": "2.gif", "points": points},
    ]
    (work / "a.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    for name in ("a.csv", "a.jsonl"):
        first, second = read_manifest(work / name)
        assert (first.photo, first.audio, first.output) == (work / "p.png", work / "a, b.wav", work / "o" / "1.mp4")
        assert second.video == work / "v.mp4" and second.points[4].tolist() == [173, 157]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"photo": "p.png", "output": "o.mp4"}', "line 1: needs one of audio and video"),
        ('{"photo": "p.png", "audio": "a.wav"}', "line 1: has no output"),
        ('{"photo": "p.png", "audio": "a.wav", "output": "o.mp4", "colour": 1}', "colour is none of photo, audio"),
        ("[1]", "line 1: is not an object"),
        ("{", "line 1: .*correct it"),
        ('{"photo": "p.png", "audio": "a.wav", "output": "o.mp4", "face": "first"}', "line 1: invalid literal"),
        ("", "has no lines"),
        ('{"photo":"p","audio":"a","output":"o.mp4"}\n{"photo":"q","audio":"a","output":"./o.mp4"}', "several lines"),
    ],
)
def test_a_wrong_line_is_named(work, line, reason):
    (work / "a.jsonl").write_text(line)
    with pytest.raises(GenerationError, match=reason):
        read_manifest(work / "a.jsonl")


def test_a_manifest_continues_after_a_failure_and_resumes_after_a_stop(work, joint_config, monkeypatch):
    model, said = random_model(joint_config), []
    (work / "a.csv").write_text(
        "photo,audio,video,output\nphoto.png,speech.wav,,o/1.mp4\nphoto.png,none.wav,,o/2.mp4\n"
        "photo.png,speech.wav,,o/3.mp4\nphoto.png,,driver.mp4,o/frames\n"
    )
    jobs = read_manifest(work / "a.csv")
    whole = manifest.make

    def stopped(model, job, *rest, **options):
        made = whole(model, job, *rest, **options)
        if job.output.name == "3.mp4":
            job.output.rename(work / "o" / "part-3.mp4")
            return dataclasses.replace(made, stopped=True)
        return made

    monkeypatch.setattr(manifest, "make", stopped)
    first = run_manifest(model, jobs, STYLE, said.append)
    assert first.stopped and first.made == 1 and "none.wav: no such file" in first.failed[0]
    assert sorted(p.name for p in (work / "o").iterdir()) == ["1.mp4", "part-3.mp4"]
    monkeypatch.setattr(manifest, "make", whole)
    again = run_manifest(model, jobs, STYLE, said.append)
    assert (again.made, again.there, len(again.failed)) == (2, 1, 1)
    assert sorted(p.name for p in (work / "o").iterdir()) == ["1.mp4", "3.mp4", "frames"]
    assert len(list((work / "o" / "frames").iterdir())) == 17
    assert np.stack(list(video.read_frames(work / "o" / "3.mp4"))).shape[0] == 26


def test_a_driver_of_several_photos_is_read_once(work, joint_config, monkeypatch):
    rows = [f"photo.png,speech.wav,{i}.mp4" for i in range(3)]
    (work / "a.csv").write_text("photo,audio,output\n" + "\n".join(rows))
    read = []
    whole = manifest.read_driver
    monkeypatch.setattr(manifest, "read_driver", lambda job, *rest: read.append(job.audio) or whole(job, *rest))
    assert run_manifest(random_model(joint_config), read_manifest(work / "a.csv"), STYLE, print).made == 3
    assert len(read) == 1


def test_the_command_line_takes_a_manifest_and_names_what_failed(work, capsys):
    (work / "a.csv").write_text("photo,audio,output\nphoto.png,speech.wav,1.mp4\nphoto.png,none.wav,2.mp4\n")
    assert main(["--manifest", str(work / "a.csv"), "--crop", "--preview"]) == 1
    assert "1 made, 0 there before, 1 failed" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="--manifest: its lines name the inputs"):
        main(["--manifest", str(work / "a.csv"), "--photo", "x.png"])

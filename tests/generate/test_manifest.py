import dataclasses
import json
from types import SimpleNamespace

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


HEADER = "photo,audio,output\n"
SPREADSHEETS = {
    "semicolons": b"photo;audio;output\np.png;a, b.wav;o.mp4\n",
    "tabs": b"photo\taudio\toutput\np.png\ta, b.wav\to.mp4\n",
    "Excel's first line": b'sep=;\r\nphoto;audio;output\r\np.png;"a, b.wav";o.mp4\r\n',
    "UTF-16 with a mark": 'photo,audio,output\np.png,"a, b.wav",o.mp4\n'.encode("utf-16"),
    "UTF-16 without one": 'photo,audio,output\np.png,"a, b.wav",o.mp4\n'.encode("utf-16-le"),
    "UTF-8 with a mark": b'\xef\xbb\xbfphoto,audio,output\np.png,"a, b.wav",o.mp4\n',
    "Windows line ends": b'photo,audio,output\r\np.png,"a, b.wav",o.mp4\r\n',
    "old Mac line ends": b'photo,audio,output\rp.png,"a, b.wav",o.mp4\r',
    "another case": b'Photo,AUDIO,Output\np.png,"a, b.wav",o.mp4\n',
    "spaces": b'photo, audio , output\np.png, "a, b.wav", o.mp4\n',
    "empty ends": b'photo,audio,output,\r\np.png,"a, b.wav",o.mp4,\r\n,,,\r\n',
    "blank lines": b'\n\nphoto,audio,output\n\np.png,"a, b.wav",o.mp4\n\n',
    "missing ends": b'photo,audio,output,video,face\np.png,"a, b.wav",o.mp4\n',
}


@pytest.mark.parametrize("name", SPREADSHEETS)
def test_whatever_a_spreadsheet_exports_gives_the_same_job(work, name):
    (work / "a.csv").write_bytes(SPREADSHEETS[name])
    (job,) = read_manifest(work / "a.csv")
    assert (job.photo, job.audio, job.output) == (work / "p.png", work / "a, b.wav", work / "o.mp4")
    assert (job.video, job.face, job.aligned) == (None, 1, False)


def test_a_quoted_line_end_belongs_to_its_value_and_is_counted(work):
    (work / "a.csv").write_text(HEADER + 'p.png,"a\nb.wav",o.mp4\np.png,,1.mp4\n')
    with pytest.raises(GenerationError, match=r"a\.csv, line 4, column audio or video: neither is there; give one"):
        read_manifest(work / "a.csv")
    (work / "a.csv").write_text(HEADER + 'p.png,"a\nb.wav",o.mp4\n')
    assert read_manifest(work / "a.csv")[0].audio == work / "a\nb.wav"


@pytest.mark.parametrize(("given", "line_ends"), [("utf-8-sig", "\r\n"), ("utf-16", "\n"), ("utf-8", "\r")])
def test_lines_of_json_have_any_encoding_and_line_ends(work, given, line_ends):
    lines = ['{"photo": "é.png", "audio": "a.wav", "output": "1.mp4", "face": 2}', "", '{"photo": "p", "video": "v"']
    (work / "a.jsonl").write_bytes(line_ends.join([*lines[:2], lines[2] + ', "output": "2.mp4"}']).encode(given))
    first, second = read_manifest(work / "a.jsonl")
    assert (first.photo.name, first.face, second.video) == ("é.png", 2, work / "v")


def test_paths_may_be_absolute_of_the_home_folder_or_above(work, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    (work / "a.csv").write_text(HEADER + "~/p.png,/b/a.wav,../o.mp4\n")
    (job,) = read_manifest(work / "a.csv")
    assert [str(place) for place in (job.photo, job.audio)] == ["/home/me/p.png", "/b/a.wav"]
    assert job.output.resolve() == work.parent.resolve() / "o.mp4"


def lines_of_json(**changes):
    return json.dumps({"photo": "p.png", "audio": "a.wav", "output": "o.mp4"} | changes)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (lines_of_json(audio=None), "line 1, column audio or video: neither is there; give one"),
        (lines_of_json(video="v.mp4"), "line 1, column audio or video: both are there; give one"),
        (lines_of_json(output=""), "line 1, column output: is empty"),
        (lines_of_json(colour=1), "line 1: colour is none of photo, audio, video"),
        (lines_of_json(audio=1), "line 1, column audio: 1 is not text"),
        (lines_of_json(photo=["p.png"]), r'line 1, column photo: \["p\.png"\] is not text'),
        (lines_of_json(photo="p\0"), "line 1, column photo: .* is no file's name"),
        (lines_of_json(output="o" * 5000), "line 1, column output: .* is no file's name .*too long"),
        (lines_of_json(photo="~nobody-here/p.png"), "line 1, column photo: .* is no file's name"),
        (lines_of_json(face="first"), "line 1, column face: 'first' is not a whole number from 1"),
        (lines_of_json(face=0), "line 1, column face: 0 is not a whole number from 1"),
        (lines_of_json(face=True), "line 1, column face: true is not a whole number from 1"),
        (lines_of_json(aligned="perhaps"), "line 1, column aligned: 'perhaps' is none of yes, no"),
        (lines_of_json(points=[1, 2]), r"line 1, column points: \[1, 2\] are not five pairs"),
        (lines_of_json(points="1,2 3,4"), "line 1, column points: points 1,2 3,4: are not five finite points"),
        ("[1]", r"line 1: \[1\] is not an object; give one object per line"),
        ("3", "line 1: 3 is not an object"),
        ("{", r"line 1, column 2: is not JSON .*give one object per line"),
        ("\n{'photo': 1}", "line 2, column 2: is not JSON"),
        (json.dumps([{"photo": "p.png"}], indent=1), "is one JSON value over several lines; give one object per line"),
        ('{"photo": "p", "photo": "q"}', "line 1: photo is there twice"),
        ('{"photo": NaN}', "line 1: NaN is no JSON number"),
        ("[" * 100_000, "line 1: .*recursion"),
        ("", "is empty"),
        ("{}", "has no lines with values"),
        (
            lines_of_json() + "\n" + lines_of_json(output="./o.mp4"),
            r"line 2, column output: './o\.mp4' is written by line 1",
        ),
    ],
)
def test_a_wrong_line_of_json_is_named(work, line, reason):
    (work / "a.jsonl").write_text(line)
    with pytest.raises(GenerationError, match=reason) as refused:
        read_manifest(work / "a.jsonl")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (HEADER + "p.png,a.wav,o.mp4,extra\n", "line 2, column 4: extra is beyond the header's columns; put quotes"),
        ("photo,audio,output,\np.png,a.wav,o.mp4,x\n", "line 2, column 4: x is beyond the header's columns"),
        ("photo,audio,output,extra\n", "line 1, column 4: extra is none of photo, audio, video"),
        ("photo,audio,,output\n", "line 1, column 3: has no name; allowed are photo, audio, video"),
        ("photo,audio,Photo\n", "line 1, column 3: photo is there twice"),
        ("photo,audio\np.png,a.wav\n", "has no column output, or nothing in it; give photo, output"),
        ("photo,output\np.png,o.mp4\n", "has no column audio or video"),
        ("p.png,a.wav,o.mp4\n", r"line 1, column 1: p\.png is none of photo"),
        (HEADER, "has no lines with values"),
        (HEADER + 'p.png,"a.wav,o.mp4\n', "line 2: a quote is not closed; correct the quotes"),
        (HEADER + 'p.png,"a"b.wav,o.mp4\n', "line 2: .* expected after"),
        (HEADER + "p.png,a.wav,o.mp4\n" * 2, r"line 3, column output: 'o\.mp4' is written by line 2 too"),
        (HEADER + "p.png,a.wav," + "o" * 200_000, "line 2: field larger than field limit"),
        (b"photo,audio\np.png,\xe9.wav\n", r"line 2, column 7 \(bytes\): is not UTF-8; save the file as UTF-8"),
        (b"photo,audio\np.png,\0.wav\n", "is a binary file, not text"),
        (b"\x00\x00\x00\x20ftypisom\xff\xfe\x80" * 9, "is a binary file, not text"),
        (b"\n\n ", "is empty"),
    ],
)
def test_a_wrong_place_of_a_table_is_named(work, content, reason):
    (work / "a.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(GenerationError, match=reason) as refused:
        read_manifest(work / "a.csv")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


def test_a_folder_or_another_kind_of_file_is_no_manifest(work):
    (work / "b.csv").mkdir()
    with pytest.raises(GenerationError, match=r"b\.csv: cannot be read \(Is a directory\)"):
        read_manifest(work / "b.csv")
    with pytest.raises(GenerationError, match=r"a\.xlsx: is none of \.csv, \.tsv, \.jsonl"):
        read_manifest(work / "a.xlsx")


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


def test_a_file_drives_by_its_speech_and_by_its_lips_in_consecutive_lines(work, monkeypatch):
    (work / "a.csv").write_text("photo,audio,video,output\np.png,t.mp4,,by_speech.mp4\np.png,,t.mp4,by_lips.mp4\n")
    made = {}
    monkeypatch.setattr(manifest, "read_driver", lambda job, *rest: "lips" if job.video else "speech")

    def make(model, job, style, say, driver, part):
        made[job.output.stem] = driver
        return SimpleNamespace(stopped=False, frames=1)

    monkeypatch.setattr(manifest, "make", make)
    assert run_manifest(None, read_manifest(work / "a.csv"), STYLE, print).made == 2
    assert made == {"by_speech": "speech", "by_lips": "lips"}


@pytest.mark.parametrize("option", [("--photo", "x.png"), ("--face", "2"), ("--aligned",), ("--points", "p.json")])
def test_what_each_line_of_a_manifest_names_is_refused_beside_it(work, option):
    (work / "a.csv").write_text("photo,audio,output\nphoto.png,speech.wav,1.mp4\n")
    with pytest.raises(SystemExit, match=f"{option[0]} beside --manifest"):
        main(["--manifest", str(work / "a.csv"), *option])


def test_the_command_line_takes_a_manifest_and_names_what_failed(work, capsys):
    (work / "a.csv").write_text("photo,audio,output\nphoto.png,speech.wav,1.mp4\nphoto.png,none.wav,2.mp4\n")
    assert main(["--manifest", str(work / "a.csv"), "--crop", "--preview"]) == 1
    assert "1 made, 0 there before, 1 failed" in capsys.readouterr().out

"""The content of shards: counts, and one record as PNG and as mp4 with audio."""

import cv2
import pytest

from data_prep import grid, inspect
from davs_jax.media.video.read import read_clip
from support.preparation import prepare
from support.tiny_data import CLIPS, FACES


def test_counts_and_one_clip_are_shown(clips_folder, tmp_path, capsys):
    assert inspect.main([clips_folder, "--split", "val", "--record", "2", "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for split, count in CLIPS.items():
        assert f"{split}: {count} records" in printed
    assert "word: 4 of 4 classes" in printed
    assert cv2.imread(str(tmp_path / "val-2.png")) is not None
    clip = read_clip(tmp_path / "val-2.mp4")
    assert (len(clip.frames), clip.samples is not None) == (29, True)


def test_one_face_is_shown_as_an_image(faces_folder, tmp_path, capsys):
    assert inspect.main([faces_folder, "--output", str(tmp_path)]) == 0
    assert "identity: 5 of 5 classes" in capsys.readouterr().out
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".png"] * bool(FACES)


def test_any_single_shard_is_shown_before_the_others_are_made(tmp_path, write_video, one_face, capsys):
    sentence = write_video(tmp_path / "in" / "s1" / "bbaf2n.mp4", frames=75)
    sentence.with_suffix(".align").write_text("17000 23000 bin\n23000 28000 blue\n")
    assert prepare(grid, tmp_path / "in", "--shard", "0/1")[0] == 0  # made, but not finished
    (shard,) = (tmp_path / "out").glob("*array_record*")
    assert inspect.main([str(tmp_path / "out")]) == 1
    assert inspect.main([str(shard), "--record", "1", "--output", str(tmp_path)]) == 0
    assert "train-00000-of-00001: 2 records" in capsys.readouterr().out
    assert len(read_clip(tmp_path / "train-00000-of-00001-1.mp4").frames) == 29
    shard.write_bytes(b"")
    assert inspect.main([str(shard)]) == 1
    assert f"{shard}: " in capsys.readouterr().err
    (tmp_path / "out" / "plan.json").unlink()
    assert inspect.main([str(shard)]) == 1
    assert "no plan.json lies beside it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--split", "dev"], "has no split 'dev'"), (["--record", "99"], "has records 0 … 15")],
)
def test_a_missing_split_or_record_is_reported_in_one_sentence(clips_folder, tmp_path, flags, said, capsys):
    assert inspect.main([clips_folder, "--no-counts", "--output", str(tmp_path), *flags]) == 1
    assert said in capsys.readouterr().err
    assert inspect.main([str(tmp_path)]) == 1
    assert "no finished shards" in capsys.readouterr().err

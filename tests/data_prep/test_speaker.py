"""The choice of the speaker where a video shows two people."""

import cv2
import numpy as np
import pytest

from data_prep.clips import Cut, Recording, clip_records
from davs_jax.media.video.read import read_clip
from davs_jax.media.video.write import Writer
from support.recordings import RECORDINGS

GRID = RECORDINGS / "grid"


@pytest.mark.skipif(not GRID.is_dir(), reason=f"real recordings are not there: {GRID}")
@pytest.mark.parametrize("heard", ["large", "small"])
def test_the_speaker_is_the_largest_face_or_with_a_flag_the_one_whose_lips_move(tmp_path, heard):
    large, small = (read_clip(sorted((GRID / name).glob("*.mp4"))[0]) for name in ("s1", "s4"))
    length = 75
    shown = [large.frames[:length], small.frames[:length]]
    shown[heard == "large"] = shown[heard == "large"][:1].repeat(length, 0)
    reduced = [cv2.resize(frame, (288, 230), interpolation=cv2.INTER_AREA) for frame in shown[1]]
    beside = np.pad(np.stack(reduced), ((0, 0), (30, 28), (0, 0), (0, 0)))
    samples = {"large": large, "small": small}[heard].samples[: length * 640]
    with Writer(tmp_path / "two.mp4", samples=samples, threads=1) as writer:
        for frame in np.concatenate([shown[0], beside], 2):
            writer.write(frame)

    eyes = {}
    for speaker in ("central", "lips"):
        recording = Recording(tmp_path / "two.mp4", "two.mp4", [Cut("two", 0)])
        (record,) = clip_records(recording, {"image_size": 64, "speaker": speaker})
        eyes[speaker] = float(record["measures"].partition('"eye_distance": ')[2].partition(",")[0])
    assert eyes["central"] > 40
    assert (eyes["lips"] > 40) == (heard == "large")

import dataclasses
import json

import numpy as np
import pytest

from davs_jax.evaluate.report import record as records
from davs_jax.evaluate.report.page import Media, summary, write_report


def figure(key: str, value: float) -> dict:
    return {key: value, "low": value - 0.05, "high": value + 0.05}


@pytest.fixture
def record() -> dict:
    variants = ("audio", "video", "photo")
    names = ("psnr", "ssim", "mouth_psnr", "mouth_l1", "jitter", "identity", "legacy_psnr", "read")
    ranks = {"r1": 0.25, "r5": 0.5, "r10": 0.75, "r50": 1.0, "median_rank": 3.0, "mean_rank": 7.5, "gallery": 80}
    probe = figure("accuracy", 0.31) | {"chance": 0.1, "clips": 80, "classes": 10}
    probe["mlp"] = probe | figure("accuracy", 0.41)
    swapped = figure("accuracy", 0.65) | {"real": 0.95, "other": 0.05, "chance": 0.125}
    return {
        "evaluated": {
            "checkpoint": "runs/<joint>",
            "data": "clips",
            "split": "test",
            "words": 10,
            "intervals": "resampling clips",
        },
        "clips": 80,
        "figures": {
            "accuracy": {
                name: figure("accuracy", 0.625) | {"top5": 0.8, "top5_low": 0.75, "top5_high": 0.85}
                for name in ("audio", "video", "both")
            },
            "words": {"<THE>": {"clips": 8, "audio": 1.0, "video": 0.5, "both": 1.0, "taken_for": "THEY"}},
            "retrieval": {"audio_to_video": ranks, "video_to_audio": ranks},
            "sync": {"offsets": {"-1": 20, "0": 60, "1": 0}, "distance": 0.5, "confidence": 0.25}
            | dict.fromkeys(("exact", "within_1"), figure("accuracy", 0.45) | {"chance": 0.09}),
            "lip_sync": {
                variant: {
                    driver: {"distance": 8.125, "confidence": 2.5, "offset": -0.25, "within_1": 0.9}
                    | {"clips": 7, "windows": 168, "pairs": 3000, "padded": 2208}
                    for driver in ("audio", "real")
                }
                for variant in ("whole-frame", "valid-only")
            },
            "probes": {"word_from_pid": probe, "person_from_video_wid": probe, "word_from_audio_wid": probe},
            "face_probes": {"person_from_video_wid": probe},
            "swap": {"clips": 40, "pairs": 200} | dict.fromkeys(("person", "word_video", "word_audio"), swapped),
            "pictures": {v: {n: figure("mean", 0.5) for n in names} for v in variants},
            "landmarks": {v: {"mean": 0.125, "frames": 5, "missed": 3} for v in variants[1:]}
            | {"audio": {"mean": None, "frames": 0, "missed": 8}}
            | {"measure": {"size": "64 px", "detector": "MTCNN", "divisor": "eyes", "clips": 7}},
            "lips": {v: figure("correlation", 0.9) | {"amplitude": 1.125, "distance": 0.0625} for v in variants}
            | {"measure": {"detector": "a mesh", "second": "MTCNN", "apart": 0.031, "clips": 7}},
            "perceptual": {v: {"lpips": figure("mean", 0.25), "fid": 12.345} for v in variants}
            | {"measure": {"lpips": "LPIPS so", "fid": "FID so", "clips": 7, "pictures": 49}},
            "activity": {v: figure("correlation", 0.7) | {"amplitude": 0.25} for v in variants},
            "motion": {v: figure("correlation", 0.8) | {"amplitude": 0.5} for v in (*variants, "real")}
            | {"ruler": {"trusted": True, "clips": 80}},
        },
        "skipped": {"word_from_maps": "the weights have no <person encoder>"},
        "config": {"seed": 0},
    }


def page_of(record: dict, folder, **media) -> str:
    """The page of a report.json."""
    return write_report(records.decoded(records.Report, record), Media(**media), folder / "report").read_text()


def test_the_page_shows_every_figure_with_its_interval_and_chance(record, tmp_path):
    page = page_of(record, tmp_path)
    assert page.count("62.5 %<small>[57.5 %, 67.5 %]</small>") == 3
    assert page.count("<td>8.125</td><td>2.500</td><td>-0.25</td><td>90.0 %</td><td>7</td><td>168</td>") == 4
    assert "<th>-1</th><th>0</th><th>+1</th></tr><tr><td>share of the clips</td><td>25 %</td><td>75 %</td>" in page
    assert page.count("80.0 %<small>[75.0 %, 85.0 %]</small>") == 3
    assert "<td>&lt;THE&gt;</td><td>8</td><td>100.0 %</td><td>50.0 %</td><td>100.0 %</td><td>THEY</td>" in page
    assert "41.0 %<small>[36.0 %, 46.0 %]</small>" in page
    assert page.count("<td>95.0 %</td><td>65.0 %<small>[60.0 %, 70.0 %]</small></td><td>5.0 %</td><td>12.5 %</td>") == 3
    assert "31.0 %<small>[26.0 %, 36.0 %]</small>" in page
    assert "Guessing reaches 10.0 %" in page
    assert "<td>0.80<small>[0.75, 0.85]</small></td><td>0.50</td>" in page
    assert page.count("<td>0.70<small>[0.65, 0.75]</small></td><td>0.25</td>") == 3
    assert page.count("<td>0.125</td><td>5</td><td>3</td>") == 2
    assert "<td>–</td><td>0</td><td>8</td>" in page
    assert page.count("<td>0.90<small>[0.85, 0.95]</small></td><td>1.12</td><td>0.0625</td>") == 3
    assert "a mesh; on real frames its mouth corners and those of MTCNN are 0.031 apart" in page
    assert page.count("<td>0.250<small>[0.200, 0.300]</small></td><td>12.35</td>") == 3
    assert "LPIPS so; FID so. Every fourth frame of 7 clips, 49 images a row" in page
    assert "80 identity images" in page
    facts = dict.fromkeys(each.name for each in dataclasses.fields(records.Evaluated))
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == record | {
        "evaluated": facts | record["evaluated"]
    }


def test_the_page_says_what_each_probe_should_find(record, tmp_path):
    page = page_of(record, tmp_path)
    assert "<td>word from person vectors</td><td>at chance</td>" in page
    assert "<td>person from word vectors of the video</td><td>at chance</td>" in page
    assert "<td>word from word vectors of the audio</td><td>high</td>" in page


def test_the_page_shows_a_control_beside_each_probe_and_swap(record, tmp_path):
    assert "control" not in page_of(record, tmp_path)
    probe = figure("accuracy", 0.99) | {"mlp": figure("accuracy", 0.88)}
    record["figures"]["control"] = {"probes": {"word_from_pid": probe}, "swap": {"person": figure("accuracy", 0.77)}}
    page = page_of(record, tmp_path)
    line, small, swapped = (f"{v}.0 %<small>[{v - 5}.0 %, {v + 5}.0 %]</small>" for v in (99, 88, 77))
    own = (f"{v}.0 %<small>[{v - 5}.0 %, {v + 5}.0 %]</small>" for v in (31, 41))
    cells = "".join(f"<td>{cell}</td>" for pair in zip(own, (line, small), strict=True) for cell in pair)
    assert f"<td>at chance</td>{cells}<td>10.0 %</td>" in page
    assert f"<td>{swapped}</td><td>5.0 %</td><td>12.5 %</td>" in page
    # Twice three probes and two swaps that the control lacks, and a landmark.
    assert page.count("<td>–</td>") == 9


def test_names_cannot_break_the_page(record, tmp_path):
    page = page_of(record, tmp_path)
    assert "&lt;joint&gt;" in page
    assert "no &lt;person encoder&gt;" in page
    assert "<joint>" not in page


def test_an_estimator_that_is_not_reliable_brings_a_warning(record, tmp_path):
    assert "Not reliable" not in page_of(record, tmp_path)
    record["figures"]["motion"]["ruler"]["trusted"] = False
    assert "Not reliable" in page_of(record, tmp_path)


def test_parts_that_were_not_measured_are_not_shown(record, tmp_path):
    record["figures"] = {"retrieval": record["figures"]["retrieval"]}
    page = page_of(record, tmp_path)
    assert "<h2>Retrieval</h2>" in page
    for title in ("Lip reading", "Generated frames", "Mouth motion", "Disentanglement", "Examples", "Training"):
        assert f"<h2>{title}" not in page
    assert summary(records.decoded(records.Report, record).figures) == "R@1, audio → video  25.0 %"


def test_clips_without_words_have_their_page(record, tmp_path):
    record["evaluated"]["words"] = 0
    for name in ("accuracy", "words"):
        del record["figures"][name]
    page = page_of(record, tmp_path)
    assert "<h2>Generated frames" in page
    assert "guessing" not in page.partition("<h2>Generated frames")[2].partition("<h2>")[0]


def test_images_and_videos_are_embedded(record, tmp_path):
    page = page_of(record, tmp_path, sheet=np.zeros((4, 4, 3), np.uint8), videos={"examples": b"mp4", "best": b"mp5"})
    assert 'src="data:video/mp4;base64,bXA0"' in page
    assert "The best clips, by how much" in page
    assert (tmp_path / "report" / "best.mp4").read_bytes() == b"mp5"
    assert 'src="data:image/png;base64,iVBOR' in page

import json

import numpy as np
import pytest

from davs_jax.report import summary, write_report


def figure(key: str, value: float) -> dict:
    return {key: value, "low": value - 0.05, "high": value + 0.05}


@pytest.fixture
def record() -> dict:
    variants = ("audio", "video", "photo")
    names = ("psnr", "ssim", "mouth_psnr", "mouth_l1", "read")
    ranks = {"r1": 0.25, "r5": 0.5, "r10": 0.75, "r50": 1.0, "median_rank": 3.0, "mean_rank": 7.5, "gallery": 80}
    probe = figure("accuracy", 0.31) | {"chance": 0.1, "clips": 80, "classes": 10}
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
            "accuracy": {name: figure("accuracy", 0.625) for name in ("audio", "video", "both")},
            "retrieval": {"audio_to_video": ranks, "video_to_audio": ranks},
            "probes": {"word_from_pid": probe, "person_from_video_wid": probe, "word_from_audio_wid": probe},
            "face_probes": {"person_from_video_wid": probe},
            "pictures": {v: {n: figure("mean", 0.5) for n in names} for v in variants},
            "motion": {v: figure("correlation", 0.8) | {"amplitude": 0.5} for v in (*variants, "real")}
            | {"ruler": {"trusted": True, "clips": 80}},
        },
        "skipped": {"word_from_maps": "the weights have no <person encoder>"},
        "config": {"seed": 0},
    }


def page_of(record: dict, folder, **media) -> str:
    return write_report(folder / "report", record, None, media).read_text()


def test_every_figure_stands_in_the_page_with_its_interval_and_chance(record, tmp_path):
    page = page_of(record, tmp_path)
    assert page.count("62.5 %<small>[57.5 %, 67.5 %]</small>") == 3
    assert "31.0 %<small>[26.0 %, 36.0 %]</small>" in page
    assert "Guessing reaches 10.0 %" in page
    assert "<td>0.80<small>[0.75, 0.85]</small></td><td>0.50</td>" in page
    assert "80 identity images" in page
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == record


def test_what_each_probe_should_find_is_said(record, tmp_path):
    page = page_of(record, tmp_path)
    assert "<td>word from person vectors</td><td>at chance</td>" in page
    assert "<td>person from word vectors of the picture</td><td>at chance</td>" in page
    assert "<td>word from word vectors of the sound</td><td>high</td>" in page


def test_names_cannot_break_the_page(record, tmp_path):
    page = page_of(record, tmp_path)
    assert "&lt;joint&gt;" in page
    assert "no &lt;person encoder&gt;" in page
    assert "<joint>" not in page


def test_a_ruler_below_its_mark_brings_a_warning(record, tmp_path):
    assert "Not to be trusted" not in page_of(record, tmp_path)
    record["figures"]["motion"]["ruler"]["trusted"] = False
    assert "Not to be trusted" in page_of(record, tmp_path)


def test_parts_that_were_not_measured_are_not_shown(record, tmp_path):
    record["figures"] = {"retrieval": record["figures"]["retrieval"]}
    page = page_of(record, tmp_path)
    assert "<h2>Retrieval</h2>" in page
    for title in ("Lip reading", "Generated frames", "Mouth motion", "Who is in the words", "See and hear", "Training"):
        assert f"<h2>{title}" not in page
    assert summary(record).split("\n") == [f"{'R@1, sound → picture':<48}{'25.0 %':>10}"]


def test_pictures_and_video_are_embedded(record, tmp_path):
    page = page_of(record, tmp_path, sheet=np.zeros((4, 4, 3), np.uint8), video=b"mp4")
    assert 'src="data:video/mp4;base64,bXA0"' in page
    assert 'src="data:image/png;base64,iVBOR' in page

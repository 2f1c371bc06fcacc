import json
import warnings

import cv2
import numpy as np

from davs_jax.display import plots


def test_a_sheet_shows_every_image_enlarged_and_fills_short_rows_with_white():
    images = [np.full((32, 32, 3), shade, np.uint8) for shade in (10, 90, 170)]
    sheet = plots.sheet([images[:2], images[2:]], side=64)
    assert sheet.shape == (2 * 66, 2 * 66, 3)
    centres = sheet[32::66, 32::66, 0]
    assert centres.tolist() == [[10, 90], [170, 255]]


def test_png_keeps_colours():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    read = cv2.imdecode(np.frombuffer(plots.png(image), np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(read, image)


def test_training_curves_survive_a_line_cut_by_a_kill(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text("\n".join(json.dumps({"step": i, "loss/l1": 1.0 / (i + 1)}) for i in range(4)) + '\n{"step": 4, "lo')
    assert plots.training(log).startswith(b"\x89PNG")


def test_a_log_without_metrics_gives_no_plot(tmp_path):
    log = tmp_path / "metrics.jsonl"
    log.write_text('{"step": 1}\n{"step": 2, "gradient_norm/decoder": 1.0}\n')
    assert plots.training(log) is None


def test_confusions_of_any_vocabulary_make_a_plot():
    for words in (3, 40):
        counts = dict.fromkeys(("audio", "video"), np.eye(words, dtype=int))
        assert plots.confusions(counts, [f"W{i}" for i in range(words)]).startswith(b"\x89PNG")


def test_a_scatter_plot_names_every_arm():
    figures = {"from video": {"joint": [(90.0, 20.0), (92.0, 25.0)], "video": [(10.0, 99.0)]}, "from audio": {}}
    plain, guessed = (plots.scatter(figures, "words, %", "persons, %", guess) for guess in (None, 12.5))
    assert plain.startswith(b"\x89PNG") and guessed.startswith(b"\x89PNG") and plain != guessed


def test_seeds_make_a_plot_even_where_an_arm_has_none():
    long = "a figure with so long a name that it has to be broken"
    figures = {"words, %": {"video": [10.0, 12.0], "joint": []}, long: {"video": [0.2], "joint": [0.3, 0.1]}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Matplotlib warns where plots find no room
        assert plots.seeds(figures).startswith(b"\x89PNG")

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from configs.ablations import synthetic
from davs_jax.ablations import table
from davs_jax.ablations.answers import QUESTIONS, Comparison, answer, spread


def by_seed(*values):
    return {seed: {"read/video": value} for seed, value in enumerate(values)}


def ask(ours, theirs, claim=1):
    return answer({"new": by_seed(*ours), "old": by_seed(*theirs)}, Comparison("read/video", "new", "old", claim))


def test_differences_are_paired_by_seed_and_their_interval_is_students():
    ours, theirs = [0.5, 0.7, 0.9], [0.4, 0.5, 0.8]
    found, expected = ask(ours, theirs), stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert found.difference == pytest.approx(np.mean(ours) - np.mean(theirs))
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert found.seeds == 3


@pytest.mark.parametrize(
    ("ours", "theirs", "claim", "verdict"),
    [
        ([0.50, 0.60, 0.71], [0.40, 0.50, 0.60], 1, "yes"),
        ([0.50, 0.60, 0.71], [0.40, 0.50, 0.60], -1, "opposite"),
        ([0.50, 0.60, 0.71], [0.40, 0.50, 0.60], 0, "higher"),
        ([0.50, 0.40, 0.60], [0.40, 0.50, 0.60], 1, "undecided"),
        ([0.50, 0.40, 0.60], [0.40, 0.50, 0.60], 0, "no change shown"),
        ([0.90], [0.10], 1, "undecided: one seed"),
    ],
)
def test_a_verdict_is_given_only_where_the_interval_leaves_zero(ours, theirs, claim, verdict):
    assert ask(ours, theirs, claim).verdict == verdict


def test_a_seed_that_one_arm_lacks_is_not_compared():
    figures = {"new": by_seed(0.5, 0.6), "old": {1: {"read/video": 0.5}, 2: {"read/video": 0.1}}}
    found = answer(figures, Comparison("read/video", "new", "old", 1))
    assert (found.seeds, found.difference) == (1, pytest.approx(0.1))
    assert answer(figures, Comparison("match/r1", "new", "old", 1)) is None


def test_the_spread_of_one_seed_is_unknown():
    mean, deviation, seeds = spread({"new": by_seed(0.5)}, "new", "read/video")
    assert (mean, seeds) == (0.5, 1) and math.isnan(deviation)


def test_the_questions_ask_for_arms_that_exist():
    asked = {arm for parts in QUESTIONS.values() for part in parts for arm in (part.arm, part.against)}
    assert asked <= set(synthetic.ARMS)


def test_a_partial_table_says_how_much_is_done_and_what_failed(tmp_path):
    run = {"steps": 4, "steps_per_second": 2.0, "hours": 0.5}
    records = [
        {"arm": "video", "seed": 0, "figures": {"read/video": 0.5}, **run},
        {"arm": "joint", "seed": 0, "figures": {"read/video": 0.6, "read/audio": 0.7}, **run},
        {"arm": "joint-both", "seed": 0, "failed": "step 3: loss/total is nan", **run},
    ]
    table.write(tmp_path, {"video": "lips", "joint": "both", "joint-both": "more"}, [0, 1, 2], records)
    text = (tmp_path / "ablations.md").read_text()
    assert "3 of 9 runs are done, in 1.5 hours" in text
    assert "Did not train: joint-both, seed 0: step 3: loss/total is nan." in text
    assert "| word accuracy, video | joint | video | undecided: one seed | +10.0 points | – | 1 |" in text
    assert "| arm | word accuracy, video | word accuracy, audio |\n" in text  # and no empty column
    assert "undecided: one seed" in (tmp_path / "ablations.html").read_text()
    assert (tmp_path / "read.png").read_bytes().startswith(b"\x89PNG")


def test_arms_that_generate_add_no_column_to_those_that_read(tmp_path):
    run = {"seed": 0, "steps": 4, "steps_per_second": 2.0, "hours": 0.5}
    records = [
        {"arm": "video", "figures": {"read/video": 0.5}, **run},
        {"arm": "talk", "figures": {"read/audio": 0.5, "picture/psnr_audio": 30.0}, **run},
    ]
    table.write(tmp_path, {"video": "lips", "talk": "a face"}, [0], records)
    text = (tmp_path / "ablations.md").read_text()
    assert "| arm | word accuracy, video |\n" in text
    assert "| arm | PSNR, dB |\n" in text


def test_every_figure_that_a_question_asks_for_has_a_name_in_words():
    for asked in itertools.chain(*QUESTIONS.values()):
        assert "/" not in table._words(asked.figure)

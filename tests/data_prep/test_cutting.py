"""Where clips lie: around words, between them, within shots."""

import itertools

import pytest

from data_prep import cutting
from data_prep.cutting import Placed, Word

WHOLE = [range(300)]


def spoken(text, first, last, line=2):
    """A word from frame `first` to frame `last`."""
    return Word(text, first / 25, last / 25, line)


def starts(placed):
    return [(clip.start, clip.word and clip.word.text) for clip in placed]


def test_a_word_is_in_the_middle_of_its_clip():
    placed, lost = cutting.around_words([spoken("b", 195, 205), spoken("a", 95, 105)], WHOLE, 5)
    assert starts(placed) == [(86, "a"), (186, "b")]
    assert [abs(clip.off_middle) <= 0.5 for clip in placed] == [True, True]
    assert lost == []


@pytest.mark.parametrize(("off_middle", "kept"), [(4.4, []), (4.5, [(0, "a")])])
def test_at_an_edge_a_word_may_be_off_the_middle_by_so_much(off_middle, kept):
    placed, lost = cutting.around_words([spoken("a", 8, 12)], WHOLE, off_middle)
    assert starts(placed) == kept
    assert [one.reason for one in lost] == [] or "4.5 frames off the middle of its clip, 4.4 may be" in lost[0].reason


def test_of_words_in_the_same_frames_the_most_central_is_the_label():
    words = [spoken("first", 8, 14), spoken("middle", 12, 18), spoken("last", 15, 22)]
    placed, lost = cutting.around_words(words, [range(31)], 5)
    assert starts(placed) == [(1, "middle")]
    assert {one.word.text for one in lost} == {"first", "last"}
    assert all("which is nearer to the middle" in one.reason for one in lost)


def test_words_farther_apart_have_clips_that_overlap():
    placed, lost = cutting.around_words([spoken("a", 98, 102), spoken("b", 104, 108)], WHOLE, 5)
    assert starts(placed) == [(86, "a"), (92, "b")]
    assert not lost


def test_no_clip_crosses_a_border_and_words_of_a_short_shot_have_none():
    shots = [range(100), range(100, 120), range(120, 200)]
    words = [spoken("a", 94, 98), spoken("b", 108, 112), spoken("c", 122, 126), spoken("d", 500, 505)]
    placed, lost = cutting.around_words(words, shots, 14)
    assert starts(placed) == [(71, "a"), (120, "c")]
    reasons = {one.word.text: one.reason for one in lost}
    assert reasons["b"] == "its shot has 20 frames, 29 are needed"
    assert reasons["d"] == "its middle is at frame 502.5, the recording's usable frames end at 200"


def test_stretches_without_a_word_are_filled_and_no_frame_is_in_two_clips():
    filled = cutting.fill([Placed(86, spoken("a", 98, 102))], [range(150), range(150, 170), range(170, 230)])
    assert starts(filled) == [(7, None), (50, None), (86, "a"), (118, None), (171, None), (201, None)]
    assert all(one.start + 29 <= after.start for one, after in itertools.pairwise(filled))


@pytest.mark.parametrize("length", [28, 29, 30, 57, 58, 59, 100, 873])
def test_consecutive_clips_stay_within_their_stretch(length):
    found = [cutting.first_frame(middle) for middle in cutting.consecutive(range(7, 7 + length))]
    assert len(found) == length // 29
    assert all(7 <= start <= 7 + length - 29 for start in found)
    assert all(after - one >= 29 for one, after in itertools.pairwise(found))

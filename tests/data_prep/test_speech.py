"""Speech by eSpeak NG, with the time of every phoneme, always the same for the same text and voice."""

import itertools
import sys

import numpy as np
import pytest

pytest.importorskip("espeakng_loader", reason="needs the extra: pip install 'davs_jax[synthetic]'")

from data_prep.synthetic.people import LANGUAGES, MENS_VOICES, WOMENS_VOICES
from data_prep.synthetic.speech import SpeechError, Voice, say


def loudness(samples: np.ndarray, start: float, end: float) -> float:
    return float(np.sqrt(np.mean(samples[round(start * 16_000) : round(end * 16_000)] ** 2)))


def test_every_phoneme_has_its_time_and_word():
    samples, phonemes = say("family people", Voice("en-us+m3"))
    assert "".join(p.symbol.strip("ˈˌ") for p in phonemes) == "fæmɪlipiːpəl"
    assert [p.word for p in phonemes] == [0] * 6 + [1] * 4
    assert all(first.end <= second.start for first, second in itertools.pairwise(phonemes))
    assert phonemes[-1].end <= len(samples) / 16_000 and samples.dtype == np.float32


def test_the_times_are_those_of_the_audio():
    samples, phonemes = say("family", Voice("en-us+m3"))
    level = {p.symbol: loudness(samples, p.start, p.end) for p in phonemes}
    assert level["ˈæ"] > 1.5 * level["m"] > 1.5 * level["f"] > 0


@pytest.mark.parametrize("name", ["en-us+f3", "en+klatt3"])
def test_earlier_speech_changes_nothing(name):
    first, _ = say("about", Voice(name))
    say("yesterday afternoon", Voice("en+m1", rate=120))
    again, _ = say("about", Voice(name))
    np.testing.assert_array_equal(first, again)


def pitch(samples: np.ndarray) -> float:
    """Hz, by the first strong peak of the autocorrelation of the middle 100 ms."""
    middle = samples[len(samples) // 2 - 800 : len(samples) // 2 + 800]
    same = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    lags = slice(16_000 // 400, 16_000 // 50)
    return 16_000 / (lags.start + same[lags].argmax())


def test_rate_and_pitch_are_obeyed():
    slow, _ = say("yesterday", Voice("en-us", rate=100))
    quick, _ = say("yesterday", Voice("en-us", rate=220))
    assert len(slow) > 1.5 * len(quick)
    low, _ = say("aah", Voice("en-us", pitch=10, range=0))
    high, _ = say("aah", Voice("en-us", pitch=90, range=0))
    assert pitch(high) > 1.3 * pitch(low)


def test_every_voice_of_the_corpus_exists():
    for name in [f"{language}+m1" for language in LANGUAGES] + [
        f"en+{variant}" for variant in WOMENS_VOICES + MENS_VOICES
    ]:
        assert len(say("a", Voice(name))[0])


@pytest.mark.parametrize("name", ["en-gb", "en-us+nobody", "xx"])
def test_an_unknown_voice_is_an_error_though_espeak_itself_uses_another(name):
    with pytest.raises(SpeechError, match=f"no voice '{name.replace('+', '.')}'"):
        say("about", Voice(name))


@pytest.mark.parametrize("text", ["", " ", "..."])
def test_nothing_to_say_is_an_error(text):
    with pytest.raises(SpeechError, match="nothing to say"):
        say(text, Voice("en"))


def test_missing_voices_are_an_error_where_espeak_itself_would_end_the_program(monkeypatch, tmp_path):
    monkeypatch.setattr("espeakng_loader.get_data_path", lambda: str(tmp_path / "gone"))
    with pytest.raises(SpeechError, match="gone; reinstall"):
        say("about", Voice("en"))


def test_without_espeak_the_error_tells_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SpeechError, match=r"pip install 'davs_jax\[synthetic\]'"):
        say("about", Voice("en"))

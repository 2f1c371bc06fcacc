"""Speech synthesis with the time of every phoneme, by eSpeak NG through ctypes.

The wheel `espeakng-loader` contains the library and its voices (optional extra `synthetic`; it is GPL-3).
"""

import ctypes
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from davs_jax.constants import SAMPLE_RATE
from davs_jax.errors import DavsError

_SYNCHRONOUS, _UTF8 = 2, 1  # output of espeak_Initialize, flag of espeak_Synth
_OPTIONS = 1 | 2 | 0x8000  # of espeak_Initialize: phoneme events, in IPA; return errors, do not exit
_RATE, _PITCH, _RANGE = 1, 3, 4  # parameters of espeak_SetParameter
_END, _WORD_EVENT, _PHONEME_EVENT = 0, 1, 7  # event types


class SpeechError(DavsError):
    """eSpeak NG is missing, or cannot speak a text with a voice."""


@dataclass(frozen=True)
class Voice:
    """A voice of eSpeak NG."""

    name: str  # language, or language+variant: "en-us", "en-gb-x-rp+f3"
    rate: int = 160  # words per minute, 80…450
    pitch: int = 50  # 0…99
    range: int = 50  # variation of the pitch, 0…99: 0 is monotone


@dataclass(frozen=True)
class Phoneme:
    """A phoneme and its time."""

    symbol: str  # IPA with eSpeak's stress and length marks
    start: float  # s
    end: float
    word: int  # position of its word in the text


class _Identity(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):  # espeak_EVENT of speak_lib.h
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Identity),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def say(text: str, voice: Voice) -> tuple[np.ndarray, list[Phoneme]]:
    """Speaks a text; the same text and voice always give the same samples.

    Args:
      text: English words.

    Returns:
      samples, float32 `[N]` in −1…1 at 16 kHz, and the phonemes in their order, without the pauses.

    Raises:
      SpeechError: eSpeak NG is not installed, the voice is unknown, or the text contains nothing to say.
    """
    pieces = []  # samples
    marks, words = [], []  # (start in samples, symbol); (start in samples, position in the text)

    def receive(samples, count, events) -> int:
        if samples and count:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for event in _until_end(events):
            if event.type == _PHONEME_EVENT:
                marks.append((event.sample, event.id.string.decode("utf-8", "ignore")))
            elif event.type == _WORD_EVENT:
                words.append((event.sample, event.text_position - 1))
        return 0

    with _fresh_library() as (library, rate):
        callback = _Callback(receive)
        library.espeak_SetSynthCallback(callback)
        _set_voice(library, voice.name)
        for parameter, value in ((_RATE, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.range)):
            _check(library.espeak_SetParameter(parameter, value, 0), f"eSpeak NG refuses a value of {voice}")
        encoded = text.encode()
        synthesised = library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None)
        _check(synthesised or library.espeak_Synchronize(), f"eSpeak NG cannot speak {text!r}")
    if not any(symbol for _, symbol in marks):
        raise SpeechError(f"there is nothing to say in {text!r}", "give English words")
    samples = np.concatenate(pieces).astype(np.float32) / 32_768
    samples = resample_poly(samples, SAMPLE_RATE, rate).astype(np.float32)
    return samples, _phonemes(text, marks, words, rate)


def _phonemes(text: str, marks: list, words: list, rate: int) -> list[Phoneme]:
    found = []
    for (start, symbol), (end, _) in itertools.pairwise(marks):  # the last mark is the final pause
        if symbol:
            place = max(at for begun, at in words if begun <= start)
            found.append(Phoneme(symbol, start / rate, end / rate, text[:place].count(" ")))
    return found


def _until_end(events) -> Iterator[_Event]:
    index = 0
    while events[index].type != _END:
        yield events[index]
        index += 1


@contextmanager
def _fresh_library():
    """Loads eSpeak NG, yields (library, its sample rate), and unloads it.

    The library has hidden state (the phase of the pitch's flutter, random numbers) that no call resets, so its output
    would depend on earlier calls. Loading it again takes 5 ms.
    """
    loader = _loader()
    library, data = ctypes.CDLL(loader.get_library_path()), loader.get_data_path()
    try:
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _OPTIONS)
        if rate <= 0:
            remedy = "reinstall espeakng-loader, in a folder whose path is shorter than 160 characters"
            raise SpeechError(f"eSpeak NG cannot use its voices in {data}", remedy)
        library.espeak_ng_SetRandSeed(1)
        yield library, rate
        library.espeak_Terminate()
    finally:
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))


def _loader():
    try:
        import espeakng_loader
    except ImportError as error:
        install = "pip install 'davs_jax[synthetic]'"
        raise SpeechError("the synthetic corpus needs eSpeak NG", f"install it with: {install}") from error
    return espeakng_loader


def _set_voice(library, name: str) -> None:
    status = library.espeak_SetVoiceByName(name.encode())
    _, plus, variant = name.partition("+")
    if plus and not (Path(_loader().get_data_path()) / "voices" / "!v" / variant).is_file():
        status = 2  # eSpeak NG silently ignores an unknown variant
    _check(status, f"eSpeak NG has no voice {name!r}", "examples: en-us, en-gb-x-rp+f3")


def _check(status: int, reason: str, remedy: str = "") -> None:
    if status:
        raise SpeechError(f"{reason} (status {status})", remedy)

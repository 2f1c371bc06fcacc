"""Checks before the heavy work: output, codecs, disk space and audio."""

import shutil
from pathlib import Path

import av
import numpy as np

from davs_jax.constants import SAMPLE_RATE
from davs_jax.generate.drivers import Driver, Recording
from davs_jax.generate.errors import GenerationError
from davs_jax.media.video.sinks import check_name
from davs_jax.media.video.tracks import SILENT
from davs_jax.media.video.write import media_errors

STEADY = 6.0  # dB between loud and quiet parts; speech, with its pauses, has 20 or more
CLIPPED = 3.0  # dBFS; louder parts lose their peaks, as where a file of floats has the scale of integers
WORD = 0.2  # s; shorter audio holds no word
SHORTEST = 2.0  # s; shorter audio is not called steady
CODECS = {".mp4": ("libx264", "aac"), ".gif": ("gif",)}
# Bytes per pixel of one finished frame, upper estimates: x264 at this quality with mostly still images; GIF; PNG.
BYTES_PER_PIXEL = {".mp4": 0.1, ".gif": 0.5, "": 2.0}
SPARE = 50e6  # bytes that stay free on the disk


def make_room(output: Path) -> None:
    """Makes the output's folder.

    Raises:
      MediaError: the output's name has no known format, or its folder cannot be made.
    """
    check_name(output)
    with media_errors(output, "written"):
        output.parent.mkdir(parents=True, exist_ok=True)


def check(driver: Driver, output: Path, frames: int, height: int, width: int) -> list[str]:
    """Checks codecs, disk space and audio.

    Args:
      frames, height, width: of the result.

    Returns:
      warnings, a sentence each.

    Raises:
      GenerationError: a codec, disk space or audible speech is missing.
    """
    kind = output.suffix.lower()
    for codec in CODECS.get(kind, ()):
        try:
            av.Codec(codec, "w")
        except ValueError as error:
            raise GenerationError(
                f"{output}: this PyAV was built without {codec}", "pip install --force-reinstall --only-binary av av"
            ) from error
    _check_disk(output, BYTES_PER_PIXEL[kind] * frames * height * width)
    return _check_audio(driver) if isinstance(driver, Recording) else []


def _check_disk(output: Path, wanted: float) -> None:
    folder = output.absolute().parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < wanted + SPARE:
        raise GenerationError(
            f"{output}: may need {(wanted + SPARE) / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free in {folder}",
            "make room, or write elsewhere",
        )


def _check_audio(driver: Recording) -> list[str]:
    quiet, loud = np.percentile(driver.levels, (10, 95))
    loudest = np.sort(driver.levels)[-round(WORD / 0.02) :][0]  # of a word, not of a click
    if loudest < SILENT:
        raise GenerationError(
            f"{driver.path}: is silent throughout ({loudest:.0f} dBFS at its loudest)",
            "give a file with audible speech",
        )
    if (peak := driver.levels.max()) > CLIPPED:
        return [f"{driver.path}: is {peak:.0f} dB above full scale, and its audio is clipped; save it with 16 bits"]
    if len(driver.levels) * 0.02 < WORD:
        return [f"{driver.path}: lasts {driver.length / SAMPLE_RATE:.2f} s, too short for a word"]
    if loud - quiet < STEADY and len(driver.levels) * 0.02 > SHORTEST:
        return [
            f"{driver.path}: sounds steady ({loud - quiet:.0f} dB between loud and quiet), like a hum or noise, not "
            "like speech; the mouth may not move"
        ]
    return []

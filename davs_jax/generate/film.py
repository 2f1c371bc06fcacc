"""The talking face as a finished file: mp4, GIF or PNG folder, alone or beside its driver."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from davs_jax.display import plots
from davs_jax.display.progress import progress
from davs_jax.generate.ahead import Stages
from davs_jax.generate.drivers import Driver
from davs_jax.generate.talk import Paster, Source, shots, steadied
from davs_jax.inference import Davs
from davs_jax.media.faces.steady import Steady
from davs_jax.media.images import shrink
from davs_jax.media.photo import Photo, reduced
from davs_jax.media.video.sinks import open_sink
from davs_jax.provenance.credentials import METADATA
from davs_jax.provenance.mark import marked

LONGEST = 1920  # pixels of a finished video on its longer side: what every player decodes
SHEET_ROWS, SHEET_COLUMNS, SHEET_SIDE = 3, 8, 256


@dataclass(frozen=True)
class Film:
    """What was written.

    Attributes:
      frames: how many.
      sheet: uint8 `[h, w, 3]`: the source, then frames evenly spread over the video.
      stages: where the time went.
      steady: how much flicker there was before and after, None where nothing was steadied.
      stopped: by Ctrl-C (or SIGTERM), before the driver's end.
    """

    frames: int
    sheet: np.ndarray
    stages: Stages
    steady: Steady | None
    stopped: bool


def write_film(
    model: Davs,
    source: Source,
    driver: Driver,
    output: Path,
    crop: bool = False,
    beside: bool = False,
    steady: bool = True,
    longest: int = LONGEST,
    limit: int | None = None,
    mark: bool = False,
) -> Film:
    """Generates into a file, as long as the driver to the frame, with its sound where the format has any.

    Ctrl-C finishes the file with the frames so far; a second one does not wait.

    Args:
      output: its suffix says what is written, see `sinks.open_sink`.
      crop: only the face's square, `[S, S, 3]`, instead of the whole picture.
      beside: with the driver's picture on the left; the source's own where the driver is sound.
      steady: calm what is not the mouth, where the source is a photo.
      longest: pixels of the result on its longer side, before what is put beside it.
      limit: frames after which to end.
      mark: say in a corner of what is generated that it is.

    Raises:
      GenerationError: the weights lack a network.
      MediaError: the file cannot be written, or the driver cannot be read to its end.
    """
    frames = min(driver.frames, limit or driver.frames)
    source = reduced(source, longest) if isinstance(source, Photo) and not crop else source
    stages, calm = Stages(), Steady(model.image_size) if steady and isinstance(source, Photo) else None
    shown = set(np.linspace(0, frames - 1, SHEET_ROWS * SHEET_COLUMNS - 1).astype(int).tolist())
    first = source if isinstance(source, Photo) else source.first
    sheet, written = [], 0
    made = steadied(shots(model, source, driver, overlap=True, stages=stages), source, calm)
    finish = _Finish(driver, crop, beside, mark)
    with (
        _stoppable() as stop,
        open_sink(output, driver.fps, driver.sound(), driver.rate, METADATA) as sink,
        progress(total=frames, desc="generating", unit="frame") as bar,
    ):
        for photo, face in made:
            with stages.spent("paste"):
                picture = finish(photo, face)
            with stages.spent("encode"):
                sink.write(picture)
            if written in shown:
                sheet.append(_small(picture))
            written += 1
            bar.update()
            if written == frames or stop.is_set():
                break
    made.close()
    if sheet:
        sheet.insert(0, _framed(first.crop if crop or first.points is None else first.image, sheet[0].shape))
    rows = [sheet[i : i + SHEET_COLUMNS] for i in range(0, len(sheet), SHEET_COLUMNS)]
    return Film(written, plots.sheet(rows), stages, calm, written < frames)


def part_of(output: Path) -> Path:
    """Where an output is written until it is whole."""
    return output.with_name(f"part-{output.name}")


class _Finish:
    """Makes the pictures that are written."""

    def __init__(self, driver: Driver, crop: bool, beside: bool, mark: bool):
        self._crop, self._beside, self._mark, self._paste = crop, beside, mark, Paster()
        self._partner = driver.pictures() if beside else None

    def __call__(self, photo: Photo, face: np.ndarray) -> np.ndarray:
        picture = face if self._crop else self._paste(photo, face)
        picture = marked(picture) if self._mark else picture
        if not self._beside:
            return picture
        left = photo.crop if self._crop else photo.image
        left = left if self._partner is None else next(self._partner)
        return np.concatenate([_as_high(left, picture.shape[0]), picture], 1)


def _as_high(picture: np.ndarray, height: int) -> np.ndarray:
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def _framed(picture: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The picture as large as fits into uint8 `shape`, on white."""
    height, width = shape[:2]
    scale = min(height / picture.shape[0], width / picture.shape[1])
    size = tuple(max(1, int(side * scale)) for side in picture.shape[1::-1])
    frame = np.full(shape, 255, np.uint8)
    frame[: size[1], : size[0]] = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
    return frame


def _small(picture: np.ndarray) -> np.ndarray:
    return shrink(picture, SHEET_SIDE)


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets, so that no frame is cut in half; the second acts as ever."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals are the main thread's
        return

    def handle(number: int, frame) -> None:
        stop.set()
        restore()
        print("\nstopping; the file will end here (once more to stop at once)", file=sys.stderr)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        yield stop
    finally:
        restore()

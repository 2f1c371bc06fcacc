"""Writes a talking-face video: mp4, GIF or a folder of PNG files, alone or beside its driver."""

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
from davs_jax.generate.drivers import Driver
from davs_jax.generate.prefetch import Stages
from davs_jax.generate.talk import Frame, Paster, Source, each_frame, steadied
from davs_jax.media.faces.smoothing import Steady
from davs_jax.media.images import shrink
from davs_jax.media.photo import Photo, reduced
from davs_jax.media.video.sinks import open_sink
from davs_jax.provenance.signing import METADATA
from davs_jax.provenance.visible_mark import marked
from davs_jax.talker import Talker

LONGEST = 1920  # pixels of a result on its longer side, which every player decodes
SHEET_ROWS, SHEET_COLUMNS, SHEET_SIDE = 3, 8, 256


@dataclass(frozen=True)
class Result:
    """Describes what was written.

    Attributes:
      frames: their number.
      sheet: uint8 `[h, w, 3]`: the source, then frames evenly spread over the video.
      stages: seconds spent in each stage.
      steady: the flicker before and after; None where nothing was smoothed.
      stopped: Ctrl-C or SIGTERM came before the driver's end.
    """

    frames: int
    sheet: np.ndarray
    stages: Stages
    steady: Steady | None
    stopped: bool


def write_result(
    model: Talker,
    source: Source,
    driver: Driver,
    output: Path,
    crop: bool = False,
    beside: bool = False,
    steady: bool = True,
    longest: int = LONGEST,
    limit: int | None = None,
    mark: bool = False,
) -> Result:
    """Generates a file with as many frames as the driver, and its audio where the format has any.

    The first Ctrl-C finishes the file with the frames so far; the second one stops at once.

    Args:
      output: its suffix determines the format, see `sinks.open_sink`.
      crop: write the face's crop `[S, S, 3]` instead of the whole image.
      beside: put the driver's image on the left; the source's own where the driver is speech.
      steady: smooth everything but the mouth over time, where the source is a photo.
      longest: pixels of the result on its longer side, without the image beside it.
      limit: the greatest number of frames.
      mark: label the generated image "AI-generated" in a corner.

    Raises:
      GenerationError: the weights lack a network.
      MediaError: the file cannot be written, or the driver cannot be read to its end.
    """
    frames = min(driver.frames, limit or driver.frames)
    source = reduced(source, longest) if isinstance(source, Photo) and not crop else source
    stages, smoother = Stages(), Steady(model.image_size) if steady and isinstance(source, Photo) else None
    shown = set(np.linspace(0, frames - 1, SHEET_ROWS * SHEET_COLUMNS - 1).astype(int).tolist())
    first = source if isinstance(source, Photo) else source.first
    sheet, written = [], 0
    generated = steadied(each_frame(model, source, driver, overlap=True, stages=stages), source, smoother)
    finish = _Finish(driver, crop, beside, mark)
    with (
        _stoppable() as stop,
        open_sink(output, driver.fps, driver.audio(), driver.rate, METADATA) as sink,
        progress(total=frames, desc="generating", unit="frame") as bar,
    ):
        for frame in generated:
            with stages.spent("paste"):
                image = finish(frame)
            with stages.spent("encode"):
                sink.write(image)
            if written in shown:
                sheet.append(_small(image))
            written += 1
            bar.update()
            if written == frames or stop.is_set():
                break
    generated.close()
    if sheet:
        sheet.insert(0, _framed(first.crop if crop or first.points is None else first.image, sheet[0].shape))
    rows = [sheet[i : i + SHEET_COLUMNS] for i in range(0, len(sheet), SHEET_COLUMNS)]
    return Result(written, plots.sheet(rows), stages, smoother, written < frames)


def part_of(output: Path) -> Path:
    """The path to which an output is written until it is complete."""
    return output.with_name(f"part-{output.name}")


class _Finish:
    """Makes the images that are written."""

    def __init__(self, driver: Driver, crop: bool, beside: bool, mark: bool):
        self._crop, self._beside, self._mark, self._paste = crop, beside, mark, Paster()
        self._partner = driver.images() if beside else None

    def __call__(self, frame: Frame) -> np.ndarray:
        photo = frame.photo
        image = frame.crop if self._crop else self._paste(frame)
        image = marked(image) if self._mark else image
        if not self._beside:
            return image
        left = photo.crop if self._crop else photo.image
        left = left if self._partner is None else next(self._partner)
        return np.concatenate([_as_high(left, image.shape[0]), image], 1)


def _as_high(image: np.ndarray, height: int) -> np.ndarray:
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def _framed(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The image as large as it fits into uint8 `shape`, on white."""
    height, width = shape[:2]
    scale = min(height / image.shape[0], width / image.shape[1])
    size = tuple(max(1, int(side * scale)) for side in image.shape[1::-1])
    frame = np.full(shape, 255, np.uint8)
    frame[: size[1], : size[0]] = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    return frame


def _small(image: np.ndarray) -> np.ndarray:
    return shrink(image, SHEET_SIDE)


@contextmanager
def _stoppable() -> Iterator[threading.Event]:
    """Yields an event that the first Ctrl-C or SIGTERM sets, so that the file is finished. The second acts as usual."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread receives signals
        return

    def handle(number: int, frame) -> None:
        stop.set()
        restore()
        print("\nstopping; the file ends here (press Ctrl-C again to stop at once)", file=sys.stderr)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        yield stop
    finally:
        restore()

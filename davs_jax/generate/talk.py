"""The talking face: a source (a photo, or a video) and a driver → pictures."""

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from davs_jax.generate.ahead import Stages, ahead
from davs_jax.generate.drivers import Driver
from davs_jax.generate.follow import GenerationError
from davs_jax.generate.footage import Footage
from davs_jax.inference import Davs
from davs_jax.media.faces.paste import Canvas
from davs_jax.media.faces.steady import Steady
from davs_jax.media.photo import Photo

Source = Photo | Footage

GROUP = 8  # frames at least, whose calls are dispatched together


def generate(model: Davs, source: Source, driver: Driver) -> Iterator[np.ndarray]:
    """Yields the generated crops uint8 `[S, S, 3]`, `driver.frames` of them.

    Raises:
      GenerationError: the weights lack a network that this needs.
    """
    return (crop for _, crop in shots(model, source, driver))


def pictures(model: Davs, source: Source, driver: Driver, steady: Steady | None = None) -> Iterator[np.ndarray]:
    """Yields the whole picture, uint8 `[H, W, 3]`, with the generated face in its place, `driver.frames` times.

    Args:
      steady: calms what is not the mouth, where the source is a photo.

    Raises:
      GenerationError: as `generate`.
    """
    return itertools.starmap(Paster(), steadied(shots(model, source, driver), source, steady))


def shots(
    model: Davs, source: Source, driver: Driver, overlap: bool = False, stages: Stages | None = None
) -> Iterator[tuple[Photo, np.ndarray]]:
    """Yields what is seen (the photo, or the video's frame) and the crop uint8 `[S, S, 3]` generated for it.

    Args:
      overlap: read the driver in one thread and run the networks in another, while the caller pastes and encodes.
      stages: counts the seconds spent in `decode` and `network`.

    Raises:
      GenerationError: as `generate`.
    """
    for network in ("person_encoder", driver.network, "decoder"):
        if not model.has(network):
            raise GenerationError(f"the weights have no {network}; use those of a stage that generates")
    stages = stages or Stages()
    read = stages.each("decode", _inputs(model, source, driver))
    made = _shots(model, source, driver, ahead(read) if overlap else read, stages)
    return ahead(made, 2 * _group(model)) if overlap else made


def steadied(
    shots: Iterable[tuple[Photo, np.ndarray]], source: Source, steady: Steady | None
) -> Iterator[tuple[Photo, np.ndarray]]:
    """The shots, steadied where the source is a still photo."""
    if steady is None or isinstance(source, Footage):
        yield from shots
    else:
        yield from ((photo, steady(crop)) for photo, crop in shots)


class Paster:
    """Puts crops back into what is seen."""

    def __init__(self):
        self._photo: Photo | None = None
        self._canvas: Canvas | None = None

    def __call__(self, photo: Photo, crop: np.ndarray) -> np.ndarray:
        """The whole picture uint8 `[H, W, 3]`. A photo that is an aligned crop already is its own whole, and a video's
        frame in which the face is lost stays as it is."""
        if photo.points is None:
            return crop
        if photo.lost:
            return photo.image
        if photo is not self._photo:
            self._photo, self._canvas = photo, Canvas(photo.image, photo.points, photo.crop)
        return self._canvas.paste(crop)


def _group(model: Davs) -> int:
    return max(model.batch, GROUP)


def _inputs(model: Davs, source: Source, driver: Driver) -> Iterator[tuple[np.ndarray, list[Photo]]]:
    """The driver's inputs, a group at a time, and as many of the source's scenes."""
    inputs = driver.inputs(model.image_size)
    scenes = source.scenes(driver.frames) if isinstance(source, Footage) else itertools.repeat(source)
    for batch in inputs if driver.live else _regrouped(inputs, _group(model)):
        yield batch, list(itertools.islice(scenes, len(batch)))


def _shots(
    model: Davs, source: Source, driver: Driver, read: Iterable[tuple[np.ndarray, list[Photo]]], stages: Stages
) -> Iterator[tuple[Photo, np.ndarray]]:
    gain = model.gains[driver.network]
    person = model.encode_person(source.crop) if isinstance(source, Photo) else None
    for inputs, scenes in read:
        with stages.spent("network"):
            wid = gain * driver.encode(model, inputs)
            if person is not None:
                crops = model.decode(person, wid)
            else:
                crops = model.redraw(np.stack([scene.crop for scene in scenes]), wid)
        yield from zip(scenes, crops, strict=True)


def _regrouped(arrays: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same rows in arrays of `size` rows; the last may have fewer."""
    held: list[np.ndarray] = []
    for array in arrays:
        held.append(array)
        if sum(map(len, held)) >= size:
            rows = np.concatenate(held)
            whole = len(rows) // size * size
            yield from np.split(rows[:whole], whole // size)
            held = [rows[whole:]]
    if sum(map(len, held)):
        yield np.concatenate(held)

"""Generates the images of a talking face from a source (a photo, or a video) and a driver."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from davs_jax.generate.drivers import Driver
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.footage import Footage
from davs_jax.generate.prefetch import Stages, ahead
from davs_jax.media.faces.paste import Canvas
from davs_jax.media.faces.smoothing import Steady
from davs_jax.media.photo import Photo
from davs_jax.talker import Talker

Source = Photo | Footage


class Frame(NamedTuple):
    """A generated frame: the photo (of a video, its frame), and what was generated for it.

    Attributes:
      crop: uint8 `[S, S, 3]`.
      field: float32 `[S, S, 2]`, by how many pixels of the crop a flow head moved the photo; None without one.
    """

    photo: Photo
    crop: np.ndarray
    field: np.ndarray | None


GROUP = 8  # the least number of frames whose calls are dispatched together


def generate(model: Talker, source: Source, driver: Driver) -> Iterator[np.ndarray]:
    """Yields the generated crops uint8 `[S, S, 3]`, `driver.frames` of them.

    Raises:
      GenerationError: the weights lack a network that this needs.
    """
    return (frame.crop for frame in each_frame(model, source, driver))


def whole_images(model: Talker, source: Source, driver: Driver, steady: Steady | None = None) -> Iterator[np.ndarray]:
    """Yields the whole images uint8 `[H, W, 3]` with the generated face pasted in, `driver.frames` of them.

    Args:
      steady: smooths over time everything but the mouth, where the source is a photo.

    Raises:
      GenerationError: as `generate`.
    """
    return map(Paster(), steadied(each_frame(model, source, driver), source, steady))


def each_frame(
    model: Talker, source: Source, driver: Driver, overlap: bool = False, stages: Stages | None = None
) -> Iterator[Frame]:
    """Yields the generated frames.

    Args:
      overlap: read the driver in one thread and run the networks in another, while the caller pastes and encodes.
      stages: counts the seconds spent in `decode` and `network`.

    Raises:
      GenerationError: as `generate`.
    """
    if missing := model.missing(driver.network):
        raise GenerationError(missing, "use weights that have it, or another driver")
    stages = stages or Stages()
    inputs, encode = driver.words(model)
    read = stages.each("decode", _with_photos(model, source, driver, inputs))

    def words(part: np.ndarray) -> np.ndarray:
        return model.driving(driver.network, encode(part))

    generated = _generated(model, source, words, ahead(read) if overlap else read, stages)
    return ahead(generated, 2 * _group(model)) if overlap else generated


def steadied(frames: Iterable[Frame], source: Source, steady: Steady | None) -> Iterator[Frame]:
    """The same frames; where the source is a photo, they are smoothed over time."""
    if steady is None or isinstance(source, Footage):
        yield from frames
    else:
        for photo, crop, field in frames:
            yield Frame(photo, steady(crop), None if field is None else steady.field(field))


class Paster:
    """Pastes crops back into the image from which they were cut."""

    def __init__(self):
        self._photo: Photo | None = None
        self._canvas: Canvas | None = None

    def __call__(self, frame: Frame) -> np.ndarray:
        """The whole image uint8 `[H, W, 3]`. A photo that is nothing but an aligned crop gives the crop, and a video's
        frame in which the face is lost stays unchanged."""
        photo, crop, field = frame
        if photo.points is None:
            return crop
        if photo.lost:
            return photo.image
        if photo is not self._photo:
            self._photo, self._canvas = photo, Canvas(photo.image, photo.points, photo.crop)
        return self._canvas.paste(crop, field)


def _group(model: Talker) -> int:
    return max(model.batch, GROUP)


def _with_photos(
    model: Talker, source: Source, driver: Driver, inputs: Iterator[np.ndarray]
) -> Iterator[tuple[np.ndarray, list[Photo]]]:
    """The driver's inputs, a group at a time, and as many photos of the source."""
    photos = _paced(model, source, driver) if isinstance(source, Footage) else itertools.repeat(source)
    for batch in inputs if driver.live else _regrouped(inputs, _group(model)):
        yield batch, list(itertools.islice(photos, len(batch)))


def _paced(model: Talker, source: Footage, driver: Driver) -> Iterator[Photo]:
    """The video's frames in the order in which the model wants them."""
    paused = driver.paused()
    order = None if paused is None else model.pace(source.motion, paused)
    return source.photos(driver.frames) if order is None else source.along(order)


def _generated(
    model: Talker,
    source: Source,
    words: Callable[[np.ndarray], np.ndarray],
    read: Iterable[tuple[np.ndarray, list[Photo]]],
    stages: Stages,
) -> Iterator[Frame]:
    person = model.encode_person(source.crop) if isinstance(source, Photo) else None
    for inputs, photos in read:
        with stages.spent("network"):
            wid = words(inputs)
            if person is not None:
                crops, fields = model.decode_and_field(person, wid)
            else:
                crops, fields = model.redecode(np.stack([photo.crop for photo in photos]), wid)
        yield from map(Frame, photos, crops, itertools.repeat(None) if fields is None else fields)


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

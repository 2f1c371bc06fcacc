"""A video as the source of the face: it moves as before, and only its speech changes."""

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from davs_jax.constants import FPS
from davs_jax.errors import MediaError
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.face_track import follow
from davs_jax.media import video
from davs_jax.media.faces import tracking
from davs_jax.media.faces.alignment import aligned_crop
from davs_jax.media.images import PhotoError, Still, is_still, read_still
from davs_jax.media.photo import Photo, photo_of, reduced

QUALITY = 97  # of the JPEGs that hold the frames until they are used again


@dataclass(frozen=True)
class Footage:
    """A video and the face in it.

    Attributes:
      track: the face's points `[T, 5, 2]` in the file's frames, and where it is lost.
      image_size: S, side of the crops.
      longest: pixels of the longer side to which the frames are reduced.
    """

    path: Path
    track: tracking.Track
    image_size: int
    longest: int
    fps: int = FPS

    def photos(self, count: int | None = None) -> Iterator[Photo]:
        """Yields `count` frames (None: endlessly): forward to the last one, back to the first, and so on.

        The first pass reads the file. Frames that are needed again are stored as JPEGs in a temporary file, so memory
        does not grow with the length.
        """
        return itertools.islice(self._to_and_fro(count is None or count > len(self.track.points)), count)

    def _to_and_fro(self, again: bool) -> Iterator[Photo]:
        points, lost = self.track.points, self.track.lost
        ends = [0]
        with tempfile.TemporaryFile() as aside:
            for i, image in enumerate(video.read_frames(self.path, self.fps)):
                photo = self._photo(image, points[i], bool(lost[i]))
                yield photo
                if again:
                    jpeg = cv2.imencode(".jpg", photo.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
                    aside.write(jpeg.tobytes())
                    ends.append(aside.tell())
            stretch = np.array(photo.image.shape[1::-1]) / image.shape[1::-1]
            last = len(ends) - 2
            for i in itertools.cycle([*range(last - 1, -1, -1), *range(1, last + 1)] or [0]):
                aside.seek(ends[i])
                jpeg = np.frombuffer(aside.read(ends[i + 1] - ends[i]), np.uint8)
                image = np.ascontiguousarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1])
                yield self._photo(image, (points[i] + 0.5) * stretch - 0.5, bool(lost[i]))

    def along(self, order: np.ndarray) -> Iterator[Photo]:
        """Yields the frames at these indices, which never fall, of the order that `photos` has."""
        photos, at = self.photos(int(order[-1]) + 1), -1
        for index in order:
            while at < index:
                photo, at = next(photos), at + 1
            yield photo

    def motion(self, count: int) -> np.ndarray:
        """How far eyes and nose move, in pixels, towards each of the first frames that `photos` yields, `[count]`."""
        steps = np.linalg.norm(np.diff(self.track.points[:, :3], axis=0), axis=2).mean(1)
        turn = np.concatenate([steps, steps[::-1]]) if len(steps) else np.zeros(1)
        return np.concatenate([[0.0], np.resize(turn, max(count - 1, 0))])[:count]

    @property
    def first(self) -> Photo:
        """The first frame that shows the face."""
        index = int(np.argmin(self.track.lost))
        return next(itertools.islice(self.photos(index + 1), index, None))

    def _photo(self, image: np.ndarray, points: np.ndarray, lost: bool) -> Photo:
        return reduced(Photo(image, points, aligned_crop(image, points, self.image_size), lost=lost), self.longest)


def read_source(
    path: Path,
    image_size: int,
    longest: int,
    points: np.ndarray | None = None,
    aligned: bool = False,
    face: int = 1,
    fps: int = FPS,
) -> Photo | Footage:
    """Reads a photo, or a video where the file is one.

    Args: as `photo_of` and `Footage`.

    Raises:
      PhotoError: the file is neither, or as `photo_of`.
      GenerationError: a video shows no face, or points, `aligned` or `face` were given for one.
      MediaError: the video cannot be read to its end.
    """
    try:
        still, more = read_still(path), []
    except PhotoError:
        if is_still(path) or not _is_video(path):
            raise
        image, *more = itertools.islice(video.read_frames(path, fps), 2)
        still = Still(image)
    if not more:  # a photo, perhaps in a format that only FFmpeg reads
        points = None if points is None else still.points(points)
        return photo_of(still.image, image_size, points, aligned, face, str(path)).with_warning(still.note)
    if points is not None or aligned or face != 1:
        raise GenerationError(
            f"{path}: is a video, in which the face is found and tracked",
            "leave out points, aligned and face",
            command_line="leave out --points, --aligned and --face",
        )
    return read_footage(path, image_size, longest, fps)


def _is_video(path: Path) -> bool:
    try:
        return video.probe(path).has_video
    except MediaError:
        return False


def read_footage(path: Path, image_size: int, longest: int, fps: int = FPS) -> Footage:
    """Tracks the face through a video that will be the source.

    Raises:
      MediaError: it cannot be read or has no images.
      GenerationError: it shows no face.
    """
    remedy = "give a video that shows a face, or a photo and the face's points"
    track = follow(path, fps, remedy, command_line=f"{remedy} (--points)", python=f"{remedy} (points=)")
    return Footage(path, track, image_size, longest, fps)

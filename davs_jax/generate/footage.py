"""A video as the source of the face: it keeps moving as it does, only its speech changes."""

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from davs_jax.constants import FPS
from davs_jax.errors import MediaError
from davs_jax.generate.follow import GenerationError, follow
from davs_jax.media import video
from davs_jax.media.faces import tracking
from davs_jax.media.faces.alignment import aligned_crop
from davs_jax.media.images import PhotoError, is_still, read_image
from davs_jax.media.photo import Photo, photo_of, reduced

QUALITY = 97  # of the JPEGs in which the frames wait for their way back


@dataclass(frozen=True)
class Footage:
    """A video and the face in it.

    Attributes:
      track: the face's points `[T, 5, 2]` in the file's pictures, and where it is lost.
      image_size: S, side of the crops.
      longest: pixels to which the pictures are reduced on their longer side.
    """

    path: Path
    track: tracking.Track
    image_size: int
    longest: int
    fps: int = FPS

    def scenes(self, count: int | None = None) -> Iterator[Photo]:
        """`count` of its frames (without end where it is None): to the last one, back to the first, and so on.

        The first way is read from the file, while every frame that will be seen again is put aside, as a JPEG in a
        temporary file on the disk. So memory does not grow with the length.
        """
        return itertools.islice(self._to_and_fro(count is None or count > len(self.track.points)), count)

    def _to_and_fro(self, again: bool) -> Iterator[Photo]:
        points, lost = self.track.points, self.track.lost
        ends = [0]
        with tempfile.TemporaryFile() as aside:
            for i, picture in enumerate(video.read_frames(self.path, self.fps)):
                scene = self._scene(picture, points[i], bool(lost[i]))
                yield scene
                if again:
                    jpeg = cv2.imencode(".jpg", scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
                    aside.write(jpeg.tobytes())
                    ends.append(aside.tell())
            stretch = np.array(scene.image.shape[1::-1]) / picture.shape[1::-1]
            last = len(ends) - 2
            for i in itertools.cycle([*range(last - 1, -1, -1), *range(1, last + 1)] or [0]):
                aside.seek(ends[i])
                jpeg = np.frombuffer(aside.read(ends[i + 1] - ends[i]), np.uint8)
                picture = np.ascontiguousarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1])
                yield self._scene(picture, (points[i] + 0.5) * stretch - 0.5, bool(lost[i]))

    @property
    def first(self) -> Photo:
        """Its first frame that shows the face."""
        index = int(np.argmin(self.track.lost))
        return next(itertools.islice(self.scenes(index + 1), index, None))

    def _scene(self, picture: np.ndarray, points: np.ndarray, lost: bool) -> Photo:
        return reduced(Photo(picture, points, aligned_crop(picture, points, self.image_size), lost=lost), self.longest)


def read_source(
    path: Path,
    image_size: int,
    longest: int,
    points: np.ndarray | None = None,
    aligned: bool = False,
    number: int = 1,
    fps: int = FPS,
) -> Photo | Footage:
    """Reads a photo, or where the file is a video, that.

    Args: as `read_photo` and `read_footage`.

    Raises:
      PhotoError: the file is neither, or as `read_photo`.
      GenerationError: a video that shows no face, or one for which points, `aligned` or `number` were given.
      MediaError: the video cannot be read to its end.
    """
    try:
        picture = read_image(path)
    except PhotoError:
        if is_still(path) or not _is_video(path):
            raise
        picture, *more = itertools.islice(video.read_frames(path, fps), 2)
    else:
        more = []
    if not more:  # a photo, perhaps of a kind that only FFmpeg reads
        return photo_of(picture, image_size, points, aligned, number, str(path))
    if points is not None or aligned or number != 1:
        raise GenerationError(f"{path}: is a video, whose face is found and followed; leave out what says where it is")
    return read_footage(path, image_size, longest, fps)


def _is_video(path: Path) -> bool:
    try:
        return video.probe(path).has_video
    except MediaError:
        return False


def read_footage(path: Path, image_size: int, longest: int, fps: int = FPS) -> Footage:
    """Follows the face through a video that will be the source.

    Raises:
      MediaError: it cannot be read or has no pictures.
      GenerationError: it shows no face.
    """
    track = follow(path, "give a video that shows a face, or a photo with --points", fps)
    return Footage(path, track, image_size, longest, fps)

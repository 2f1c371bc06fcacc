"""Confidences of faces that are not upright, and the orientations that are chosen, in files and turned copies of them.

    python tests/benchmarks/orientation.py FILES

All files must show an upright face. A video counts twice: its middle frame as a photo, and its first second as a video.
"""

import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np

from davs_jax.generate.errors import GenerationError
from davs_jax.generate.face_track import follow
from davs_jax.media import video
from davs_jax.media.faces.detectors import Mtcnn
from davs_jax.media.faces.turned import quarters_to_upright
from davs_jax.media.images import PhotoError, read_image
from davs_jax.media.photo import find_faces

FRAMES = 25
TURNED = range(4)  # quarters


def frames_of(path: Path) -> list[np.ndarray]:
    try:
        return [read_image(path)]
    except PhotoError:
        return list(itertools.islice(video.read_frames(path), FRAMES))


def confidence(image: np.ndarray) -> float:
    return max((face.confidence for face in Mtcnn().detect(image)), default=0.0)


def found(image: np.ndarray) -> int | None:
    """Quarters by which the image would be turned; None where it shows no face."""
    faces = find_faces(image)
    return quarters_to_upright(faces[0].points) if faces else None


def refused(frames: list[np.ndarray], folder: str) -> bool:
    path = Path(folder) / "turned.mp4"
    with video.Writer(path) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    try:
        follow(path)
    except GenerationError as error:
        return "its face is not upright" in str(error)
    return False


def main(paths: list[Path]) -> None:
    upright, lying, wrong, videos, accepted = [], [], 0, [], 0
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            frames = frames_of(path)
            copies = [np.ascontiguousarray(np.rot90(frames[len(frames) // 2], quarters)) for quarters in TURNED]
            first, *others = map(confidence, copies)
            upright.append(first)
            lying += others
            wrong += sum(found(copy) != -quarters % 4 for quarters, copy in zip(TURNED, copies, strict=True))
            if len(frames) > 1:
                answers = [refused([np.rot90(f, quarters) for f in frames], folder) for quarters in TURNED]
                videos.append(answers[0])
                accepted += answers[1:].count(False)
    for least in (Mtcnn.SURE, Mtcnn.CLEAR):
        shares = (100 * np.mean(np.array(c) >= least) for c in (upright, lying))
        print("faces of {} or more: {:.1f} % of upright images, {:.1f} % of turned ones".format(least, *shares))
    print(f"{wrong} of {4 * len(upright)} images wrongly turned")
    print(
        f"{sum(videos)} of {len(videos)} upright videos refused, {accepted} of {3 * len(videos)} turned ones accepted"
    )


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])

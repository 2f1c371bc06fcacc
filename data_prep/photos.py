"""Turns a photo into a face record, for every source: read, find the face, align."""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from data_prep import folders, measures
from data_prep.clips import UNKNOWN, add_detector, encode_jpeg
from data_prep.folders import AnyPath
from data_prep.shards import Unusable
from davs_jax.command_line import real
from davs_jax.errors import DavsError
from davs_jax.face_geometry import stored_size
from davs_jax.media.faces import alignment, detectors, tracking, turned
from davs_jax.media.images import Still, read_still

# Positions of the five points in the 112 × 112 crops that recognition networks (ArcFace, InsightFace) are trained on.
ARCFACE_SIDE = 112
ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
CROPS = ("arcface", "detect")
MAX_VAL_FRACTION = 0.999  # train must not be empty


def add_flags(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds the flags that every source of photos has.

    Args:
      default: of `--crops`, in words.
    """
    parser.add_argument(
        "--crops",
        choices=CROPS,
        default=None,
        help="arcface: the photos are square crops in ArcFace's template, which one fixed similarity maps to ours; "
        f"detect: find the face in each photo (default: {default})",
    )
    add_detector(parser)
    add_val_fraction(parser, 0.0, "photos")


def add_val_fraction(parser: argparse.ArgumentParser, default: float, units: str) -> None:
    text = f"share of the {units} for the val split (default {default:g})"
    parser.add_argument("--val-fraction", type=real(0, MAX_VAL_FRACTION), default=default, help=text)


def options(args: argparse.Namespace, crops: str) -> dict[str, Any]:
    """The options in a plan that every source of photos has.

    Args:
      crops: default of `--crops`.

    Raises:
      DetectorError: the detector is not installed.
    """
    detectors.detector(args.detector)  # fails before the first file, not at it
    names = ("image_size", "seed", "val_fraction", "detector")
    return {name: getattr(args, name) for name in names} | {"crops": args.crops or crops}


def face_record(
    face_id: str, photo: np.ndarray, identity: int, options: Mapping[str, Any], points: np.ndarray | None = None
) -> dict:
    """Makes the record of one photo.

    Args:
      photo: uint8 `[H, W, 3]` RGB.
      identity: label.
      options: `image_size` of the networks (the stored face is `stored_size` of it on a side), `crops` (one of CROPS),
        and `detector`, if it is not the default.
      points: `[5, 2]` where known: taken as exact, whatever `crops` says.

    Returns:
      the fields of `records.face_features`, and `measures`, which the shard's report keeps.

    Raises:
      Unusable: no face is found, or the photo is not a square crop.
    """
    if identity == UNKNOWN:
        raise Unusable("label", "its identity is not among the plan's", "run the preparation again")
    if points is None:
        found = _template_points if options["crops"] == "arcface" else _found_points
        points = found(photo, options)
    aligned = alignment.align(photo, points, stored_size(options["image_size"]))
    measured = {"face_size": measures.face_size(points[None]), "sharpness": round(measures.sharpness(aligned), 1)}
    return {"face_id": face_id, "image": encode_jpeg(aligned), "identity": identity, "measures": measured}


def read(path: AnyPath, data: bytes | None = None) -> Still:
    """Reads an image file, or its bytes.

    Raises:
      Unusable: it is not an image, damaged or too large.
    """
    if data is None and not folders.is_local(path):
        data = folders.read(path) or b""
    try:
        return read_still(path, data)
    except DavsError as error:
        raise Unusable.of_file("read", path, error) from error


def _template_points(photo: np.ndarray, _) -> np.ndarray:
    height, width = photo.shape[:2]
    if height != width:
        reason = f"is {width} × {height} pixels, a crop in ArcFace's template is square"
        raise Unusable("face", reason, "prepare it with --crops detect")
    return (ARCFACE_POINTS + 0.5) * (width / ARCFACE_SIDE) - 0.5


def _found_points(photo: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    detector = detectors.detector(options.get("detector", detectors.DEFAULT))
    try:
        return tracking.track(photo[None], _AnyWayUp(detector)).points[0]
    except tracking.NoFace as error:
        raise Unusable("face", "no face was found in it", "leave the photo out, or give its points") from error


class _AnyWayUp:
    """A detector that also finds faces in photos that lie on their side or upside down."""

    def __init__(self, detector: detectors.Detector):
        self._detector, self.SURE, self.CLEAR = detector, detector.SURE, detector.CLEAR

    def detect(self, image: np.ndarray) -> list[detectors.Face]:
        return turned.detect(image, self._detector.detect, self.SURE, self.CLEAR)

"""Finds the speaker of a recording: tracks the faces in it and takes one of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from data_prep import measures
from data_prep.shards import Unusable
from davs_jax.face_geometry import stored_size
from davs_jax.media.faces import alignment, detectors, tracking
from davs_jax.media.video.read import Clip

LIPS_SIZE = 64  # pixels: image size at which the lips of several faces are compared
SPEAKERS = ("central", "lips")
COMPARABLE = 0.5  # of the speaker's eye distance, from which another face is of comparable size

# Default options of face tracking; a plan holds those that were used.
TRACKING = {
    "detector": detectors.DEFAULT,
    "detect_every": tracking.EVERY,
    "smooth": tracking.SMOOTH,
    "speaker": SPEAKERS[0],
}


class Tracked(NamedTuple):
    """The speaker's face through a recording."""

    points: np.ndarray  # [T, 5, 2]
    lost: np.ndarray  # bool [T]: the points are a guess
    accompanied: Mapping[int, bool]  # by searched frame: whether it shows another face of comparable size
    measures: Mapping[str, float]  # of the quality of the track

    @classmethod
    def of(cls, points: np.ndarray, lost: np.ndarray, accompanied: Mapping[int, bool], found: float) -> "Tracked":
        """Raises Unusable where the points do not form a face."""
        try:
            for five in points:
                alignment.similarity(five)
        except ValueError as error:
            raise Unusable("face", str(error), "correct its points, or leave the file out") from error
        measured = {
            "found": round(found, 3),
            "jitter": round(tracking.jitter(points), 3),
            "eye_distance": round(alignment.eye_distance(points), 2),
        }
        return cls(points, lost, accompanied, measured)


def track(clip: Clip, options: Mapping[str, Any]) -> Tracked:
    """Tracks the speaker's face.

    Args:
      clip: its frames may be read while they are used, as `footage.Footage`.
      options: those of TRACKING that differ from the default.

    Raises:
      Unusable: no face is found.
    """
    settings = {name: options.get(name, TRACKING[name]) for name in TRACKING}
    found = tracking.search(clip.frames, detectors.detector(settings["detector"]), settings["detect_every"])
    try:
        people = tracking.link(found, clip.frames.shape, settings["detect_every"], settings["smooth"])
    except tracking.NoFace as error:
        raise Unusable("face", error.reason, "leave the file out, or give its points") from error
    chosen = by_lips(people, clip) if settings["speaker"] == "lips" else people[0]
    accompanied = {index: _comparable(faces, chosen.points[index]) > 1 for index, faces in found.items()}
    return Tracked.of(chosen.points, chosen.lost, accompanied, chosen.found_fraction)


def by_lips(people: Sequence[tracking.Track], clip: Clip) -> tracking.Track:
    """Of several tracks, the one whose lips covary most with the audio of the whole recording (`measures.speaking`)."""
    if len(people) == 1:
        return people[0]
    agreement = []
    for track in people:
        aligned = (
            alignment.align(*pair, stored_size(LIPS_SIZE)) for pair in zip(clip.frames, track.points, strict=True)
        )
        mouths = np.stack([measures.mouth(image, LIPS_SIZE) for image in aligned])
        agreement.append(measures.speaking(mouths, clip.samples))
    return people[int(np.argmax(agreement))]


def _comparable(faces: Sequence[detectors.Face], points: np.ndarray) -> int:
    """How many faces, the speaker's included, are of a size comparable to the speaker's, whose points are `[5, 2]`."""
    least = COMPARABLE * alignment.eye_distance(points[None])
    return sum(alignment.eye_distance(face.points[None]) >= least for face in faces)

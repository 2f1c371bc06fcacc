"""Measures by how much a video's audio is late or early, with a trained model's word vectors."""

from pathlib import Path

import numpy as np

from davs_jax.constants import FPS
from davs_jax.errors import DavsError
from davs_jax.generate.drivers import DrivingVideo
from davs_jax.generate.read import read_driving_video
from davs_jax.inference import Davs
from davs_jax.media.offsets import COMPARED, SURE, Offset, best_offset, frame_distances, offset_distances
from davs_jax.media.video.read import read_audio

REACH = 15  # frames of offset that are searched, as in SyncNet: ±0.6 s
BLOCK = 250  # frames whose distances are computed at once, with REACH on either side: 10 s


class SyncError(DavsError):
    """A video whose audio offset cannot be measured."""


def measure(video: np.ndarray, audio: np.ndarray, reach: int = REACH) -> Offset:
    """The offset of a whole file from the wid of its images and of its audio, both `[T, E]`, frame by frame.

    Raises:
      SyncError: fewer than 2·reach + 1 frames.
    """
    if len(video) <= 2 * reach:
        raise SyncError(
            f"{len(video)} frames are too few for offsets of ±{reach}, which take {2 * reach + 1}",
            "give a longer video",
            command_line="give a longer video or a smaller --reach",
            python="give a longer video or a smaller reach",
        )
    total, compared = np.zeros(2 * reach + 1), len(video) - 2 * reach
    for start in range(0, compared, BLOCK):
        part = slice(start, start + BLOCK + 2 * reach)  # its audio reaches further than its BLOCK or fewer images
        distances = frame_distances(video[part], audio[part])
        total += offset_distances(distances, reach) * (len(distances) - 2 * reach)
    return best_offset(total / compared)._replace(compared=compared)


def measure_file(model: Davs, path: Path, reach: int = REACH, track: int | None = None) -> Offset:
    """The offset of a video file, in which the face is found and tracked.

    Args:
      track: number of its audio track, from 1; None is the first that is not silent.

    Raises:
      GenerationError: it shows no face.
      MediaError: it cannot be read, or has no such track.
      SyncError: it has no audio, is too short, or the weights lack an encoder.
    """
    if not model.has("visual_encoder", "audio_encoder"):
        raise SyncError("the weights have no word encoders", "use those of the word or the joint stage")
    video, _ = read_driving_video(path, or_speech=False, track=track)
    if not video.has_audio:
        raise SyncError(f"{path}: has no audio to compare its images with", "give a talking video")
    try:
        return measure_video(model, video, read_audio(path, track=track), reach)
    except SyncError as error:
        raise SyncError(f"{path}: {error.reason}", error.remedy, **error.options) from error


def measure_video(model: Davs, video: DrivingVideo, samples: np.ndarray, reach: int = REACH) -> Offset:
    """The offset of a video whose face is tracked.

    Args:
      model: has both word encoders.
      samples: its audio `[N]`, mono, 16 kHz, from the first frame's time.

    Raises:
      MediaError: its images cannot be read.
      SyncError: it is too short.
    """
    audio = model.wid_from_audio(model.file_audio(samples, video.frames))
    return measure(np.concatenate(list(video.wid(model))), audio, reach)


def describe(offset: Offset) -> str:
    """The offset as a sentence."""
    seconds = abs(offset.frames) / FPS
    where = "in time" if not offset.frames else f"{abs(offset.frames)} frames ({seconds:.2f} s) "
    if offset.frames:
        where += "late" if offset.frames > 0 else "early"
    return f"the audio is {where}; distance {offset.distance:.3f}, confidence {offset.confidence:.3f}"


def doubts(offset: Offset, reach: int) -> list[str]:
    """Why an offset may be wrong, a sentence each; none where it is believed."""
    found = []
    if offset.compared < COMPARED:
        found.append(
            f"uncertain: only {offset.compared} frames could be compared, which reach any confidence by chance; give a "
            f"longer video ({COMPARED + 2 * reach} frames) or a smaller --reach"
        )
    if offset.confidence < SURE:
        found.append(f"uncertain: audio of another video reaches this confidence too ({SURE} is trusted)")
    if abs(offset.frames) == reach:
        found.append(f"at the edge of the search: the true offset may exceed {reach} frames; raise --reach")
    return found

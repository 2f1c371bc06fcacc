"""Reads drivers from files: speech, or a video of another face."""

import math
from pathlib import Path

import numpy as np

from davs_jax.constants import FPS, SAMPLE_RATE
from davs_jax.display.progress import progress
from davs_jax.errors import MediaError
from davs_jax.generate.drivers import DrivingVideo, Recording
from davs_jax.generate.errors import GenerationError, check_length
from davs_jax.generate.face_track import follow
from davs_jax.generate.pauses import LEVEL_SAMPLES, loudness
from davs_jax.media import video
from davs_jax.media.faces import tracking
from davs_jax.media.images import is_still
from davs_jax.media.video.write import AAC_RATES

LOWEST_RATE = 32_000  # Hz, of a result's audio
SLOWEST, FASTEST = 10, 60  # frames per second


def read_speech(path: Path, fps: int = FPS, track: int | None = None, longest: float = math.inf) -> Recording:
    """Reads speech from any file with audio. The file is read once to its end, so that errors in it are known before
    anything is generated.

    Args:
      track: number of the audio track, from 1; None is the first that is not silent.
      longest: seconds that are allowed. Reading stops there, whatever length the file states.

    Raises:
      MediaError: it cannot be read, has no audio or no such track, or audio that is not finite.
      GenerationError: it is longer than allowed.
    """
    if is_still(path):
        raise MediaError(f"{path}: is an image, without audio", "give an audio or video file")
    media, chosen = video.probe(path), video.choose(path, track, longest)
    check_length(path, media.duration, longest)
    track = chosen.index + 1
    length, levels, rest = 0, [], np.zeros(0, np.float32)
    with progress(total=round(media.duration) or None, desc="listening", unit="s", leave=False) as bar:
        for block in video.read_audio_blocks(path, track=track):
            length += len(block)
            check_length(path, length / SAMPLE_RATE, longest, ended=False)
            block = np.concatenate([rest, block])
            whole = len(block) // LEVEL_SAMPLES * LEVEL_SAMPLES
            levels.append(loudness(block[:whole]))
            rest = block[whole:]
            bar.update(length // SAMPLE_RATE - bar.n)
    if not length:
        raise MediaError(f"{path}: its audio is empty", "give a file with speech")
    levels.append(loudness(rest))
    return Recording(path, length, np.concatenate(levels), _coded_rate(chosen.rate), fps, track)


def read_driving_video(
    path: Path, fps: int = FPS, or_speech: bool = True, track: int | None = None, longest: float = math.inf
) -> tuple[DrivingVideo, tracking.Track]:
    """Reads a driving video, and tracks the face in it.

    Args:
      or_speech: speech is an alternative, which errors then propose.
      track, longest: as of `read_speech`.

    Raises:
      MediaError: it cannot be read, has no images or no such track.
      GenerationError: it shows no face, or is longer than allowed.
    """
    if is_still(path):
        raise MediaError(f"{path}: is an image that does not move", **_remedies("give a video", or_speech))
    media = video.probe(path)
    check_length(path, media.duration, longest)
    rate = media.sample_rate
    if media.has_audio or track is not None:
        chosen = video.choose(path, track, longest)
        track, rate = chosen.index + 1, chosen.rate
    face = follow(path, fps, longest=longest, **_remedies("give a video that shows a face", or_speech))
    return DrivingVideo(path, face.points, media.has_audio, face.lost, _coded_rate(rate), fps, track), face


def check_fps(fps: int) -> None:
    """Raises GenerationError where the frame rate is not supported."""
    if not SLOWEST <= fps <= FASTEST:
        raise GenerationError(
            f"{fps} frames per second: must be from {SLOWEST} to {FASTEST}",
            "25 is the rate of training",
            command_line="change --fps; 25 is the rate of training",
            python="change fps=; 25 is the rate of training",
        )


def _remedies(remedy: str, or_speech: bool) -> dict[str, str]:
    if not or_speech:
        return {"remedy": remedy}
    return {
        "remedy": f"{remedy}, or speech instead",
        "command_line": f"{remedy}, or speech with --audio",
        "page": f"{remedy}, or a voice instead",
        "python": f"{remedy}, or speech as audio=",
    }


def _coded_rate(rate: int) -> int:
    """The file's own sample rate; 48 kHz where AAC does not have that rate, or where it is so low that AAC's padding at
    the end, up to 1,024 samples, would outlast a frame."""
    return rate if rate in AAC_RATES and rate >= LOWEST_RATE else 48_000

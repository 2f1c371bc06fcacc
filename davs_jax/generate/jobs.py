"""One generation job: its inputs, its style, and the whole way from files to a file."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from davs_jax.constants import FPS
from davs_jax.generate import adapt, face_track, preflight, result
from davs_jax.generate.drivers import Driver
from davs_jax.generate.errors import GenerationError
from davs_jax.generate.footage import Footage, read_source
from davs_jax.generate.read import check_fps, read_driving_video, read_speech
from davs_jax.generate.result import Result, write_result
from davs_jax.generate.talk import Source
from davs_jax.media import video
from davs_jax.provenance import signing
from davs_jax.talker import Talker

PREVIEW_SECONDS, PREVIEW_LONGEST = 4, 320  # pixels


@dataclass(frozen=True)
class Job:
    """A photo (or a video whose speech is replaced), either audio or a driving video, and the output.

    Attributes:
      points, aligned, face: as of `photo.photo_of`.
      audio_track: number of the driver's audio track, from 1; None is the first that is not silent.
    """

    photo: Path
    output: Path
    audio: Path | None = None
    video: Path | None = None
    points: np.ndarray | None = None
    aligned: bool = False
    face: int = 1
    audio_track: int | None = None


@dataclass(frozen=True)
class Style:
    """How results look and who signs them; `preview` is small and the first seconds only.

    Attributes:
      adapt_steps: steps of fitting to the photo; None is the default for the weights' origin.
      mark: label the image "AI-generated".
      signer: as `signing.signer` returns it.
    """

    crop: bool = False
    beside: bool = False
    steady: bool = True
    preview: bool = False
    fps: int = FPS
    adapt_steps: int | None = None
    mark: bool = False
    signer: object = None

    @property
    def longest(self) -> int:
        return PREVIEW_LONGEST if self.preview else result.LONGEST


def read_driver(job: Job, fps: int, say: Callable[[str], None], longest: float = math.inf) -> Driver:
    """Reads a job's driver, and remarks on it; `longest` and errors are those of `read_speech` and
    `read_driving_video`."""
    if job.audio:
        driver, remarks = read_speech(job.audio, fps, job.audio_track, longest), []
    else:
        driver, track = read_driving_video(job.video, fps, track=job.audio_track, longest=longest)
        remarks = [f"{job.video}: {line}" for line in face_track.describe(track, fps)]
    if job.audio or driver.has_audio:
        remarks.append(video.choose(job.audio or job.video, job.audio_track, longest).note)
    for remark in filter(None, remarks):
        say(remark)
    return driver


def make(
    model: Talker, job: Job, style: Style, say: Callable[[str], None], driver: Driver | None = None, part: bool = False
) -> Result:
    """Runs a job.

    Args:
      say: receives remarks for the user, one sentence each.
      driver: the job's, where it was read before.
      part: write to `result.part_of(output)`, and rename that to the output once it is complete.

    Raises:
      GenerationError, MediaError, PhotoError, ProvenanceError: it cannot be done.
    """
    preflight.make_room(job.output)
    if job.output.resolve() in {p.resolve() for p in (job.photo, job.audio, job.video) if p}:
        raise GenerationError(f"{job.output}: is an input too, and would be overwritten", "choose another output")
    check_fps(style.fps)
    source = read_source(job.photo, model.image_size, style.longest, job.points, job.aligned, job.face, style.fps)
    if isinstance(source, Footage):
        for line in face_track.describe(source.track, style.fps):
            say(f"{job.photo}: {line}")
    elif source.warning:
        say(f"warning: {source.warning}")
    driver = driver or read_driver(job, style.fps, say)
    frames = min(driver.frames, PREVIEW_SECONDS * style.fps) if style.preview else driver.frames
    if isinstance(source, Footage) and frames > len(source.track.points):
        say(f"{job.photo}: is shorter than the audio; its frames run back and forth")
    for warning in preflight.check(driver, job.output, frames, *_size(model, source, style)):
        say(f"warning: {warning}")
    steps = adapt.default_steps(model) if style.adapt_steps is None else style.adapt_steps
    if steps:
        model, before, after = adapt.adapt(model, source, driver, steps)
        say(f"{steps} steps of fitting: difference from the photo outside the mouth {before:.2f} → {after:.2f} of 255")
    output = result.part_of(job.output) if part else job.output
    looks = (style.crop, style.beside, style.steady, style.longest, frames, style.mark)
    made = write_result(model, source, driver, output, *looks)
    parts = "video" if isinstance(source, Footage) else "photo", "speech" if job.audio else "driving video"
    signing.sign(output, style.signer, parts)
    if part and not made.stopped:
        output.replace(job.output)
    return made


def _size(model: Talker, source: Source, style: Style) -> tuple[int, int]:
    """Height and width of the result; with an image beside it, about twice as wide."""
    if style.crop or (not isinstance(source, Footage) and source.points is None):
        height = width = model.image_size
    else:
        height, width = (source.first if isinstance(source, Footage) else source).image.shape[:2]
        scale = min(1.0, style.longest / max(height, width))
        height, width = math.ceil(height * scale), math.ceil(width * scale)
    return height, width * (2 if style.beside else 1)

"""One photo and any speech, or any driving video → a talking face with sound.

    python -m davs_jax.generate --checkpoint runs/joint --photo me.jpg --audio speech.wav --output talking.mp4

Pictures stream: they are decoded in batches on the device and encoded as they come, so an hour needs no more memory
for them than a second.
"""

import argparse
import itertools
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from davs_jax import checkpoint, plots, provenance
from davs_jax.inference import Davs
from davs_jax.media import face, video
from davs_jax.media.audio import clip_mfcc, windows
from davs_jax.media.mark import marked
from davs_jax.media.paste import Canvas
from davs_jax.media.photo import POINTS, Photo, PhotoError, aligned_crop, parse_points, read_photo, reduced
from davs_jax.media.video import MediaError
from davs_jax.progress import progress
from davs_jax.provenance import METADATA, ProvenanceError
from davs_jax.records import FPS, SAMPLES_PER_FRAME
from davs_jax.weights import DEMO, CheckpointError

CHUNK = 256  # frames whose vectors are computed at once
LONGEST = 1920  # pixels of a finished video on its longer side: what every player decodes
SHEET_ROWS, SHEET_COLUMNS, SHEET_SIDE = 3, 8, 256


class GenerationError(ValueError):
    """What was asked for cannot be generated; the message says what to do."""


class Driver(Protocol):
    """What moves the mouth.

    Attributes:
      frames: video frames, at 25 fps, that it drives.
      samples: the sound that belongs to them, float32 mono 16 kHz from the first frame's time, or None.
      network: the encoder that it needs.
    """

    frames: int
    samples: np.ndarray | None
    network: str

    def wid(self, model: Davs) -> Iterator[np.ndarray]:
        """Yields wid `[n, E]`, `frames` vectors in all."""


@dataclass(frozen=True)
class Speech:
    """Sound as a driver: samples float32 `[N]`, mono, 16 kHz, in −1…1. The last frame may outlast it a little."""

    samples: np.ndarray
    network = "audio_encoder"

    @property
    def frames(self) -> int:
        return -(-len(self.samples) // SAMPLES_PER_FRAME)

    def wid(self, model: Davs) -> Iterator[np.ndarray]:
        mfcc = clip_mfcc(self.samples, self.frames)
        for start in range(0, self.frames, CHUNK):
            yield model.wid_from_audio(windows(mfcc, np.arange(start, min(start + CHUNK, self.frames))))


@dataclass(frozen=True)
class Performance:
    """Another face's video as a driver: the file, its face's points `[frames, 5, 2]`, and its sound if it has any."""

    path: Path
    points: np.ndarray
    samples: np.ndarray | None
    network = "visual_encoder"

    @property
    def frames(self) -> int:
        return len(self.points)

    def wid(self, model: Davs) -> Iterator[np.ndarray]:
        pairs = zip(video.read_frames(self.path), self.points, strict=True)
        while chunk := list(itertools.islice(pairs, CHUNK)):
            yield model.wid_from_video(np.stack([aligned_crop(*pair, model.image_size) for pair in chunk]))


def read_speech(path: Path) -> Speech:
    """Reads a driver from any file with sound.

    Raises:
      MediaError: it cannot be read or has no sound.
    """
    samples = video.read_audio(path)
    if not len(samples):
        raise MediaError(f"{path}: its sound is empty; give a file with speech")
    return Speech(samples)


def read_performance(path: Path) -> Performance:
    """Reads a driver from a video, and follows the face in it.

    Raises:
      MediaError: it cannot be read or has no pictures.
      GenerationError: it shows no face.
    """
    try:
        points = face.track(_Frames(path)).points
    except face.NoFace as error:
        raise GenerationError(
            f"{path}: {error}; give a video that shows a face, or drive by sound with --audio"
        ) from error
    samples = video.read_audio(path) if video.probe(path).has_audio else None
    return Performance(path, points, samples)


class _Frames:
    """A video's pictures as `face.track` asks for them, by rising number: one in memory at a time."""

    def __init__(self, path: Path):
        first, count = None, 0
        for frame in video.read_frames(path):
            first, count = frame if first is None else first, count + 1
        self.shape = count, *first.shape
        self._frames = video.read_frames(path)
        self._bar = progress(total=count, desc="following the face", unit="frame")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: int) -> np.ndarray:
        while self._bar.n <= index:
            frame = next(self._frames)
            self._bar.update()
        if index == len(self) - 1:
            self._bar.close()
        return frame


def generate(model: Davs, photo: Photo, driver: Driver) -> Iterator[np.ndarray]:
    """Yields the generated crops uint8 `[S, S, 3]`, `driver.frames` of them.

    Raises:
      GenerationError: the weights lack a network that this needs.
    """
    for network in ("person_encoder", driver.network, "decoder"):
        if not model.has(network):
            raise GenerationError(f"the weights have no {network}; use those of a stage that generates")
    person = model.encode_person(photo.crop)
    for wid in driver.wid(model):
        yield from model.decode(person, model.gains[driver.network] * wid)


def pictures(model: Davs, photo: Photo, driver: Driver) -> Iterator[np.ndarray]:
    """Yields the whole photo, uint8 `[H, W, 3]`, with the generated face in its place, `driver.frames` times.

    A photo that is an aligned crop already is its own whole.

    Raises:
      GenerationError: as `generate`.
    """
    crops = generate(model, photo, driver)
    return crops if photo.points is None else map(Canvas(photo.picture, photo.points, photo.crop).paste, crops)


def write_video(
    model: Davs, photo: Photo, driver: Driver, output: Path, crop: bool = False, mark: bool = False
) -> np.ndarray:
    """Generates into an mp4, H.264 with the driver's sound, as long as the driver to the frame.

    Args:
      crop: only the face's square, `[S, S, 3]`, instead of the whole photo (at most LONGEST pixels long).
      mark: says in a corner of the picture that it is generated.

    Returns:
      a contact sheet uint8 `[h, w, 3]`: the photo, then generated frames evenly spread over the video.

    Raises:
      GenerationError: as `generate`.
      MediaError: the file cannot be written, or the driver cannot be read to its end.
    """
    shown = set(np.linspace(0, driver.frames - 1, SHEET_ROWS * SHEET_COLUMNS - 1).astype(int).tolist())
    photo = photo if crop else reduced(photo, LONGEST)
    sheet = [photo.crop if crop or photo.points is None else photo.picture]
    made = generate(model, photo, driver) if crop else pictures(model, photo, driver)
    made = map(marked, made) if mark else made
    with video.Writer(output, samples=driver.samples, metadata=METADATA) as writer:
        for i, picture in enumerate(progress(made, total=driver.frames, desc="generating", unit="frame")):
            writer.write(picture)
            if i in shown:
                sheet.append(reduced(Photo(picture, None, picture), SHEET_SIDE).picture)
    sheet[0] = reduced(Photo(sheet[0], None, sheet[0]), SHEET_SIDE).picture
    return plots.sheet([sheet[i : i + SHEET_COLUMNS] for i in range(0, len(sheet), SHEET_COLUMNS)])


def main(argv: list[str] | None = None) -> int:
    """Command line: a photo and a driver into an mp4."""
    args = _parser().parse_args(argv)
    try:
        _run(args)
    except (CheckpointError, GenerationError, MediaError, PhotoError, ProvenanceError) as error:
        raise SystemExit(f"davs-generate: {error}") from error
    return 0


def _run(args: argparse.Namespace) -> None:
    if args.output.suffix != ".mp4":
        raise GenerationError(f"{args.output}: the output is an mp4 file; let its name end in .mp4")
    if args.output.resolve() in {p.resolve() for p in (args.photo, args.audio, args.video) if p}:
        raise GenerationError(f"{args.output}: is an input too, and would be overwritten; choose another --output")
    points = parse_points(args.points) if args.points else None
    signer = provenance.signer(
        args.certificate, args.key, lambda text: print(f"davs-generate: {text}", file=sys.stderr)
    )
    config, params, batch_stats = checkpoint.load_weights(args.checkpoint)
    for name in ("audio_gain", "video_gain"):
        if (gain := getattr(args, name)) is not None:
            if not 0 < gain < math.inf:
                raise GenerationError(f"--{name.replace('_', '-')} {gain}: must be above 0; 1 leaves the vectors alone")
            config[name] = gain
    model = Davs(config, params, batch_stats)
    photo = read_photo(args.photo, model.image_size, points, args.aligned)
    if photo.doubt:
        print(f"davs-generate: warning: {photo.doubt}", file=sys.stderr)
    driver = read_speech(args.audio) if args.audio else read_performance(args.video)
    sheet = write_video(model, photo, driver, args.output, args.crop, args.mark)
    provenance.sign(args.output, signer, ("photo", "speech" if args.audio else "driving video"))
    print(f"{args.output}: {driver.frames} frames, {driver.frames / FPS:.2f} s")
    if args.contact_sheet:
        try:
            args.contact_sheet.write_bytes(plots.png(sheet))
        except OSError as error:
            raise GenerationError(
                f"{args.contact_sheet}: cannot be written ({error.strerror}); check its folder"
            ) from error
        print(f"{args.contact_sheet}: the photo, then frames in order")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="davs-generate",
        description="Make a talking face from one photo, and speech or a driving video.",
        epilog="example: davs-generate --checkpoint runs/joint --photo me.jpg --audio speech.wav --output talking.mp4",
    )
    add = parser.add_argument
    add(
        "--checkpoint",
        default=DEMO,
        metavar="W",
        help="a workdir, one checkpoint in it, or an exported folder (default: the demo model of the package)",
    )
    add("--photo", required=True, type=Path, metavar="P", help="the face: any picture file; it is found and aligned")
    driver = parser.add_mutually_exclusive_group(required=True)
    driver.add_argument("--audio", type=Path, metavar="A", help="speech: any file with sound")
    driver.add_argument("--video", type=Path, metavar="V", help="a video of a face speaking; its sound goes along")
    add("--output", required=True, type=Path, metavar="O.mp4", help="written: H.264 with the driver's sound, 25 fps")
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--points", nargs="+", metavar="x,y", help=f"where no face is found: {POINTS}; or a JSON file of these five"
    )
    known.add_argument("--aligned", action="store_true", help="the photo is an aligned square crop already")
    gain = {"type": float, "metavar": "G"}
    default = "(default: what the weights say, {} for official ones; else 1)"
    add("--audio-gain", **gain, help=f"multiplies the word vectors of speech {default.format(1.5)}")
    add("--video-gain", **gain, help=f"multiplies the word vectors of a driving video {default.format(0.8)}")
    add("--crop", action="store_true", help="write the bare face, not the whole photo with the face put back into it")
    add("--mark", action="store_true", help='write "AI-generated" into a corner of the picture')
    add("--certificate", type=Path, metavar="PEM", help="sign with this certificate (default: one made for you, once)")
    add("--key", type=Path, metavar="PEM", help="its private key")
    add("--verify", action=provenance.Verify, metavar="FILE", help=provenance.Verify.HELP)
    add("--contact-sheet", type=Path, metavar="PNG", help="also write frames of the result side by side")
    return parser


if __name__ == "__main__":
    sys.exit(main())

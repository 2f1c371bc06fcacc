"""Examples of generated clips to see and hear: a sheet of frames, and videos with the clips' audio."""

from pathlib import Path

import numpy as np

from davs_jax.data.sources import ClipSource
from davs_jax.display import plots
from davs_jax.media.video.write import Writer
from davs_jax.provenance.signing import METADATA

SHEET_FRAMES = (4, 8, 12, 16, 20, 24)  # of each example, beside its photo
VIDEO_SIDE = 160  # pixels; smaller images are enlarged for the example video

Examples = dict[int, dict[str, np.ndarray]]


def example_sheet(examples: Examples) -> np.ndarray:
    """Three rows per example: the photo and its real frames, those driven by audio, and by video where there are."""
    rows = []
    for variants in examples.values():
        photo = variants["photo"][0]
        beside = {"real": photo, **{name: plots.named(f"from {name}", len(photo)) for name in ("audio", "video")}}
        rows += [[first, *variants[n][list(SHEET_FRAMES)]] for n, first in beside.items() if n in variants]
    return plots.sheet(rows)


def example_video(examples: Examples, source: ClipSource, path: Path) -> None:
    """Writes the examples one after another: photo, real, from audio and from video side by side, with real audio."""
    names = ("photo", "real", "audio", "video")
    audio = np.concatenate([source.record(i)["audio"] for i in examples]).astype(np.float32) / 2**15
    with Writer(path, samples=audio, metadata=METADATA) as writer:
        for variants in examples.values():
            for images in zip(*(variants[name] for name in names if name in variants), strict=True):
                writer.write(plots.sheet([images], side=VIDEO_SIDE))

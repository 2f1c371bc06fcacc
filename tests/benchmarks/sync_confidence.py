"""From which confidence an offset of `davs_jax.sync` can be believed: true pairs beside pairs that cannot be in sync.

    python tests/benchmarks/sync_confidence.py data/quickstart/raw/driving/*.mp4 [--checkpoint W]

Prints offset and confidence of every video with its own audio, and the largest confidences of the videos with the audio
of another. Videos shorter than 2 s are left out, for their confidence is mostly noise.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np

from davs_jax import inference
from davs_jax.generate.read import read_driving_video
from davs_jax.inference import Davs
from davs_jax.media.video.read import read_audio
from davs_jax.sync import audio_offset

SHORTEST, LONGEST = 50, 250  # frames


def vectors(model: Davs, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """wid `[T, E]` of a video's images and of its audio."""
    clip, _ = read_driving_video(path, or_speech=False)
    audio = model.wid_from_audio(model.file_audio(read_audio(path), clip.frames))
    return np.concatenate(list(clip.wid(model)))[:LONGEST], audio[:LONGEST]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--checkpoint", help="default: the demo model")
    arguments = parser.parse_args()
    model = inference.load(arguments.checkpoint)
    found = {path: vectors(model, path) for path in arguments.videos}
    found = {path: pair for path, pair in found.items() if len(pair[0]) >= SHORTEST}
    for path, pair in found.items():
        offset = audio_offset.measure(*pair)
        print(f"{path.name}: {len(pair[0])} frames, offset {offset.frames}, confidence {offset.confidence:.3f}")
    others = []
    for (images, _), (_, audio) in itertools.permutations(found.values(), 2):
        length = min(len(images), len(audio))
        others.append(audio_offset.measure(images[:length], audio[:length]).confidence)
    if others:
        figures = ", ".join(f"{share} %: {np.percentile(others, share):.3f}" for share in (50, 90, 99, 100))
        print(f"{len(others)} pairs with the audio of another: {figures}")


if __name__ == "__main__":
    main()

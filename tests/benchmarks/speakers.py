"""How often `--speaker lips` picks the one of two faces who is heard, in pictures composed of real recordings.

    python tests/benchmarks/speakers.py GRID [--pairs 10]

Two sentences of two speakers stand side by side, with the sound of the one and then of the other. Once both talk; once
the other one's picture stands still but for noise.
"""

import argparse
from pathlib import Path

import numpy as np

from data_prep import clips, folders
from davs_jax.media.faces import tracking
from davs_jax.media.video.read import Clip, read_clip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("grid", type=Path, help="folder of GRID that holds s1 and s4")
    parser.add_argument("--pairs", type=int, default=10, help="of sentences; default: %(default)s")
    args = parser.parse_args()
    noise = np.random.default_rng(0)
    files = [
        [args.grid / file for file in folders.files(args.grid) if file.startswith(f"{name}/") and file.endswith(".mp4")]
        for name in ("s1", "s4")
    ]
    right = {"both talk": 0, "the other is still": 0}
    pairs = list(zip(*(some[:: max(1, len(some) // args.pairs)][: args.pairs] for some in files), strict=True))
    for pair in pairs:
        recordings = [read_clip(path) for path in pair]
        length = min(len(clip.frames) for clip in recordings)
        pictures = [clip.frames[:length] for clip in recordings]
        for heard, recording in enumerate(recordings):
            other = pictures[1 - heard]
            still = other[:1] + noise.normal(0, 1.5, other.shape).astype(np.float32)
            still = np.clip(still, 0, 255).astype(np.uint8)
            for kind, silent in (("both talk", other), ("the other is still", still)):
                shown = [pictures[heard], silent] if heard == 0 else [silent, pictures[heard]]
                both = Clip(np.concatenate(shown, 2), recording.samples[: length * 640])
                chosen = clips.by_lips(tracking.tracks(both.frames), both)
                right[kind] += bool(chosen.points[:, 2, 0].mean() > shown[0].shape[2]) == bool(heard)
    for kind, count in right.items():
        print(f"{kind}: {count} of {2 * len(pairs)} right")


if __name__ == "__main__":
    main()

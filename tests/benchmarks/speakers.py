"""How often `--speaker lips` chooses the speaker among two faces, in videos composed of real recordings.

    python tests/benchmarks/speakers.py GRID [--pairs 10]

Two sentences of two speakers are shown side by side, with the audio of one and then of the other. In one condition
both talk; in the other, the silent one is a still image with noise.
"""

import argparse
from pathlib import Path

import numpy as np

from data_prep import folders, speaker
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
    correct = {"both talk": 0, "the other is still": 0}
    pairs = list(zip(*(some[:: max(1, len(some) // args.pairs)][: args.pairs] for some in files), strict=True))
    for pair in pairs:
        recordings = [read_clip(path) for path in pair]
        length = min(len(clip.frames) for clip in recordings)
        videos = [clip.frames[:length] for clip in recordings]
        for heard, recording in enumerate(recordings):
            other = videos[1 - heard]
            still = other[:1] + noise.normal(0, 1.5, other.shape).astype(np.float32)
            still = np.clip(still, 0, 255).astype(np.uint8)
            for kind, silent in (("both talk", other), ("the other is still", still)):
                shown = [videos[heard], silent] if heard == 0 else [silent, videos[heard]]
                both = Clip(np.concatenate(shown, 2), recording.samples[: length * 640])
                chosen = speaker.by_lips(tracking.tracks(both.frames), both)
                correct[kind] += bool(chosen.points[:, 2, 0].mean() > shown[0].shape[2]) == bool(heard)
    for kind, count in correct.items():
        print(f"{kind}: {count} of {2 * len(pairs)} correct")


if __name__ == "__main__":
    main()

"""How often SyncNet finds by how much the audio was shifted: the share of known shifts, on clips of a split.

    python tests/benchmarks/known_shifts.py runs/quickstart/syncnet data/quickstart/clips [--split test] [--limit 40]

The audio of every clip is shifted by −3 … 3 frames; offsets of ±5 are looked for, each over the same eight windows, so
that none is padded. Prints what is found exactly and within a frame, beside what guessing would find.
"""

import argparse

import numpy as np

from davs_jax.data.examples import View
from davs_jax.data.sources import open_clips
from davs_jax.evaluate.lip_sync import Scorer
from davs_jax.media import offsets


def distances(scorer: Scorer, record: dict, view: View) -> np.ndarray:
    """Euclidean distances `[24, 24]` between a clip's video and audio windows."""
    frames = np.stack([view(jpeg, "a frame") for jpeg in record["frames"][:29]])
    faces, audio = scorer.vectors(frames, record["audio"])
    return np.linalg.norm(faces[:, None] - audio[None], axis=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("syncnet", help="a run of configs/syncnet.py, or the released weights")
    parser.add_argument("clips", help="folder of clip shards")
    parser.add_argument("--split", default="test", help="default: %(default)s")
    parser.add_argument("--limit", type=int, default=40, help="clips, evenly spread; default: %(default)s")
    args = parser.parse_args()
    scorer, source = Scorer.load(args.syncnet), open_clips(args.clips, args.split)
    view = View.central(source.image_size)
    chosen = np.unique(np.linspace(0, len(source) - 1, min(args.limit, len(source))).astype(int))
    found = np.stack([distances(scorer, source.record(int(i)), view) for i in chosen])
    print(f"{len(chosen)} clips of split {args.split}, {len(offsets.SHIFTS)} shifts each")
    for name, tolerance in (("exactly", 0), ("within a frame", 1)):
        hits = offsets.shift_hits(found, tolerance)
        chance = (2 * tolerance + 1) / (2 * offsets.REACH + 1)
        print(f"found {name}: {100 * hits.mean():.1f} % (guessing {100 * chance:.1f} %)")


if __name__ == "__main__":
    main()

"""Speed of the MFCC relative to real time, on one core.

python tests/benchmarks/mfcc.py [--seconds 600]
"""

import argparse
import time

import numpy as np
from threadpoolctl import threadpool_limits

from davs_jax.constants import CLIP_FRAMES, FPS, SAMPLE_RATE
from davs_jax.media.audio import clip_mfcc, mfcc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=600, help="of audio; default: %(default)s")
    args = parser.parse_args()
    samples = np.random.default_rng(0).integers(-9000, 9000, args.seconds * SAMPLE_RATE).astype(np.int16)
    clip = samples[: CLIP_FRAMES * SAMPLE_RATE // FPS]
    count = args.seconds * FPS // CLIP_FRAMES
    with threadpool_limits(1):
        clip_mfcc(clip, CLIP_FRAMES)  # makes its tables
        for name, work in (
            ("in one piece", lambda: mfcc(samples, SAMPLE_RATE)),
            ("clip by clip", lambda: [clip_mfcc(clip, CLIP_FRAMES) for _ in range(count)]),
        ):
            began, used = time.perf_counter(), time.process_time()
            work()
            used, passed = time.process_time() - used, time.perf_counter() - began
            seconds = args.seconds if name == "in one piece" else count * CLIP_FRAMES / FPS
            print(f"{name}: {seconds / used:,.0f} × real time by CPU time, {seconds / passed:,.0f} × by wall clock")


if __name__ == "__main__":
    main()

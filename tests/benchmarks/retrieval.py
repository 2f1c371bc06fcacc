"""How much memory and time retrieval among all clips takes: blocks of queries against the whole gallery.

    python tests/benchmarks/retrieval.py [--clips 25000] [--length 3072]

prints the size of the vectors, of the table of all distances that is never made, the seconds of one direction, and by
how much the process grew beyond the vectors.
"""

import argparse
import resource
import time

import numpy as np

from davs_jax.evaluate import metrics


def peak() -> float:
    """Most memory that this process has held so far, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=25_000, help="LRW's test split; default: %(default)s")
    parser.add_argument("--length", type=int, default=12 * 256, help="of a clip vector; default: %(default)s")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    audio = rng.standard_normal((args.clips, args.length), np.float32)
    video = rng.standard_normal(audio.shape, np.float32)
    video *= 10  # in place, as all of this, so that the peak below is the retrieval's own
    video += audio
    for vectors in (audio, video):
        vectors /= np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
    before, began = peak(), time.perf_counter()
    figures = metrics.retrieval(audio, video)
    seconds = time.perf_counter() - began
    print(f"{args.clips:,} clips, vectors of {args.length:,}: {2 * audio.nbytes / 2**30:.2f} GiB")
    print(f"all distances at once would be {4 * args.clips**2 / 2**30:.2f} GiB")
    print(f"one direction: {seconds:.1f} s; peak {peak():.2f} GiB, {peak() - before:.2f} GiB of it for retrieval")
    print(f"R@1 {figures.r1:.3f}, median rank {figures.median_rank:.0f}")


if __name__ == "__main__":
    main()

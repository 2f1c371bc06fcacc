"""What checksums cost beside saving a checkpoint, and the rate of hashes that could be used.

    python tests/benchmarks/checksums.py [--config configs/common.py:joint] [--rounds 5]

Saves a state as training does. Prints the median seconds, of the clock and of the processor, of the save and of the
checksums that follow it in the background, and their ratio. Both are taken from the same save, so that other jobs on
the machine slow both down. Training waits only for the first line, the start of a save.
"""

import argparse
import hashlib
import sys
import tempfile
import time
import zlib
from pathlib import Path
from unittest import mock

import google_crc32c
import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from train_step import load

from davs_jax.checkpoint import Checkpoints, checksums
from davs_jax.parallel import sharding
from davs_jax.training import state
from davs_jax.training.stage import Stage

HASHES = {
    "crc32c": google_crc32c.value,
    "crc32": zlib.crc32,
    "adler32": zlib.adler32,
    "sha1": hashlib.sha1,
    "blake2b": hashlib.blake2b,
}


def random_state(config) -> state.DavsState:
    """Numbers that do not compress, as trained weights do not."""
    rng = np.random.default_rng(0)

    def fill(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        return jnp.asarray(rng.standard_normal(leaf.shape, np.float32), leaf.dtype, device=leaf.sharding)

    return jax.tree.map(fill, state.abstract_state(Stage.from_config(config), sharding.make_mesh(config.mesh)))


def save(folder: str, now: state.DavsState, config) -> dict[str, np.ndarray]:
    """Seconds of the clock and of the processor: the start of a save, all of it, and its checksums."""
    found, write = {}, checksums.write

    def timed(*arguments) -> None:
        found["a save"] = np.array([time.perf_counter(), time.process_time()]) - began
        started = np.array([time.perf_counter(), time.thread_time()])
        write(*arguments)
        found["its checksums"] = np.array([time.perf_counter(), time.thread_time()]) - started

    checkpoints = Checkpoints(folder, 3, "")
    with mock.patch.object(checksums, "write", timed):
        began = np.array([time.perf_counter(), time.process_time()])
        checkpoints.save(1, now, config)
        found["training waits"] = np.array([time.perf_counter(), time.process_time()]) - began
        checkpoints.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default="configs/common.py:joint", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    args = parser.parse_args()
    content = np.random.default_rng(0).bytes(2**20)
    for name, function in HASHES.items():
        began = time.process_time()
        for _ in range(200):
            function(content)
        print(f"{name}: {200 * 2**20 / 1e9 / (time.process_time() - began):.1f} GB per s of CPU")
    file, _, stage = args.config.partition(":")
    config = load(file, stage or "joint")
    now = random_state(config)
    rounds = []
    for _ in range(args.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(save(folder, now, config))
            size = sum(path.stat().st_size for path in Path(folder).rglob("*"))
    print(f"a checkpoint of {size / 1e6:,.0f} MB")
    for name in ("training waits", "a save", "its checksums"):
        clock, cpu = np.median([found[name] for found in rounds], 0)
        print(f"{name}: {clock:.2f} s of the clock, {cpu:.2f} s of CPU")
    clock, cpu = np.median([found["its checksums"] / found["a save"] for found in rounds], 0)
    print(f"checksums ÷ save: {clock:.3f} of the clock, {cpu:.3f} of CPU")


if __name__ == "__main__":
    main()

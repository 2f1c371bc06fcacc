"""Kills a preparation at random moments, resumes it, and compares the bytes with those of an undisturbed run.

    python tests/benchmarks/kills.py GRID [--sentences 200] [--kills 5] [--seed 0]

The main process is killed by SIGKILL, which it cannot handle; its workers end with it. A trial in which no shard was
finished before any kill shows nothing, and fails.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.preparation import contents


def command(corpus: Path, output: Path) -> list[str]:
    flags = ["--input", str(corpus), "--output", str(output), "--image-size", "64", "--workers", "2"]
    return [sys.executable, "-m", "data_prep.grid", *flags]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("grid", type=Path, help="folder of a speaker of GRID, .mp4 and .align side by side")
    parser.add_argument("--sentences", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--kills", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; default: %(default)s")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as place:
        corpus, undisturbed, killed = (Path(place, name) for name in ("s1", "undisturbed", "killed"))
        corpus.mkdir()
        for path in sorted(args.grid.glob("*.mp4"))[: args.sentences]:
            for file in (path, path.with_suffix(".align")):
                os.symlink(file.resolve(), corpus / file.name)
        began = time.perf_counter()
        subprocess.run(command(corpus, undisturbed), check=True, capture_output=True)
        whole = time.perf_counter() - began
        print(f"undisturbed: {whole:.1f} s")
        done, finished_at_kills = 0, []
        while done < args.kills:
            after = rng.uniform(0.05, 0.4) * whole
            process = subprocess.Popen(command(corpus, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(after)
                sys.exit("the run ended before all kills; give more --sentences")
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            done += 1
            finished = len(list((killed / "shards").glob("*.json"))) if killed.exists() else 0
            finished_at_kills.append(finished)
            print(f"kill {done} after {after:.1f} s: {finished} shards finished")
        subprocess.run(command(corpus, killed), check=True, capture_output=True)
        if not any(finished_at_kills):
            sys.exit("no shard was finished before any kill; give more --sentences")
        one, other = contents(undisturbed), contents(killed)
        differing = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
        shards = sum("array_record" in name for name in one)
        print(f"{len(one)} files, {shards} of them shards; different: {', '.join(differing) or 'none'}")
        sys.exit(bool(differing))


if __name__ == "__main__":
    main()

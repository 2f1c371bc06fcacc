"""Seconds from the start of a training process to its first step: of a new run, and of the same run started again.

    python tests/benchmarks/startup.py [--config configs/quickstart.py:joint] [--set data.batch_size=8 …]

`python -m davs_jax.main` on small shards, twice with one command in one workdir, each stopped by SIGTERM after its
first step, as a pod that is taken away and given back: the first start finds no kept compilations, the second resumes
from its checkpoint with what the first has kept. Prints both, how long each waited for the compiled step (the run's own
account), CPU time, by which busy machines compare, and the ratios.
"""

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from train_step import load, override, write_data

from davs_jax.constants import STOPPED
from davs_jax.monitor import goodput


def first_step(options: list[str], workdir: Path, cache: Path) -> tuple[float, float, float]:
    """Seconds to the end of the first step of this start; of waiting for the compiled step; of CPU time in all."""
    command = [sys.executable, "-m", "davs_jax.main", *options, f"--workdir={workdir}"]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    events = workdir / "metrics.jsonl"
    done = _logged(events)
    used, began = _cpu(), time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and _logged(events) == done:
        time.sleep(0.01)
    seconds = time.perf_counter() - began
    process.send_signal(signal.SIGTERM)  # the same command starts again: other steps would be another program
    if process.wait() != STOPPED:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    return seconds, goodput.read((workdir / goodput.FILE).read_text().splitlines())[-1]["compile"], _cpu() - used


def _logged(events: Path) -> int:
    """Lines of metrics.jsonl: with log.every=1, the steps of all starts."""
    return len(events.read_text().splitlines()) if events.exists() else 0


def _cpu() -> float:
    """Seconds of CPU time of all processes that have ended."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def starts(config: str, settings: list[str], folder: Path, cache: Path) -> list[tuple[float, float, float]]:
    """What `first_step` returns, of a new run, and of the same run started again.

    Args:
      config: as davs_jax.main takes it, FILE:STAGE.
      settings: KEY=VALUE, of the config.
      folder: for shards and the workdir.
      cache: for kept compilations.
    """
    file, _, stage = config.partition(":")
    loaded = load(file, stage)
    override(loaded, settings)
    write_data(folder, loaded)
    data = {"clips": loaded.data.clips, "faces": loaded.data.faces}
    options = [f"--config={config}", *(f"--config.data.{k}={v}" for k, v in data.items())]
    options += ["--config.init_from=", "--config.init_networks=()", "--config.log.every=1"]
    options += ["--config.log.eval_every=0", "--config.log.images_every=0"]
    options += [f"--config.{setting}" for setting in settings]
    return [first_step(options, folder / "run", cache) for _ in range(2)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default="configs/quickstart.py:joint", help="default: %(default)s")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        times = starts(args.config, args.set, Path(name), Path(name, "cache"))
    for start, (seconds, compiling, cpu) in zip(("first", "second"), times, strict=True):
        told = f"a step after {seconds:.1f} s, of which waiting for the compiled step {compiling:.1f} s"
        print(f"{start} start: {told}; CPU time until its end {cpu:.1f} s")
    (cold, _, used), (warm, _, less) = times
    print(f"the second start is {cold / warm:.1f}× as quick; by CPU time {used / less:.1f}×")


if __name__ == "__main__":
    main()

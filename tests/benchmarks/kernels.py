"""The operations of a profile that take longest.

    python tests/benchmarks/kernels.py WORKDIR/profile [--count 10]

reads the newest `*.xplane.pb` below the folder, as `--config.profile.steps=3` of davs_jax.main writes it. On a GPU an
operation is a kernel, on a TPU and a CPU one of the compiled program's. The times of its calls are added up over the
profile and all devices, or threads.
"""

import argparse
import collections
from collections.abc import Iterator
from pathlib import Path

from jax.profiler import ProfileData


def longest(folder: Path, count: int) -> tuple[float, list[tuple[str, float, int]]]:
    """Seconds of all operations together; and of the longest, name, seconds and number of calls.

    Raises:
      FileNotFoundError: the folder holds no profile.
    """
    if not (files := sorted(folder.rglob("*.xplane.pb"), key=lambda file: file.stat().st_mtime)):
        raise FileNotFoundError(f"{folder} holds no *.xplane.pb")
    seconds: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    for name, spent in _operations(ProfileData.from_file(str(files[-1]))):
        seconds[name] += spent
        calls[name] += 1
    return seconds.total(), [(name, spent, calls[name]) for name, spent in seconds.most_common(count)]


def _operations(profile: ProfileData) -> Iterator[tuple[str, float]]:
    """Name and seconds of every operation."""
    planes = list(profile.planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:") and "CUSTOM" not in plane.name]
    for plane in devices or [plane for plane in planes if plane.name == "/host:CPU"]:
        for line in plane.lines:
            if devices and not line.name.startswith(("Stream", "XLA Ops")):
                continue  # the same time again, by module or by source line
            for event in line.events:
                if devices or any(key == "hlo_op" for key, _ in event.stats):
                    yield event.name, event.duration_ns / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=10, help="default: %(default)s")
    args = parser.parse_args()
    try:
        total, operations = longest(args.folder, args.count)
    except FileNotFoundError as error:
        parser.error(str(error))
    for name, spent, calls in operations:
        print(f"{spent * 1e3:10.2f} ms {spent / total:6.1%} {calls:7,} calls  {name}")


if __name__ == "__main__":
    main()

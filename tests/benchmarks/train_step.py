"""Training speed of a stage: clips per second, model FLOP utilisation, time spent waiting for data, and memory.

    python tests/benchmarks/train_step.py [--config configs/quickstart.py] [--stages word person generator joint]
        [--steps 10] [--set model.dtype=bfloat16 data.batch_size=32 …]
    python tests/benchmarks/train_step.py --config configs/common.py --stages joint --steps 3 --set data.batch_size=2
        model.num_words=10 --pytorch      # compared with the same networks and losses in PyTorch

Shards of small noisy images are written first, so that the whole pipeline runs: reading, decoding, the step. Each stage
gives one line: seconds to compile; clips (identity images in the person stage) per second, the median of the steps;
operations per step, and as model FLOP utilisation (MFU) their fraction of the rate of a large matrix product in the
same run and type (matrix products and convolutions only, as `davs_jax.plan.flops` counts them); the fraction of time
spent waiting for data; bytes of a device that a step needs, and the peak memory of this process.

`--pytorch` (the joint stage in the published topology) trains the same networks by the same losses in PyTorch, from the
same weights on the first batch, repeatedly, so that no loader slows it. Channels last; bfloat16 by autocast;
`--compile` uses torch.compile. Dropout, softened labels and the person adversary are off in both, and the first losses
must agree.
"""

import argparse
import ast
import contextlib
import dataclasses
import importlib.util
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from davs_jax.data import pipeline, records
from davs_jax.face_geometry import stored_size
from davs_jax.parallel import sharding
from davs_jax.parallel.compilation import compile_step
from davs_jax.plan import flops
from davs_jax.training import state, step
from davs_jax.training.stage import Stage
from support.tiny_data import SPEAKERS, clip_record, face_record, jpeg, write_shards

STAGES = ("person", "word", "generator", "joint")
WARM_UP = 2  # steps that are not counted
PROFILED = 3  # steps of a profile


def matrix_rate(dtype) -> float:
    """Operations per second of a large matrix product on one device: the best of five."""
    side = 1_024 if jax.default_backend() == "cpu" else 8_192
    # Random numbers: on constant ones a chip uses less power, and so runs faster than on data.
    x, product = jax.random.normal(jax.random.key(0), (side, side), dtype), jax.jit(jnp.matmul)
    return 2 * side**3 / fastest(lambda: product(x, x))


def fastest(function: Callable, calls: int = 5) -> float:
    """Seconds of the fastest call, after one that is not counted."""
    jax.block_until_ready(function())
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - began)
    return min(times)


def resized(encoded: bytes, side: int) -> bytes:
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    return jpeg(cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC))


def write_data(folder: Path, config) -> None:
    """Writes shards of a few images of this size, with as many words and identities as the config has."""
    side, model = stored_size(config.model.image_size), config.model
    words = [f"WORD{i:05d}" for i in range(model.num_words)]
    clips = []
    for number in range(32):
        record = clip_record(number)
        clips.append(record | {"word": number % len(words), "frames": [resized(f, side) for f in record["frames"]]})
    faces = []
    for number in range(64):
        record = face_record(number)
        faces.append(record | {"identity": number % model.num_identities, "image": resized(record["image"], side)})
    names = [f"p{i:06d}" for i in range(model.num_identities)]
    for name, features, examples in (
        ("clips", records.clip_features(words, SPEAKERS), clips),
        ("faces", records.face_features(names), faces),
    ):
        (folder / name).mkdir()
        config.data[name] = write_shards(folder / name, name, features, {"train": examples})


@dataclasses.dataclass(frozen=True)
class Measured:
    """One stage's training.

    Attributes:
      compiling: seconds.
      seconds: of a step, the median.
      examples: of a step.
      operations: of a step over all devices.
      devices: their number.
      waiting: share of the time that steps wait for data.
      needed: bytes of a device.
      first: weights, batch statistics, batch and loss of the first step.
    """

    compiling: float
    seconds: float
    examples: int
    operations: float
    devices: int
    waiting: float
    needed: int
    first: tuple

    def share(self, rate: float) -> float:
        """Of the devices' rate of matrix products."""
        return self.operations / self.seconds / rate / self.devices


def measure(config, steps: int, profile: Path | None = None) -> Measured:
    """Trains a few steps of a stage.

    Args:
      profile: folder for a profile of PROFILED further steps; None makes none.
    """
    mesh = sharding.make_mesh(config.mesh)
    stage = Stage.from_config(config)
    spec, abstract, now = dict(stage.batch), state.abstract_state(stage, mesh), state.init_state(stage, mesh)
    began = time.perf_counter()
    compiled, _ = compile_step(step.make_train_step(stage, mesh), (abstract, spec), lambda line: None)
    compiling = time.perf_counter() - began
    batches = pipeline.train_batches(config, mesh, spec)
    times, waited, beginning = [], [], jax.device_get((now.params, now.batch_stats))
    with contextlib.closing(batches):
        for _ in range(WARM_UP + steps):
            began = time.perf_counter()
            batch = next(batches)
            waited.append(time.perf_counter() - began)
            now, metrics = compiled(now, batch)
            jax.block_until_ready(metrics)
            times.append(time.perf_counter() - began)
            if len(times) == 1:
                first = (*beginning, jax.device_get(batch), float(metrics["loss/total"]))
        if profile:
            with jax.profiler.trace(str(profile)):
                for _ in range(PROFILED):
                    now, metrics = compiled(now, next(batches))
                jax.block_until_ready(metrics)
    used = compiled.memory_analysis()
    return Measured(
        compiling=compiling,
        seconds=statistics.median(times[WARM_UP:]),
        examples=stage.examples,
        operations=flops.count(step.TrainStep(stage), abstract, spec),
        devices=mesh.size,
        waiting=sum(waited[WARM_UP:]) / sum(times[WARM_UP:]),
        needed=used.argument_size_in_bytes
        + used.output_size_in_bytes
        - used.alias_size_in_bytes
        + used.temp_size_in_bytes,
        first=first,
    )


def in_pytorch(config, steps: int, first: tuple, compiled: bool) -> tuple[float, float, int]:
    """The same steps in PyTorch: seconds of one, the median; the first loss; most bytes of a GPU, 0 on a CPU."""
    import torch
    from train_torch import Trainer

    params, batch_stats, batch, _ = first
    torch.backends.cudnn.benchmark = True  # the fastest kernels, as XLA chooses them
    trainer = Trainer(config, params, batch_stats, "cuda" if torch.cuda.is_available() else "cpu", compiled)
    tensors, times, losses = trainer.put(batch), [], []
    for _ in range(WARM_UP + steps):
        began = time.perf_counter()
        losses.append(trainer.step(tensors))  # which waits for the device
        times.append(time.perf_counter() - began)
    held = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return statistics.median(times[WARM_UP:]), losses[0], held


def load(file: str, stage: str = ""):
    """The config of a file, and of a stage where the file has several."""
    spec = importlib.util.spec_from_file_location("config", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(*filter(None, [stage]))


def override(config, settings: Sequence[str]) -> None:
    """Changes settings, given as KEY=VALUE."""
    with config.unlocked():
        for key, _, value in (setting.partition("=") for setting in settings):
            with contextlib.suppress(ValueError, SyntaxError):  # else it is a string
                value = ast.literal_eval(value)
            config.update_from_flattened_dict({key: value})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default="configs/quickstart.py", help="default: %(default)s")
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES)
    parser.add_argument("--steps", type=int, default=10, help="counted steps; default: %(default)s")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings")
    parser.add_argument("--pytorch", action="store_true", help="compare with PyTorch; the published joint stage only")
    parser.add_argument("--compile", action="store_true", help="compile PyTorch's step with torch.compile")
    args = parser.parse_args()
    device = jax.devices()[0]
    print(f"{jax.device_count()} × {device.device_kind}, jax {jax.__version__}")
    print("stage      compile s    s/step  clips/s  GFLOP/step   MFU  waiting  step GiB  held GiB")
    for stage in args.stages:
        config = load(args.config, stage)
        override(config, args.set)
        if args.pytorch:
            from train_torch import comparable

            try:
                comparable(config)
            except ValueError as error:
                parser.error(str(error))
        rate = matrix_rate(jnp.dtype(config.model.dtype))
        with tempfile.TemporaryDirectory() as folder:
            write_data(Path(folder), config)
            found = measure(config, args.steps)
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{stage:<10} {found.compiling:9.0f} {found.seconds:9.3f} {found.examples / found.seconds:9.2f} "
            f"{found.operations / 1e9:10.1f} {found.share(rate):6.1%} {found.waiting:8.1%} "
            f"{found.needed / 2**30:8.2f} {held:8.2f}",
            flush=True,
        )
        if args.pytorch:
            seconds, loss, _ = in_pytorch(config, args.steps, found.first, args.compile)
            print(
                f"PyTorch: {seconds:.3f} s/step; ours is {seconds / found.seconds:.2f} times as fast; first losses: "
                f"ours {found.first[-1]:.5g}, PyTorch {loss:.5g}",
                flush=True,
            )
    print(f"matrix product on one device: {rate / 1e9:,.0f} GFLOP/s in {config.model.dtype}")


if __name__ == "__main__":
    main()

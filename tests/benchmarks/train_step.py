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
import importlib.util
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from davs_jax.data import pipeline, records
from davs_jax.face_geometry import stored_size
from davs_jax.parallel import sharding
from davs_jax.plan import flops
from davs_jax.training import state, step
from davs_jax.training.stage import Stage
from support.tiny_data import SPEAKERS, clip_record, face_record, jpeg, write_shards

STAGES = ("person", "word", "generator", "joint")
WARM_UP = 2  # steps that are not counted


def matrix_rate(dtype) -> float:
    """Operations per second of a large matrix product on one device: the best of five."""
    side = 1_024 if jax.default_backend() == "cpu" else 8_192
    x = jnp.ones((side, side), dtype)
    product = jax.jit(jnp.matmul)
    product(x, x).block_until_ready()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        product(x, x).block_until_ready()
        times.append(time.perf_counter() - began)
    return 2 * side**3 / min(times)


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


def measure(config, steps: int, rate: float) -> tuple[str, float, tuple]:
    """One stage in one line; seconds per step; and the first step's weights, batch and loss."""
    mesh = sharding.make_mesh(config.mesh)
    stage = Stage.from_config(config)
    spec, abstract, now = dict(stage.batch), state.abstract_state(stage, mesh), state.init_state(stage, mesh)
    began = time.perf_counter()
    compiled = step.make_train_step(stage, mesh).lower(abstract, spec).compile()
    compiling = time.perf_counter() - began
    batches = pipeline.train_batches(config, mesh, spec)
    times, waited, beginning = [], [], jax.device_get((now.params, now.batch_stats))
    for _ in range(WARM_UP + steps):
        began = time.perf_counter()
        batch = next(batches)
        waited.append(time.perf_counter() - began)
        now, metrics = compiled(now, batch)
        jax.block_until_ready(metrics)
        times.append(time.perf_counter() - began)
        if len(times) == 1:
            first = (*beginning, jax.device_get(batch), float(metrics["loss/total"]))
    batches.close()
    seconds, examples = statistics.median(times[WARM_UP:]), stage.examples
    operations = flops.count(step.TrainStep(stage), abstract, spec)
    used = compiled.memory_analysis()
    needed = used.argument_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
    needed += used.temp_size_in_bytes
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    line = (
        f"{compiling:9.0f} {seconds:9.3f} {examples / seconds:9.2f} {operations / 1e9:10.1f} "
        f"{operations / seconds / rate / mesh.size:6.1%} {sum(waited[WARM_UP:]) / sum(times[WARM_UP:]):8.1%} "
        f"{needed / 2**30:8.2f} {held:8.2f}"
    )
    return line, seconds, first


def beside_pytorch(config, steps: int, ours: float, first: tuple, compiled: bool) -> str:
    """The same steps in PyTorch, in one line."""
    import torch
    from train_torch import Trainer

    params, batch_stats, batch, loss = first
    device = "cuda" if torch.cuda.is_available() else "cpu"
    trainer = Trainer(config, params, batch_stats, device, compiled)
    tensors, times, losses = trainer.put(batch), [], []
    for _ in range(WARM_UP + steps):
        began = time.perf_counter()
        losses.append(trainer.step(tensors))  # which waits for the device
        times.append(time.perf_counter() - began)
    seconds = statistics.median(times[WARM_UP:])
    return (
        f"PyTorch {torch.__version__} on {device}, {torch.get_num_threads()} threads: {seconds:.3f} s/step; ours is "
        f"{seconds / ours:.2f} times as fast; first losses: ours {loss:.5g}, PyTorch {losses[0]:.5g}"
    )


def load(file: str, stage: str):
    spec = importlib.util.spec_from_file_location("config", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(stage)


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
        with config.unlocked():
            for key, _, value in (setting.partition("=") for setting in args.set):
                with contextlib.suppress(ValueError, SyntaxError):  # else it is a string
                    value = ast.literal_eval(value)
                config.update_from_flattened_dict({key: value})
        if args.pytorch:
            from train_torch import comparable

            try:
                comparable(config)
            except ValueError as error:
                parser.error(str(error))
        rate = matrix_rate(jnp.dtype(config.model.dtype))
        with tempfile.TemporaryDirectory() as folder:
            write_data(Path(folder), config)
            line, seconds, first = measure(config, args.steps, rate)
        print(f"{stage:<10} {line}", flush=True)
        if args.pytorch:
            print(beside_pytorch(config, args.steps, seconds, first, args.compile), flush=True)
    print(f"matrix product on one device: {rate / 1e9:,.0f} GFLOP/s in {config.model.dtype}")


if __name__ == "__main__":
    main()

"""What `accelerator.py` measures, each part in a process of its own: `python accelerator_parts.py PART ROWS`.

A part appends a line of JSON to the file ROWS for each measurement, as soon as it is made.
"""

import argparse
import gc
import importlib.util
import json
import os
import pickle
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp

sys.path.insert(0, str(Path(__file__).parents[1]))

import train_step

from davs_jax.parallel.compilation import keep_compilations

PUBLISHED = {name: f"configs/lrw_{name}.py" for name in ("person", "word", "generator")} | {"joint": "configs/lrw.py"}
RECOMMENDED = "configs/lrw_recommended.py"
# Examples a step; of the word stage not the published 64, for which one device may be too small.
BATCH = {"person": 256, "word": 16, "generator": 64, "joint": 16}
LARGEST = 512  # clips of a step that the search for the largest batch tries
STEPS, TOY_STEPS = 10, 2
TOY = ["model.image_size=64", "model.width=0.125", "model.num_words=10", "model.num_identities=10"]
TOY += ["data.batch_size=4", "data.face_batch_size=4"]
FIRST = "first.pickle"  # seconds of our step, and its first weights, batch and loss, for PyTorch
FULL_SIZE_TOY = ["model.width=0.0625", "model.num_words=10", "model.num_identities=10"]  # PyTorch's networks are 256 px


class Part:
    """What all parts share.

    Attributes:
      rows: the file of measurements.
      toy: whether sizes are those of a dry run on a CPU.
      steps: of training, that are counted.
    """

    def __init__(self, rows: Path, toy: bool):
        self.rows, self.toy, self.steps = rows, toy, TOY_STEPS if toy else STEPS

    def row(self, title: str, value: float | None, unit: str, **columns) -> None:
        """Writes one measurement; a value of None is one that could not be made, and `remark` says why."""
        with self.rows.open("a") as file:
            file.write(json.dumps({"title": title, "value": value, "unit": unit} | columns) + "\n")

    def config(self, recipe: str, stage: str, dtype: str, batch: int = 0):
        """A stage of the published or the recommended recipe, with this compute type and batch."""
        where = (RECOMMENDED, stage) if recipe == "recommended" else (PUBLISHED[stage], "")
        config = train_step.load(*where)
        batch = batch or BATCH[stage]
        settings = [f"model.dtype={dtype}", f"data.batch_size={batch}"]
        settings += [f"data.face_batch_size={batch if stage == 'person' else min(batch, 16)}"]
        train_step.override(config, settings + (TOY if self.toy else []))
        return config


def device(part: Part) -> None:
    """Rates of matrix products, and bandwidth of the memory."""
    name = f"{jax.device_count()} × {jax.devices()[0].device_kind}, jax {jax.__version__}"
    for dtype in ("bfloat16", "float32"):
        rate = train_step.matrix_rate(jnp.dtype(dtype))
        part.row(f"matrix product, {dtype}", rate / 1e12, "TFLOP/s", remark=name)
    numbers = 2**24 if jax.default_backend() == "cpu" else 2**29
    x, add = jax.random.normal(jax.random.key(0), (numbers,)), jax.jit(lambda x: x + 1)
    part.row("memory read and written", 2 * x.nbytes / train_step.fastest(lambda: add(x)) / 1e9, "GB/s")


def start(part: Part) -> None:
    """The recommended joint stage started twice; leaves its compiled step in the cache."""
    from startup import starts

    config = part.config("recommended", "joint", "bfloat16")
    settings = [f"data.batch_size={config.data.batch_size}", f"data.face_batch_size={config.data.face_batch_size}"]
    settings += TOY if part.toy else []
    cache = Path(os.environ["JAX_COMPILATION_CACHE_DIR"])
    with tempfile.TemporaryDirectory() as folder:
        (cold, compiling, _), (warm, waiting, _) = starts(f"{RECOMMENDED}:joint", settings, Path(folder), cache)
    title = "joint, recommended, bfloat16: start to first step"
    part.row(f"{title}, cold", cold, "s", remark=f"compiling the step {compiling:.1f} s")
    remark = f"waiting for the step {waiting:.1f} s; {cold / warm:.1f} × as quick as cold"
    part.row(f"{title}, warm", warm, "s", remark=remark)


def train(part: Part, recipe: str, stage: str, dtype: str, profile: str = "") -> None:
    """One stage at its batch size, halved until it fits."""
    batch = BATCH[stage]
    while batch and not trained(part, recipe, stage, dtype, batch, bool(profile)):
        batch //= 2


def batches(part: Part, recipe: str, stage: str, dtype: str) -> None:
    """One stage at twice its batch size, and twice that, until it does not fit."""
    batch = 2 * BATCH[stage]
    while batch <= LARGEST and trained(part, recipe, stage, dtype, batch) and not part.toy:
        batch *= 2


def trained(part: Part, recipe: str, stage: str, dtype: str, batch: int, profile: bool = False) -> bool:
    """Whether the step fits; then it is a row, and its longest kernels are."""
    config = part.config(recipe, stage, dtype, batch)
    unit = "images" if stage == "person" else "clips"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_step.write_data(folder, config)
        try:
            found = train_step.measure(config, part.steps, folder / "profile" if profile else None)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            found = None
        if found is None:
            part.row(f"{stage}, {recipe}, {dtype}, {batch} {unit}", None, f"{unit}/s", remark="does not fit")
            gc.collect()  # the state, which the error's frames held
            return False
        title = f"{stage}, {recipe}, {dtype}, {found.examples} {unit}"
        part.row(title, found.examples / found.seconds, f"{unit}/s", remark=f"compiled in {found.compiling:.0f} s",
                 **columns(found, config))  # fmt: skip
        if profile:
            kernels(part, folder / "profile", title)
    return True


def columns(found: train_step.Measured, config) -> dict:
    """The columns of a training step."""
    held = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", found.needed)
    return {
        "seconds": found.seconds,
        "share": found.share(train_step.matrix_rate(jnp.dtype(config.model.dtype))),
        "gib": held / 2**30,
        "waiting": found.waiting,
    }


def kernels(part: Part, profile: Path, title: str) -> None:
    """The ten longest kernels of a profile."""
    from kernels import longest

    total, operations = longest(profile, 10)
    for number, (name, seconds, calls) in enumerate(operations, start=1):
        part.row(f"{title}: kernel {number}", seconds / train_step.PROFILED * 1e3, "ms a step", share_of_kernels=seconds
                 / total, remark=f"{calls // train_step.PROFILED} calls of {name[:90]}")  # fmt: skip


def comparable(part: Part) -> None:
    """Ours of what `pytorch` measures: the published joint step in bfloat16, without dropout and our options."""
    config, first = comparable_config(part), part.rows.parent / FIRST
    first.unlink(missing_ok=True)  # an earlier run's
    with tempfile.TemporaryDirectory() as folder:
        train_step.write_data(Path(folder), config)
        found = train_step.measure(config, part.steps)
    remark = f"no dropout, as in PyTorch; first loss {found.first[-1]:.5g}"
    part.row(comparison(config), found.examples / found.seconds, "clips/s", remark=remark, **columns(found, config))
    first.write_bytes(pickle.dumps((found.seconds, found.first)))


def pytorch(part: Part, mode: str) -> None:
    """The same in PyTorch, from the same weights, on the same batch; `eager` or `compiled`."""
    config = comparable_config(part)
    if not importlib.util.find_spec("torch"):
        part.row(f"{comparison(config)}, PyTorch {mode}", None, "clips/s", remark="PyTorch is not installed")
        return
    if not (file := part.rows.parent / FIRST).exists():
        raise SystemExit("the part `comparable` has not left its weights and batch")
    seconds, first = pickle.loads(file.read_bytes())
    theirs, loss, held = train_step.in_pytorch(config, part.steps, first, mode == "compiled")
    remark = f"davs_jax is {theirs / seconds:.2f} × as fast; channels-last, autocast; first loss {loss:.5g}"
    part.row(
        f"{comparison(config)}, PyTorch {mode}",
        config.data.batch_size / theirs,
        "clips/s",
        seconds=theirs,
        **({"gib": held / 2**30} if held else {}),
        remark=remark,
    )


def comparable_config(part: Part):
    config = train_step.load(PUBLISHED["joint"])
    settings = ["model.dtype=bfloat16", f"data.batch_size={2 if part.toy else BATCH['joint']}"]
    settings += ["loss.wid_uniform=0.0", "model.dropout=0.0", "label_softness=0.0"]
    train_step.override(config, settings + (FULL_SIZE_TOY if part.toy else []))
    return config


def comparison(config) -> str:
    return f"joint, published, bfloat16, {config.data.batch_size} clips"


def loader(part: Part) -> None:
    """Clips per second that this host reads and decodes for the joint stage, with all its cores."""
    import reading

    threads = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder, clips = Path(name), 16 if part.toy else 64
        reading.make(folder, clips)
        per_core, rate = reading.by_records(
            folder, clips * (1 if part.toy else 16), threads, reading.STAGES["joint stage"]
        )
    part.row("loader, joint stage at 256 px", rate, "clips/s", remark=f"{threads} threads; {per_core:.0f} per core")


def generation(part: Part) -> None:
    """Frames per second of ours in both compute types, and of the official way in PyTorch."""
    import generation as sides

    device = ""
    if importlib.util.find_spec("torch"):
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    for dtype in ("float32", "bfloat16"):
        config = train_step.load(PUBLISHED["joint"])
        train_step.override(config, [f"model.dtype={dtype}", *(FULL_SIZE_TOY if part.toy else FULL_SIZE_TOY[1:])])
        both = device and dtype == "float32"
        found, apart, model = sides.rates(config, 4 if part.toy else 256, 2, device if both else "")
        for side, rate in found.items():
            remark = f"in batches of {model.batch}" if side == "ours" else "PyTorch, frame by frame"
            remark += f"; images differ by at most {apart} of 255" if both and side == "ours" else ""
            part.row(f"generation, {dtype}, {side}", rate, "frames/s", remark=remark)
    if not device:
        part.row("generation, official", None, "frames/s", remark="PyTorch is not installed")


PARTS = {part.__name__: part for part in (device, start, train, batches, comparable, pytorch, loader, generation)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", help="a key of PARTS and its arguments: train:published:word:float32")
    parser.add_argument("rows", type=Path)
    parser.add_argument("--toy", action="store_true")
    args = parser.parse_args()
    keep_compilations()
    name, *given = args.part.split(":")
    PARTS[name](Part(args.rows, args.toy), *given)


if __name__ == "__main__":
    main()

"""Compiles the real training step for a machine that is described, not present, and keeps what it says of it.

Compilers of accelerators end the process where they find an error in themselves, and write what only they understand.
So each compilation is a process of its own: `python -m davs_jax.plan.compiling MACHINE FILE`, the configuration as
JSON on its standard input, what it found to FILE.
"""

import dataclasses
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxlib
from ml_collections import ConfigDict

from davs_jax.display.progress import progress
from davs_jax.errors import ConfigError
from davs_jax.parallel import compilation, sharding
from davs_jax.plan import collectives, cuda, flops, machines
from davs_jax.plan.collectives import Collective
from davs_jax.plan.machines import Machine, MachineError
from davs_jax.training import state, step

CACHE = "~/.cache/davs_jax/plans"
FORMAT = 3  # of what is kept; to be raised where the reading of the compiler's answers changes
SOURCES = (
    "constants.py",
    "errors.py",
    "models/*.py",
    "parallel/*.py",
    "training/__init__.py",
    "training/forward.py",
    "training/losses.py",
    "training/optimizer.py",
    "training/state.py",
    "training/step.py",
)
IRRELEVANT = ("log", "checkpoint", "profile", "init_from", "init_networks", "seed")  # of a configuration, to the step
RELEVANT_DATA = ("batch_size", "face_batch_size")

REFUSED = 3  # exit status of the child that has printed why

_CRASH = re.compile(r"Check failed:[^\n]*|^[\w.]*(?:Error|EXHAUSTED|INTERNAL|UNIMPLEMENTED): [^\n]*", re.MULTILINE)
_OUT_OF_MEMORY = re.compile(
    r"(?:Used |temporaries \()([\d.]+)([KMGT]?)(?: of |\) exceeds available HBM \()([\d.]+)([KMGT]?)"
)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class PlanError(RuntimeError):
    """A plan that cannot be made; the message says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What the compiler says of one step; everything is per device.

    Attributes:
      examples: clips of a step over all devices; identity images where the stage reads no clips.
      pictures: that the hosts decode for a step.
      held: bytes of the state and the batch by kind (params, optimizer, …).
      peak: most bytes in use at once; where it does not fit, what it would have taken.
      limit: bytes that the compiler allows, where it said so; else 0.
      temporaries, code: bytes.
      flops: operations of one execution: as the compiler says, or `flops.count` where that is more.
      bytes: memory traffic of one execution; 0 where the compiler does not tell.
      collectives: by kind and size.
      seconds: that the compilation took.
    """

    examples: int
    pictures: int
    held: dict[str, int]
    fits: bool
    peak: int
    limit: int
    temporaries: int
    code: int
    flops: float
    bytes: float
    collectives: tuple[Collective, ...]
    seconds: float

    @classmethod
    def from_json(cls, text: str) -> "Compiled":
        values = json.loads(text)
        values["collectives"] = tuple(Collective(**found) for found in values["collectives"])
        return cls(**values)


def _key(config, machine: Machine) -> str:
    """Of everything that the result depends on."""
    settings = {name: value for name, value in json.loads(config.to_json()).items() if name not in IRRELEVANT}
    settings["data"] = {name: settings["data"][name] for name in RELEVANT_DATA}
    root = Path(__file__).parents[1]
    sources = [path.read_bytes() for pattern in SOURCES for path in sorted(root.glob(pattern))]
    code = hashlib.sha256(b"\0".join(sources)).hexdigest()
    versions = (jax.__version__, jaxlib.__version__, machine.compiler())
    parts = json.dumps([FORMAT, settings, machine.name, versions, code], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def compiled(config, machine: Machine, examples: str = "one batch") -> Compiled:
    """The step of this configuration, compiled for this machine, or what an earlier run kept of it.

    Args:
      examples: how many a step has, for people to read.

    Raises:
      MachineError: the compiler knows no such machine.
      PlanError: the configuration, or the compiler, refuses; the compiler crashed.
    """
    kept = Path(os.path.expanduser(CACHE)) / f"{_key(config, machine)}.json"
    if kept.exists():
        return Compiled.from_json(kept.read_text())
    kept.parent.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(f".{os.getpid()}")
    label = f"{machine.name}, {examples} a step"
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as said:
        given.write(config.to_json())
        given.seek(0)
        command = [sys.executable, "-m", "davs_jax.plan.compiling", machine.name, str(part)]
        with (
            subprocess.Popen(command, stdin=given, stdout=said, stderr=subprocess.STDOUT) as child,
            progress(total=0, bar_format="compiling for {desc}: {elapsed}", desc=label) as bar,
        ):
            try:
                while (status := _wait(child)) is None:
                    bar.update(0)
            finally:
                child.kill()
        said.seek(0)
        text = said.read()
    if status == REFUSED:
        raise PlanError(text.strip().splitlines()[-1])
    if status:
        found = _CRASH.search(text)
        reason = found[0] if found else f"status {status}"
        raise PlanError(
            f"compiling for {label}, {machine.compiler()} crashed ({reason}). That is "
            "an error in the compiler, so a run there would crash too. Try another number: --clips_per_chip"
        )
    part.replace(kept)
    return Compiled.from_json(kept.read_text())


def _wait(child: subprocess.Popen) -> int | None:
    try:
        return child.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return None


def _compile(config, machine: Machine) -> Compiled:
    began = time.perf_counter()
    devices = machine.devices()
    try:
        mesh = sharding.make_mesh(config.mesh, devices)
        spec, abstract = step.batch_spec(config), state.abstract_state(config, mesh)
    except (ValueError, ConfigError) as error:  # what the mesh, the networks, the losses and the optimizers refuse
        raise PlanError(f"{machine.name}: {error}") from error
    traced = step.make_train_step(config, mesh).trace(abstract, spec)
    held = {
        "parameters": _bytes(abstract.params),
        "optimizer": _bytes(abstract.opt),
        "averages": _bytes(abstract.ema),
        "batch statistics": _bytes(abstract.batch_stats),
        "batch": _bytes(spec) // mesh.size,
    }
    sizes = {
        "examples": next(iter(spec.values())).shape[0],
        "pictures": sum(math.prod(array.shape[:-3]) for array in spec.values() if array.dtype == jnp.uint8),
    }
    # The compiler counts a loop's body once.
    operations = flops.of_jaxpr(traced.jaxpr.jaxpr) / mesh.size
    try:
        program = traced.lower().compile(cuda.OPTIONS if machine.is_gpu else compilation.STEP_OPTIONS["tpu"])
    except jax.errors.JaxRuntimeError as error:
        if not (full := out_of_memory(str(error))):
            raise PlanError(f"the compiler for {machine.name} refuses: {str(error).splitlines()[0]}") from error
        peak, limit = full
        seconds = time.perf_counter() - began
        return Compiled(**sizes, held=held, fits=False, peak=peak, limit=limit, temporaries=0, code=0, flops=0, bytes=0,
                        collectives=(), seconds=seconds)  # fmt: skip
    memory, cost = program.memory_analysis(), _cost(program)
    peak = memory.peak_memory_in_bytes or (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    return Compiled(
        **sizes,
        held=held,
        fits=peak <= machine.chip.memory,
        peak=peak,
        limit=0,
        temporaries=memory.temp_size_in_bytes,
        code=memory.generated_code_size_in_bytes,
        flops=max(cost.get("flops", 0.0), operations),
        bytes=max(cost.get("bytes accessed", 0.0), 0.0),
        collectives=tuple(collectives.read(program.as_text())),
        seconds=time.perf_counter() - began,
    )


def out_of_memory(refusal: str) -> tuple[int, int] | None:
    """Bytes that a step would have taken and that there are, where a compiler refuses for want of memory."""
    full = _OUT_OF_MEMORY.search(refusal)
    return full and tuple(int(float(full[i]) * _UNITS[full[i + 1]]) for i in (1, 3))


def _cost(program) -> dict[str, float]:
    """What the compiler counts; nothing where it does not."""
    try:
        return program.cost_analysis() or {}
    except (NotImplementedError, jax.errors.JaxRuntimeError):
        return {}


def _bytes(tree) -> int:
    """Of this tree of `jax.ShapeDtypeStruct`, on one device."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        shape = leaf.sharding.shard_shape(leaf.shape) if leaf.sharding else leaf.shape
        total += math.prod(shape) * leaf.dtype.itemsize
    return total


def _main(name: str, file: str) -> int:
    try:
        found = _compile(ConfigDict(json.load(sys.stdin)), machines.parse(name))
    except (PlanError, MachineError) as error:
        print(error)
        return REFUSED
    Path(file).write_text(json.dumps(dataclasses.asdict(found)))
    return 0


if __name__ == "__main__":
    machines.quiet()
    raise SystemExit(_main(*sys.argv[1:]))

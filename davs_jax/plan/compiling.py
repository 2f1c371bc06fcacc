"""Compiles the real training step for a described, absent machine, and caches the compiler's figures.

Compilers of accelerators abort the process on internal errors, and log at length. So each compilation has its own
process: `python -m davs_jax.plan.compiling MACHINE FILE [quick]` reads the config as JSON from standard input and
writes the figures to FILE.
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
from ml_collections import ConfigDict

from davs_jax import command_line, user_folders
from davs_jax.display.progress import progress
from davs_jax.errors import ConfigError, DavsError, first_line
from davs_jax.parallel import compilation, sharding
from davs_jax.plan import collectives, cuda, flops, machines, traffic
from davs_jax.plan.collectives import Collective
from davs_jax.plan.machines import Machine
from davs_jax.plan.traffic import Consumer
from davs_jax.training import fingerprint, state, step
from davs_jax.training.stage import Stage

CACHE = "plans"  # of the user's caches
FORMAT = 5  # of cached figures; raise it where the interpretation of the compiler's answers changes
QUICK = {"exec_time_optimization_effort": -1.0}  # options of a quick plan
LARGEST = 10  # consumers that are kept
REFUSED = 3  # exit status of a child that printed the reason

_CRASH = re.compile(r"Check failed:[^\n]*|^[\w.]*(?:Error|EXHAUSTED|INTERNAL|UNIMPLEMENTED): [^\n]*", re.MULTILINE)
_OUT_OF_MEMORY = re.compile(
    r"(?:Used |temporaries \()([\d.]+)([KMGT]?)(?: of |\) exceeds available HBM \()([\d.]+)([KMGT]?)"
)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


class PlanError(DavsError):
    """The compiler refuses the step, or crashes on it."""


@dataclasses.dataclass(frozen=True)
class Compiled:
    """The compiler's figures of one step, per device.

    Attributes:
      examples: clips of a step over all devices; identity images where the stage reads no clips.
      images: decoded by the hosts for a step.
      held: bytes of the state and the batch by kind (parameters, optimizer, …).
      peak: most bytes in use at once; where the step does not fit, the bytes that it would need.
      limit: bytes that the compiler allows, if it reported them; else 0.
      temporaries, code: bytes.
      flops: operations of one execution: the larger of the compiler's figure and `flops.count`.
      bytes: traffic of the device's memory in one execution, counted from the program (`traffic.read`); 0 on a GPU.
      padding: bytes of these that hold no data.
      cycles: of one execution, the sum of the compiler's estimates of its parts; 0 where it makes none.
      consumers: the layers of most traffic.
      collectives: by kind and size.
      seconds: duration of the compilation.
      quick: whether the compiler was to optimise little.
    """

    examples: int
    images: int
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
    padding: float = 0.0
    cycles: float = 0.0
    consumers: tuple[Consumer, ...] = ()
    quick: bool = False

    @classmethod
    def from_json(cls, text: str) -> "Compiled":
        values = json.loads(text)
        values["collectives"] = tuple(Collective(**found) for found in values["collectives"])
        values["consumers"] = tuple(Consumer(**found) for found in values["consumers"])
        return cls(**values)


def _key(config, machine: Machine, quick: bool) -> str:
    """Hash of everything that the figures depend on."""
    parts = json.dumps([FORMAT, fingerprint.of(config), machine.name, machine.compiler(), quick])
    return hashlib.sha256(parts.encode()).hexdigest()[:32]


def compiled(config, machine: Machine, examples: str = "one batch", quick: bool = False) -> Compiled:
    """The figures of this config's step on this machine: cached, or by compiling it.

    Args:
      examples: number of examples per step, for messages.
      quick: the compiler optimises little, which takes a fraction of the time; other figures than a full plan's.

    Raises:
      MachineError: the compiler knows no such machine.
      PlanError: the config or the compiler refuses the step, or the compiler crashed.
    """
    kept = user_folders.cache(CACHE) / f"{_key(config, machine, quick)}.json"
    if kept.exists():
        return Compiled.from_json(kept.read_text())
    part = kept.with_suffix(f".{os.getpid()}")
    label = f"{machine.name}, {examples} a step"
    with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as said:
        given.write(config.to_json())
        given.seek(0)
        command = [sys.executable, "-m", "davs_jax.plan.compiling", machine.name, str(part), *["quick"] * quick]
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
            f"compiling for {label}, {machine.compiler()} crashed ({reason}): an error in the compiler, which would "
            "crash a run there too",
            command_line="try another number: --clips_per_chip",
        )
    part.replace(kept)
    return Compiled.from_json(kept.read_text())


def _wait(child: subprocess.Popen) -> int | None:
    try:
        return child.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return None


def _compile(config, machine: Machine, quick: bool) -> Compiled:
    began = time.perf_counter()
    stage, devices = Stage.from_config(config), machine.devices()
    try:
        mesh = sharding.make_mesh(config.mesh, devices)
    except ConfigError as error:
        raise PlanError(f"{machine.name}: {error}") from error
    spec, abstract = dict(stage.batch), state.abstract_state(stage, mesh)
    traced = step.make_train_step(stage, mesh).trace(abstract, spec)
    held = {
        "parameters": _bytes(abstract.params),
        "optimizer": _bytes(abstract.opt),
        "averages": _bytes(abstract.ema),
        "batch statistics": _bytes(abstract.batch_stats),
        "batch": _bytes(spec) // mesh.size,
    }
    sizes = {
        "examples": stage.examples,
        "images": sum(math.prod(array.shape[:-3]) for array in spec.values() if array.dtype == jnp.uint8),
    }
    options = cuda.OPTIONS if machine.is_gpu else compilation.STEP_OPTIONS["tpu"] | (QUICK if quick else {})
    # Needed because the compiler counts the body of a loop once.
    operations = flops.of_jaxpr(traced.jaxpr.jaxpr) / mesh.size
    try:
        program = traced.lower().compile(options)
    except jax.errors.JaxRuntimeError as error:
        if not (full := out_of_memory(str(error))):
            raise PlanError(f"the compiler for {machine.name} refuses: {first_line(error)}") from error
        peak, limit = full
        seconds = time.perf_counter() - began
        return Compiled(**sizes, held=held, fits=False, peak=peak, limit=limit, temporaries=0, code=0, flops=0, bytes=0,
                        collectives=(), seconds=seconds, quick=quick)  # fmt: skip
    memory, text = program.memory_analysis(), program.as_text()
    names: dict[str, str] = {}
    for name, module in stage.modules.items():  # both discriminators of frames are of one class
        names[type(module).__name__] = ", ".join(filter(None, [names.get(type(module).__name__), name]))
    consumers = [] if machine.is_gpu else traffic.read(text, names)
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
        flops=max(_flops(program), operations),
        bytes=sum(consumer.bytes for consumer in consumers),
        padding=sum(consumer.padding for consumer in consumers),
        cycles=sum(consumer.cycles for consumer in consumers),
        consumers=tuple(consumers[:LARGEST]),
        collectives=tuple(collectives.read(text)),
        seconds=time.perf_counter() - began,
        quick=quick,
    )


def out_of_memory(refusal: str) -> tuple[int, int] | None:
    """Bytes that a step needs and bytes that exist, if a compiler refuses because of memory; else None."""
    full = _OUT_OF_MEMORY.search(refusal)
    return full and tuple(int(float(full[i]) * _UNITS[full[i + 1]]) for i in (1, 3))


def _flops(program) -> float:
    """Operations as the compiler counts them; 0 if it does not."""
    try:
        return (program.cost_analysis() or {}).get("flops", 0.0)
    except (NotImplementedError, jax.errors.JaxRuntimeError):
        return 0.0


def _bytes(tree) -> int:
    """Bytes of a tree of `jax.ShapeDtypeStruct` on one device."""
    total = 0
    for leaf in jax.tree.leaves(tree):
        shape = leaf.sharding.shard_shape(leaf.shape) if leaf.sharding else leaf.shape
        total += math.prod(shape) * leaf.dtype.itemsize
    return total


@command_line.command
def _main(name: str, file: str, quick: str = "") -> int:
    try:
        found = _compile(ConfigDict(json.load(sys.stdin)), machines.parse(name), bool(quick))
    except DavsError as error:
        print(error)
        return REFUSED
    Path(file).write_text(json.dumps(dataclasses.asdict(found)))
    return 0


if __name__ == "__main__":
    machines.quiet()
    raise SystemExit(_main(*sys.argv[1:]))

"""Memory traffic and the compiler's own cycle estimates of a compiled program, by the layers of the networks."""

import collections
import dataclasses
import re
from collections.abc import Iterator, Mapping

from davs_jax.plan import hlo

# They read and write nothing themselves; what `while`, `call` and `conditional` run is counted.
FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id",
    "while", "call", "conditional", "opt-barrier",
}  # fmt: skip
RUN = {"while", "call", "conditional"}
OTHER = "optimizers, losses, the batch"  # all that no network does

_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_SCOPE = re.compile(r'op_name="([^"]*)"')
_WRAPPED = re.compile(r"(?:\w+\()*(\w+)\)*")  # by JAX's transformations: transpose(jvp(Decoder))
_WEIGHT = re.compile(r"state\.(?:params|batch_stats)\[\\?'(\w+)\\?'\](?:\[\\?'(\w+)\\?'\])?")


@dataclasses.dataclass(frozen=True)
class Consumer:
    """What one layer of a network, forward and backward, costs in one execution of the program, on one device.

    Attributes:
      name: network and layer.
      bytes: read from and written to the device's memory, with the padding of layouts.
      padding: bytes of these that hold no data.
      cycles: as the compiler estimates them; 0 where it does not.
    """

    name: str
    bytes: float
    padding: float
    cycles: float


def read(text: str, networks: Mapping[str, str]) -> list[Consumer]:
    """All consumers of one execution, those of most traffic first; their sums are the program's.

    Every instruction reads its operands once and writes its results once; of an operand of which it needs a part, it
    reads all, so the sum is an upper bound there. Arrays in on-chip memory do not count. What is in a loop counts once
    per iteration, of branches each.

    Args:
      text: `compiled.as_text()`.
      networks: by class of its module, the name of a network.
    """
    sums: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0, 0.0])
    for instruction, types, times in _executed(hlo.read(text)):
        arrays = [array for array in _touched(instruction, types) if array.space == 0]
        cycles = _CYCLES.search(instruction.rest)
        total = sums[_consumer(instruction, types, networks)]
        total[0] += times * sum(array.padded for array in arrays)
        total[1] += times * sum(array.padded - array.bytes for array in arrays)
        total[2] += times * int(cycles[1]) if cycles else 0
    found = [Consumer(name, *values) for name, values in sums.items() if any(values)]
    return sorted(found, key=lambda consumer: (-consumer.bytes, -consumer.cycles, consumer.name))


def _executed(program: hlo.Program) -> Iterator[tuple[hlo.Instruction, dict[str, hlo.Instruction], int]]:
    """Instructions that run, each with those of its computation by name, and how often."""
    pending = [(program.entry, 1)]
    while pending:
        name, times = pending.pop()
        own = {instruction.name: instruction for instruction in program.computations.get(name, ())}
        for instruction in own.values():
            if instruction.operation in RUN:
                pending += [(callee, times * trips) for callee, trips in instruction.calls]
            elif instruction.operation not in FREE and not instruction.operation.endswith("-done"):
                yield instruction, own, times


def _touched(instruction: hlo.Instruction, known: Mapping[str, hlo.Instruction]) -> list[hlo.Array]:
    """Arrays that an instruction reads and writes."""
    if instruction.operation.endswith("-start") and instruction.operation != "all-reduce-start":
        return instruction.arrays  # of what it reads and what it will have written
    read = [array for name in instruction.operands if name in known for array in known[name].arrays]
    return read + instruction.arrays


def _consumer(instruction: hlo.Instruction, known: Mapping[str, hlo.Instruction], networks: Mapping[str, str]) -> str:
    """Network and layer that an instruction works for; a copy without a scope works for what it copies."""
    for rest in (instruction.rest, *(known[name].rest for name in instruction.operands[:1] if name in known)):
        if scope := _SCOPE.search(rest):
            return consumer(scope[1], networks)
    return OTHER


def consumer(scope: str, networks: Mapping[str, str]) -> str:
    """`jit(step)/transpose(jvp(PersonEncoder))/block1/conv` → `person_encoder block1`; or that of a weight, by name."""
    if found := _WEIGHT.match(scope):
        return " ".join(filter(None, found.groups()))
    parts = [_WRAPPED.fullmatch(part) for part in scope.split("/")]
    for i, part in enumerate(parts[:-1]):
        if part and part[1] in networks:
            layer = parts[i + 1][0] if i + 2 < len(parts) and parts[i + 1] else ""
            return f"{networks[part[1]]} {layer}".strip()
    return OTHER

"""The collectives of a compiled program, read from its HLO text."""

import collections
import dataclasses
import math
import re

from davs_jax.plan import hlo

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_CHANNEL = re.compile(r"channel_id=(\d+)")
# Three notations: [groups,size]<=[…], {{0,1},{2,3}}, mesh['a'=2,'b'=2] {'a'}.
_GROUPS = re.compile(r"replica_groups=(?:\[\d+,(\d+)\]|\{\{([\d,]*)\}|mesh\[(.*?)\][^{]*\{([^}]*)\})")
_AXIS = re.compile(r"'(\w+)'=(\d+)")


@dataclasses.dataclass(frozen=True)
class Collective:
    """Collectives of one kind and size.

    Attributes:
      kind: one of KINDS.
      bytes: of the whole array of a group: the operand of an all-reduce or reduce-scatter, the result of an
        all-gather; of one device for all-to-all and collective-permute.
      group: devices that communicate with each other; 0 is all.
      times: executions per step.
    """

    kind: str
    bytes: int
    group: int
    times: int = 1


def _collective(instruction: hlo.Instruction) -> Collective | None:
    """None if it is not a collective; of an asynchronous pair only the start counts."""
    operation = instruction.operation
    kind = operation.removesuffix("-start")
    if kind not in KINDS:
        return None
    arrays = [array.bytes for array in instruction.arrays]
    group = _group(instruction.rest)
    if operation.endswith("-start") and kind == "collective-permute":
        total = arrays[0]  # (operand, result, …)
    elif operation.endswith("-start") and kind != "all-reduce":  # ((operands), (results))
        total = max(sum(arrays[: len(arrays) // 2]), sum(arrays[len(arrays) // 2 :]))
    else:
        total = sum(arrays) * (group if kind == "reduce-scatter" else 1)
    return Collective(kind, total, group)


def _group(rest: str) -> int:
    """Devices that communicate with each other; 0 is all."""
    if not (match := _GROUPS.search(rest)):
        return 0
    size, members, axes, names = match.groups()
    if axes:
        sizes = dict(_AXIS.findall(axes))
        return math.prod(int(sizes[name]) for name in re.findall(r"'(\w+)'", names))
    return int(size) if size else len(members.split(",")) if members else 0


def read(text: str) -> list[Collective]:
    """All collectives of one execution of the program; those in a loop count once per iteration.

    A collective that the compiler splits to overlap it with other work appears in each piece of that work, under one
    channel: it counts once.

    Args:
      text: `compiled.as_text()`.
    """
    program = hlo.read(text)
    own: dict[str, list[tuple[str, Collective]]] = {}
    calls: dict[str, list[tuple[str, int]]] = {}
    for name, instructions in program.computations.items():
        own[name], calls[name] = [], []
        for instruction in instructions:
            if found := _collective(instruction):
                channel = _CHANNEL.search(instruction.rest)
                own[name].append((channel[1] if channel else f"{name} {instruction.name}", found))
            else:  # the computation that a collective applies is an addition
                calls[name] += instruction.calls
    turns: dict[tuple[str, Collective], int] = {}

    def visit(computation: str, factor: int) -> None:
        for found in own.get(computation, ()):
            turns[found] = max(turns.get(found, 0), factor)
        for callee, trips in calls.get(computation, ()):
            visit(callee, factor * trips)

    visit(program.entry, 1)
    times: collections.Counter[Collective] = collections.Counter()
    for (_, found), count in turns.items():
        times[found] += count
    return [dataclasses.replace(found, times=count) for found, count in times.items()]

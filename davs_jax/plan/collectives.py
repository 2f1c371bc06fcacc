"""The collectives of a compiled program, read from its HLO text."""

import collections
import dataclasses
import math
import re

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BITS = {"pred": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128}  # other names give their bits

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.\-]+ = (.*)$")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_CALLED = re.compile(
    r"\b(?:body|calls|to_apply|condition|branch_computations|called_computations)=\{?([^,}]*(?:, ?%[^,}]*)*)"
)
_TRIPS = re.compile(r'known_trip_count"?:\{"n":"(\d+)"')
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


def _size(kind: str, dims: str) -> int:
    bits = BITS.get(kind) or int(re.search(r"\d+", kind + "8").group())
    return math.prod(int(d) for d in dims.split(",") if d) * bits // 8


def _split(instruction: str) -> tuple[str, str, str] | None:
    """`f32[2]{0} all-reduce(…), …` → its type, its operation, and the rest."""
    depth = 0
    for i, letter in enumerate(instruction):
        if letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == " " and depth == 0:
            operation, bracket, rest = instruction[i + 1 :].partition("(")
            return (instruction[:i], operation, rest) if bracket else None
    return None


def _collective(shape: str, operation: str, rest: str) -> Collective | None:
    """None if the operation is not a collective; of an asynchronous pair only the start counts."""
    kind = operation.removesuffix("-start")
    if kind not in KINDS:
        return None
    arrays = [_size(*array) for array in _ARRAY.findall(shape)]
    group = _group(rest)
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
    own: dict[str, list[tuple[str, Collective]]] = {}
    calls: dict[str, list[tuple[str, int]]] = {}
    entry = name = ""
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            name = head[2]
            own[name], calls[name] = [], []
            entry = name if head[1] else entry
        elif name and (instruction := _INSTRUCTION.match(line)) and (parts := _split(instruction[1])):
            found = _collective(*parts)
            if found:
                channel = _CHANNEL.search(parts[2])
                own[name].append((channel[1] if channel else line, found))
                continue  # the computation that it applies is an addition
            trips = _TRIPS.search(line) if parts[1] == "while" else None
            for called in _CALLED.finditer(parts[2]):
                for callee in called[1].split(","):
                    calls[name].append((callee.strip(" %"), int(trips[1]) if trips else 1))
    turns: dict[tuple[str, Collective], int] = {}

    def visit(computation: str, factor: int) -> None:
        for found in own.get(computation, ()):
            turns[found] = max(turns.get(found, 0), factor)
        for callee, trips in calls.get(computation, ()):
            visit(callee, factor * trips)

    visit(entry, 1)
    times: collections.Counter[Collective] = collections.Counter()
    for (_, found), count in turns.items():
        times[found] += count
    return [dataclasses.replace(found, times=count) for found, count in times.items()]

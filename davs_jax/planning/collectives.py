"""The collectives of a compiled program, read from its HLO text."""

import dataclasses
import math
import re

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
BITS = {"pred": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128}  # others end in their bits

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?[\w.\-]+ = (.*)$")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_CALLED = re.compile(
    r"\b(?:body|calls|to_apply|condition|branch_computations|called_computations)=\{?([^,}]*(?:, ?%[^,}]*)*)"
)
_TRIPS = re.compile(r'known_trip_count"?:\{"n":"(\d+)"')
_GROUPS = re.compile(r"replica_groups=(?:\[\d+,(\d+)\]|\{\{([\d,]*)\})")


@dataclasses.dataclass(frozen=True)
class Collective:
    """Collectives of one kind and size.

    Attributes:
      kind: one of KINDS.
      bytes: of the whole array that all devices of a group agree on afterwards, or had before: what an all-reduce
        reduces, an all-gather returns, a reduce-scatter takes; of one device where every device keeps its own
        (all-to-all, collective-permute).
      group: devices that take part together; 0 is all.
      times: executions in a step.
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
    """None where the operation is none; of an asynchronous pair only the start counts."""
    kind = operation.removesuffix("-start")
    if kind not in KINDS:
        return None
    arrays = [_size(*array) for array in _ARRAY.findall(shape)]
    match = _GROUPS.search(rest)
    group = 0
    if match:
        group = int(match[1]) if match[1] else len(match[2].split(",")) if match[2] else 0
    if operation.endswith("-start") and kind == "collective-permute":
        total = arrays[0]  # (operand, result, …)
    elif operation.endswith("-start") and kind != "all-reduce":  # ((operands), (results))
        total = max(sum(arrays[: len(arrays) // 2]), sum(arrays[len(arrays) // 2 :]))
    else:
        total = sum(arrays) * (group if kind == "reduce-scatter" else 1)
    return Collective(kind, total, group)


def read(text: str) -> list[Collective]:
    """All collectives that one execution of the program runs; those in a loop count once a turn.

    Args:
      text: `compiled.as_text()`.
    """
    own: dict[str, list[Collective]] = {}
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
                own[name].append(found)
                continue  # what it applies is an addition
            trips = _TRIPS.search(line) if parts[1] == "while" else None
            for called in _CALLED.finditer(parts[2]):
                for callee in called[1].split(","):
                    calls[name].append((callee.strip(" %"), int(trips[1]) if trips else 1))
    times: dict[Collective, int] = {}

    def visit(computation: str, factor: int) -> None:
        for found in own.get(computation, ()):
            times[found] = times.get(found, 0) + factor
        for callee, trips in calls.get(computation, ()):
            visit(callee, factor * trips)

    visit(entry, 1)
    return [dataclasses.replace(found, times=count) for found, count in times.items()]

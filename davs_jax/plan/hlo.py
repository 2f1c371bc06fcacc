"""Reads a compiled program's HLO text: its computations, and how often each runs."""

import dataclasses
import math
import re

BITS = {"pred": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128}  # other names give their bits

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*)$")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_TILE = re.compile(r"\(([\d,]+)\)")
_SPACE = re.compile(r"S\((\d+)\)")
_CALLED = re.compile(
    r"\b(?:body|calls|to_apply|condition|branch_computations|called_computations)=\{?([^,}]*(?:, ?%[^,}]*)*)"
)
_TRIPS = re.compile(r'known_trip_count"?:\{"n":"(\d+)"')


@dataclasses.dataclass(frozen=True)
class Array:
    """An array of an instruction's type.

    Attributes:
      bytes: of its elements.
      padded: bytes that it takes in its layout, whose tiles it fills up.
      space: 0 is the device's memory; others are on the chip, or the host's.
    """

    bytes: int
    padded: int
    space: int


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line: `name = type operation(rest`.

    Attributes:
      type, operation: as they are written.
      rest: of the line, from the operands on.
    """

    name: str
    type: str
    operation: str
    rest: str

    @property
    def arrays(self) -> list[Array]:
        """Of its type."""
        return [_array(*found.groups()) for found in _ARRAY.finditer(self.type)]

    @property
    def operands(self) -> list[str]:
        """Names of the instructions that it reads."""
        return re.findall(r"%([\w.\-]+)", self.rest[: _closing(self.rest)])

    @property
    def calls(self) -> list[tuple[str, int]]:
        """Names of the computations that it runs, and how often; a loop of unknown length runs once."""
        trips = _TRIPS.search(self.rest) if self.operation == "while" else None
        count = int(trips[1]) if trips else 1
        return [(callee.strip(" %"), count) for found in _CALLED.finditer(self.rest) for callee in found[1].split(",")]


@dataclasses.dataclass(frozen=True)
class Program:
    """A module.

    Attributes:
      entry: name of the computation that runs first.
      computations: their instructions, by name.
    """

    entry: str
    computations: dict[str, list[Instruction]]


def read(text: str) -> Program:
    """Parses `compiled.as_text()`."""
    computations: dict[str, list[Instruction]] = {}
    entry = name = ""
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            name = head[2]
            computations[name] = []
            entry = name if head[1] else entry
        elif name and (found := _INSTRUCTION.match(line)) and (parts := _split(found[2])):
            computations[name].append(Instruction(found[1], *parts))
    return Program(entry, computations)


def _split(instruction: str) -> tuple[str, str, str] | None:
    """`f32[2]{0} all-reduce(…), …` → its type, its operation, and the rest."""
    end = _closing(instruction, " ")
    operation, bracket, rest = instruction[end + 1 :].partition("(")
    return (instruction[:end], operation, rest) if bracket else None


def _closing(text: str, wanted: str = ")") -> int:
    """Index of the first `wanted` outside of all brackets that open in the text."""
    depth = 0
    for i, letter in enumerate(text):
        if letter == wanted and depth == 0:
            return i
        depth += (letter in "([{") - (letter in ")]}")
    return len(text)


def _bits(kind: str) -> int:
    return BITS.get(kind) or int((re.search(r"\d+", kind) or ["8"])[0])


def _numbers(text: str | None) -> list[int]:
    return [int(number) for number in (text or "").split(",") if number]


def _array(kind: str, dims: str, order: str | None, layout: str | None) -> Array:
    """`bf16[8,64]{1,0:T(8,128)(2,1)S(1)}`: the first tile pads the dimensions that vary fastest."""
    layout = layout or ""
    space, tile = _SPACE.search(layout), _TILE.search(layout) if layout.startswith("T(") else None
    lengths = _numbers(dims)
    padded = [lengths[axis] for axis in _numbers(order)] if order else lengths[::-1]  # the fastest first
    padded = padded or [1]
    for i, side in enumerate(reversed(_numbers(tile[1]))) if tile else ():
        if i < len(padded):
            padded[i] = -(-padded[i] // side) * side
    elements, bits = math.prod(lengths), _bits(kind)
    return Array(elements * bits // 8, math.prod(padded) * bits // 8, int(space[1]) if space else 0)

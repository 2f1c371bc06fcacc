"""Decodes pickles without running anything in them.

Opcodes are read one by one by `pickletools`, of Python 2 or 3 alike, and only those that build plain values are carried
out. A class or function is not imported: its name is looked up in a table of the caller, and any other name is refused.
"""

import pickletools
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any, BinaryIO

from davs_jax.errors import CheckpointError, first_line

Name = tuple[str, str]  # module and name of a class or function
_VALUES = {  # opcodes that push their argument; strings of Python 2 are read as Latin-1, which knows every byte
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PLAIN = (str, bytes, int, float, type(None))


def decode(file: BinaryIO, known: Mapping[Name, Any], load: Callable[[Any], Any]) -> Any:
    """Decodes one pickle and leaves the file behind it.

    Args:
      known: what stands for the classes and functions that a pickle may name. A Python function is called with the
        pickle's arguments; attributes that a pickle sets on objects are dropped.
      load: turns a persistent id into a value.

    Raises:
      CheckpointError: the pickle names anything else, or is malformed.
    """
    try:
        return _Decoder(known, load).run(pickletools.genops(file))
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"holds a malformed pickle ({first_line(error, 80)})", "download it again") from error


def pairs(items: Iterable) -> dict:
    """A dictionary of (key, value) pairs.

    Raises:
      TypeError: a key is neither plain nor a tuple of plain values. (The hash of a deep tuple could end the process.)
    """
    found = {}
    for key, value in items:
        found[_hashable(key)] = value
    return found


class _Decoder:
    """The stack machine of one pickle."""

    def __init__(self, known: Mapping[Name, Any], load: Callable[[Any], Any]):
        self._known, self._load = known, load
        self._stack: list = []
        self._marked: list[list] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}

    def run(self, operations: Iterable) -> Any:
        for opcode, argument, _ in operations:
            name = opcode.name
            if name == "STOP":
                return self._stack.pop()
            if name in _VALUES:
                self._stack.append(argument)
            elif name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _EMPTY:
                self._stack.append(_EMPTY[name]())
            elif name in _TUPLES:
                self._stack.append(tuple(self._take(_TUPLES[name])))
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                self._memo[argument] = self._stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                self._stack.append(self._memo[argument])
            elif name not in ("PROTO", "FRAME"):
                step = getattr(self, f"_{name.lower()}", None)
                if step is None:
                    raise ValueError(f"unsupported opcode {name}")
                step() if argument is None else step(argument)
        raise ValueError("it has no end")

    def _take(self, count: int) -> list:
        values = [self._stack.pop() for _ in range(count)]
        return values[::-1]

    def _pop_mark(self) -> list:
        above, self._stack = self._stack, self._marked.pop()
        return above

    def _pop(self) -> None:
        self._stack.pop() if self._stack else self._pop_mark()

    def _mark(self) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _dup(self) -> None:
        self._stack.append(self._stack[-1])

    def _memoize(self) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _tuple(self) -> None:
        items = self._pop_mark()
        self._stack.append(tuple(items))

    def _list(self) -> None:
        items = self._pop_mark()
        self._stack.append(items)

    def _dict(self) -> None:
        items = self._pop_mark()
        self._stack.append(pairs(_in_twos(items)))

    def _frozenset(self) -> None:
        items = self._pop_mark()
        self._stack.append(frozenset(map(_hashable, items)))

    def _append(self) -> None:
        item = self._stack.pop()
        _of(list, self._stack[-1]).append(item)

    def _appends(self) -> None:
        items = self._pop_mark()
        _of(list, self._stack[-1]).extend(items)

    def _setitem(self) -> None:
        items = self._take(2)
        _of(dict, self._stack[-1]).update(pairs([items]))

    def _setitems(self) -> None:
        items = self._pop_mark()
        _of(dict, self._stack[-1]).update(pairs(_in_twos(items)))

    def _additems(self) -> None:
        items = self._pop_mark()
        _of(set, self._stack[-1]).update(map(_hashable, items))

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._push_known(module, name)

    def _stack_global(self) -> None:
        self._push_known(*self._take(2))

    def _push_known(self, module: str, name: str) -> None:
        if (_of(str, module), _of(str, name)) not in self._known:
            raise CheckpointError(
                f"asks for {first_line(f'{module}.{name}', 80)}, which could run code, and is refused",
                "if you trust the file, save its state dicts alone, without that",
            )
        self._stack.append(self._known[module, name])

    def _reduce(self) -> None:
        function, arguments = self._take(2)
        self._stack.append(_of(FunctionType, function)(*_of(tuple, arguments)))

    _newobj = _reduce

    def _build(self) -> None:
        self._stack.pop()

    def _binpersid(self) -> None:
        self._stack.append(self._load(self._stack.pop()))


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"a {type(value).__name__} stands where a {kind.__name__} belongs")
    return value


def _hashable(key: Any) -> Any:
    for part in key if isinstance(key, tuple) else (key,):
        if not isinstance(part, _PLAIN):
            raise TypeError(f"a {type(part).__name__} is a key")
    return key


def _in_twos(items: list) -> Iterable:
    return zip(items[::2], items[1::2], strict=True)

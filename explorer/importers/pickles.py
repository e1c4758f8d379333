"""Read counters of OLMoE's analysis from a pickle without unpickling it: an interpreter of the few
opcodes for lists, dictionaries, numbers, `collections.Counter` and numpy's integer scalars. Nothing is
imported or called, whatever the file names; any other opcode or name is rejected.
"""

import pickletools
from typing import Any

import numpy as np

from explorer.errors import shortened
from explorer.importers.source import Source

MOST_BYTES = 64 * 2**20
MOST_ITEMS = 10_000_000
SCALAR = {"numpy.core.multiarray scalar", "numpy._core.multiarray scalar"}
CALLABLE = {"collections Counter", "numpy dtype", *SCALAR}
NUMBERS = {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
TEXTS = {"SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
INTEGERS = ("i8", "i4", "i2", "u8", "u4")
IGNORED = {"PROTO", "FRAME"}
MARK = object()
FAULTS = (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""Exceptions that a damaged pickle can cause in the interpreter."""


class _Name(str):
    """An allowed callable, by its name in the pickle."""


class _Dtype:
    """numpy's dtype: its type code and byte order."""

    def __init__(self, code: str) -> None:
        self.code = code


def read_counters(source: Source) -> Any:
    """Lists and dictionaries of numbers. Raises ForeignFileError for anything not listed
    above."""
    data = source.content(MOST_BYTES)
    machine = _Machine(source)
    try:
        for opcode, argument, position in pickletools.genops(data):
            if opcode.name == "STOP":
                return machine.result()
            machine.step(opcode.name, argument, position or 0)
    except FAULTS as error:
        rule = f"is no pickle of counters ({shortened(str(error)) or type(error).__name__})"
        raise source.problem("", rule, "convert it to JSON where it was made") from error
    raise source.problem("", "ends before its pickle does", "copy it again")


class _Machine:
    """The stack and memory of a pickle, for the opcodes that are allowed."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stack: list[Any] = []
        self._memo: list[Any] = []
        self._items = 0

    def result(self) -> Any:
        """The object that the pickle holds. Raises ValueError unless it is exactly one."""
        if len(self._stack) != 1:
            raise ValueError("more than one object is left")
        return self._stack[0]

    def step(self, name: str, argument: Any, position: int) -> None:
        """Execute one opcode."""
        self._items += 1
        if self._items > MOST_ITEMS:
            raise ValueError(f"more than {MOST_ITEMS:,} opcodes")
        if name in IGNORED:
            return
        if name in NUMBERS or name in TEXTS:
            self._stack.append(argument)
        elif name in CONSTANTS:
            self._stack.append(CONSTANTS[name])
        elif name == "MEMOIZE":
            self._memo.append(self._stack[-1])
        elif name in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[argument])
        else:
            handler = getattr(self, f"_{name.lower()}", None)
            if handler is None:
                raise self._source.problem(
                    f"byte {position}",
                    f"has the opcode {name}, which no counter needs",
                    "convert it to JSON where it was made; pickles are never loaded here",
                )
            handler()

    def _mark(self) -> None:
        self._stack.append(MARK)

    def _popped(self) -> list[Any]:
        """Pop everything above the last mark, and the mark."""
        place = len(self._stack) - 1
        while self._stack[place] is not MARK:
            place -= 1
            if place < 0:
                raise ValueError("a mark is missing")
        items, self._stack[place:] = self._stack[place + 1 :], []
        return items

    def _empty_list(self) -> None:
        self._stack.append([])

    def _empty_dict(self) -> None:
        self._stack.append({})

    def _empty_tuple(self) -> None:
        self._stack.append(())

    def _tuple(self) -> None:
        self._stack.append(tuple(self._popped()))

    def _tuple1(self) -> None:
        self._stack[-1:] = [(self._stack[-1],)]

    def _tuple2(self) -> None:
        self._stack[-2:] = [tuple(self._stack[-2:])]

    def _tuple3(self) -> None:
        self._stack[-3:] = [tuple(self._stack[-3:])]

    def _append(self) -> None:
        value = self._stack.pop()
        self._list().append(value)

    def _appends(self) -> None:
        items = self._popped()
        self._list().extend(items)

    def _list(self) -> list[Any]:
        if not isinstance(self._stack[-1], list):
            raise ValueError("something is appended to what is no list")
        return self._stack[-1]

    def _setitem(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _setitems(self) -> None:
        self._set(self._popped())

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items are set in what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, int | str):
                raise ValueError("a key is neither a number nor a text")
            target[key] = value

    def _stack_global(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        full = f"{module} {name}"
        if full not in CALLABLE:
            raise self._source.problem(
                "", f"names {shortened(full)}, which no counter needs", "convert it to JSON where it was made"
            )
        self._stack.append(_Name(full))

    def _reduce(self) -> None:
        arguments, name = self._stack.pop(), self._stack.pop()
        if not isinstance(name, _Name) or not isinstance(arguments, tuple):
            raise ValueError("something else than a known name is called")
        if name == "collections Counter":
            value: Any = arguments[0] if arguments else {}
            if not isinstance(value, dict):
                raise ValueError("a Counter of what is no dictionary")
        elif name == "numpy dtype":
            value = _Dtype(str(arguments[0]))
        else:
            value = _scalar(*arguments)
        self._stack.append(value)

    def _build(self) -> None:
        """The state of a dtype: its byte order; state of anything else is rejected."""
        state = self._stack.pop()
        target = self._stack[-1]
        if not isinstance(target, _Dtype) or not isinstance(state, tuple) or state[1] not in ("<", "|", "="):
            raise ValueError("a state is set that no counter needs")


def _scalar(dtype: Any, data: Any) -> int:
    """The integer in the bytes of a numpy scalar."""
    if not isinstance(dtype, _Dtype) or dtype.code not in INTEGERS or not isinstance(data, bytes):
        raise ValueError("a numpy scalar that is no integer")
    values = np.frombuffer(data, dtype=f"<{dtype.code}")
    if len(values) != 1:
        raise ValueError("a numpy scalar of another length than its type")
    return int(values[0])

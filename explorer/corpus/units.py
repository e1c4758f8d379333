"""Units of text, and the held-out split.

A unit is the smallest piece of text that is never divided between splits: a file for code, a
line-aligned block of about 4 kB elsewhere. The split depends on hashes, never on text positions.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from explorer.errors import CorpusError

BLOCK_BYTES = 4096
HELD_OUT_SHARE = 0.075
LEAST_HELD_OUT, MOST_HELD_OUT = 0.05, 0.10


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One piece of text: a file, or a block of one."""

    name: str
    """Relative path of the file, or `file#number` of the block: unique in a domain."""
    text: str

    @property
    def num_bytes(self) -> int:
        return len(self.text.encode("utf-8"))


@dataclass(frozen=True, kw_only=True)
class Domain:
    """The text of one domain, split. Units keep their order, so that neighbours may stay adjacent."""

    name: str
    train: tuple[Unit, ...]
    held_out: tuple[Unit, ...]

    @property
    def held_out_share(self) -> float:
        """Held-out bytes / all bytes."""
        held_out = sum(unit.num_bytes for unit in self.held_out)
        return held_out / (held_out + sum(unit.num_bytes for unit in self.train))


def blocks(name: str, text: str, block_bytes: int = BLOCK_BYTES) -> list[Unit]:
    """Cut a text after the first line break at or beyond every `block_bytes` bytes; lossless."""
    units: list[Unit] = []
    lines: list[str] = []
    size = 0
    for line in text.splitlines(keepends=True):
        lines.append(line)
        size += len(line.encode("utf-8"))
        if size >= block_bytes:
            units.append(Unit(name=f"{name}#{len(units):05d}", text="".join(lines)))
            lines, size = [], 0
    if lines:
        units.append(Unit(name=f"{name}#{len(units):05d}", text="".join(lines)))
    return units


def _hash(salt: str, key: str) -> str:
    return hashlib.sha256(f"{salt}\0{key}".encode()).hexdigest()


def without_repeats(units: Iterable[Unit]) -> list[Unit]:
    """Drop empty units and, of equal texts, all but the first: a copy in both splits would leak."""
    seen: dict[str, Unit] = {}
    for unit in units:
        if unit.text.strip():
            seen.setdefault(unit.text, unit)
    return list(seen.values())


def select(units: Iterable[Unit], max_bytes: int) -> list[Unit]:
    """A sample of at most `max_bytes`, selected by a hash of the name and kept in the given order.

    A unit above a twentieth of the cap is left out: a domain is a kind of text, not one file.
    """
    names: set[str] = set()
    total = 0
    units = list(units)
    for unit in sorted(units, key=lambda unit: _hash("select", unit.name)):
        if unit.num_bytes <= max_bytes // 20 and total + unit.num_bytes <= max_bytes:
            names.add(unit.name)
            total += unit.num_bytes
    return [unit for unit in units if unit.name in names]


def split(name: str, units: Iterable[Unit]) -> Domain:
    """Hold out units in the order of their hash until 7.5 % of the bytes are reached.

    So whether a unit is held out depends only on its name, except for the few at the edge; a unit that
    would raise the share above 10 % is skipped. Raises CorpusError unless 5-10 % can be held out.
    """
    units = without_repeats(units)
    sizes = {unit.name: unit.num_bytes for unit in units}
    if len(sizes) != len(units):
        raise CorpusError(f"domain {name}: two of its units have the same name; rename one of them.")
    total = sum(sizes.values())
    held_out_names: set[str] = set()
    held_out = 0
    for unit_name in sorted(sizes, key=lambda unit_name: _hash("split", unit_name)):
        if held_out >= HELD_OUT_SHARE * total:
            break
        if held_out + sizes[unit_name] <= MOST_HELD_OUT * total:
            held_out_names.add(unit_name)
            held_out += sizes[unit_name]
    if not total or not LEAST_HELD_OUT * total <= held_out <= MOST_HELD_OUT * total:
        raise CorpusError(
            f"domain {name}: {held_out} of {total} bytes can be held out, but 5-10 % must be, in whole units"
            f" ({len(units)} of them); give it more and smaller units."
        )
    return Domain(
        name=name,
        train=tuple(unit for unit in units if unit.name not in held_out_names),
        held_out=tuple(unit for unit in units if unit.name in held_out_names),
    )

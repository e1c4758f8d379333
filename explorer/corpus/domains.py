"""The domains of each corpus, their units and their split.

The six domains of the mix were chosen because their token distributions differ (Jensen-Shannon
divergence 0.3-0.8 bits); a router could not distinguish two kinds of English prose (0.16).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from explorer.corpus import functions, programs, two_hop
from explorer.corpus.files import DATA_FOLDER, content_digest, read_text, read_units, sha256
from explorer.corpus.installed import stdlib_units
from explorer.corpus.units import Domain, Unit, blocks, select, split

MIX_CAP = 1_200_000


@dataclass(frozen=True, kw_only=True)
class Source:
    """One domain before it is read. `key` changes whenever the text does, and is cheap to compute."""

    name: str
    key: Callable[[], str]
    units: Callable[[], list[Unit]]

    def read(self) -> Domain:
        """Units and split; CorpusError if the text is missing, damaged or cannot be split."""
        return split(self.name, self.units())


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A domain of generated text, which knows its own split."""

    name: str
    key: Callable[[], str]
    read: Callable[[], Domain]


def _prose(name: str, file: str, folder: Path, cap: int | None = None) -> Source:
    def units() -> list[Unit]:
        all_units = blocks(file, read_text(file, folder))
        return select(all_units, cap) if cap else all_units

    return Source(name=name, key=lambda: f"{content_digest(file, folder)} cap {cap}", units=units)


def _frozen(name: str, folder: Path, *, whole_files: bool) -> Source:
    """A frozen excerpt. Source files stay whole; excerpts of tables are cut into blocks."""
    file = f"{name}.jsonl.xz"

    def units() -> list[Unit]:
        files = read_units(file, folder)
        return files if whole_files else [part for unit in files for part in blocks(unit.name, unit.text)]

    return Source(name=name, key=partial(content_digest, file, folder), units=units)


def _stdlib() -> Source:
    cached: list[Unit] = []

    def units() -> list[Unit]:
        if not cached:
            cached.extend(stdlib_units())
        return cached

    def key() -> str:
        return sha256("\0".join(part for unit in units() for part in (unit.name, unit.text)).encode("utf-8"))

    return Source(name="python", key=key, units=units)


def _two_hop(kind: str) -> Generated:
    return Generated(name=kind, key=lambda: f"{kind} {two_hop.VERSION}", read=partial(two_hop.domain, kind))


def _programs() -> Generated:
    return Generated(name="programs", key=lambda: f"programs {programs.VERSION}", read=programs.domain)


def _fill_in(python: Source) -> Generated:
    return Generated(
        name="fill_in",
        key=lambda: f"fill_in {functions.VERSION} {python.key()}",
        read=lambda: functions.fill_in_domain(python.read()),
    )


def sources(corpus: str, folder: Path = DATA_FOLDER) -> tuple[Source | Generated, ...]:
    """The domains of a corpus by `CorpusConfig.name`, in the order of their ids."""
    if corpus == "two_hop":
        return tuple(map(_two_hop, (two_hop.RECALL, two_hop.ONE_HOP, two_hop.TWO_HOP)))
    if corpus == "code":
        python = _frozen("python", folder, whole_files=True)
        return (python, _fill_in(python), _programs())
    if corpus == "austen":
        return (_prose("english", "austen.txt.xz", folder),)
    if corpus == "python":
        return (_stdlib(),)
    return (
        _prose("english", "austen.txt.xz", folder, MIX_CAP),
        _prose("spanish", "spanish_rv1909.txt.xz", folder, MIX_CAP),
        _frozen("python", folder, whole_files=True),
        _frozen("cpp", folder, whole_files=True),
        _frozen("json", folder, whole_files=False),
        _frozen("digits", folder, whole_files=False),
    )

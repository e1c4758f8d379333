"""The ES modules of a component as the single script that Streamlit takes, without a build step.

`st.components.v2.component` takes one inline script, or files of an *installed* package; the app runs from
a checkout. So the modules travel as text: `loader.js` makes a Blob URL of each, dependencies first, and lets
the browser import the entry. Nothing is fetched: it works offline, under any base path, and asks of a content
security policy no more than Streamlit itself, which imports inline scripts from Blob URLs as well.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent
LOADER = FOLDER / "loader.js"
TIP_CSS = (FOLDER / "shared" / "tip.css").read_text(encoding="utf-8")
"""The look of the tooltip that all heatmaps share."""
# Biome writes imports and re-exports like this: from the start of a line, in double quotes, with a semicolon.
_FROM = re.compile(r'^(?:import|export)\s[\w\s{},*$]*\bfrom\s+"(?P<path>[^"]+)";', re.MULTILINE)


@dataclass(frozen=True)
class Module:
    """One module: its id and its source, cut where it names another."""

    id: str
    """Path and digest, of its own text and of all that it imports: equal ids are equal programs."""
    source: tuple[str | Mapping[str, str], ...]
    """Text, and `{"module": id}` in the place of an import's path."""


@dataclass
class _Graph:
    """Modules in the order of their dependencies."""

    root: Path
    modules: dict[Path, Module] = field(default_factory=dict)
    open: list[Path] = field(default_factory=list)

    def add(self, file: Path) -> Module:
        if file in self.modules:
            return self.modules[file]
        if file in self.open:
            circle = " → ".join(path.name for path in [*self.open[self.open.index(file) :], file])
            raise ValueError(
                f"modules import each other: {circle}; move their shared code into a third module"
            )
        self.open.append(file)
        module = self._read(file)
        self.open.pop()
        self.modules[file] = module
        return module

    def _read(self, file: Path) -> Module:
        text = file.read_text(encoding="utf-8")
        source: list[str | Mapping[str, str]] = []
        done = 0
        for match in _FROM.finditer(text):
            start, end = match.span("path")
            # The quotes are the loader's to write.
            source += [text[done : start - 1], {"module": self.add(self._target(file, match["path"])).id}]
            done = end + 1
        name = file.relative_to(self.root).as_posix()
        # Named in error messages and in the browser's developer tools.
        source.append(f"{text[done:]}\n//# sourceURL=moe-routing-explorer/{name}\n")
        digest = hashlib.sha256(json.dumps(source).encode()).hexdigest()[:16]
        return Module(f"{name}@{digest}", tuple(source))

    def _target(self, file: Path, path: str) -> Path:
        target = (file.parent / path).resolve()
        if not path.startswith(("./", "../")) or not target.is_relative_to(self.root) or not target.is_file():
            raise ValueError(
                f"{file.name} imports {path}: not a file of {self.root.name}; import by relative path"
            )
        return target


def graph(entry: Path, root: Path = FOLDER) -> list[Module]:
    """Every module that `entry` needs, dependencies first and `entry` last.

    ValueError: an import that is no file below `root`, or modules that import each other in a circle.
    """
    modules = _Graph(root.resolve())
    modules.add(entry.resolve())
    return list(modules.modules.values())


def script(entry: Path, root: Path = FOLDER) -> str:
    """The inline script of a component whose module `entry` exports the mounting function as its default."""
    modules = graph(entry, root)
    table = [{"id": module.id, "source": module.source} for module in modules]
    constants = {"MODULES": table, "ENTRY": modules[-1].id}
    head = [f"const {name} = {json.dumps(value, ensure_ascii=False)};\n" for name, value in constants.items()]
    return "".join(head) + LOADER.read_text(encoding="utf-8")

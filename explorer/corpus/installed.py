"""Text in installed packages, located without importing them.

Only the `python` corpus reads it when a run starts. The `mix` uses frozen excerpts
(`explorer.corpus.freeze`), so it does not depend on which versions are installed.
"""

import sysconfig
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from explorer.corpus.units import Unit
from explorer.errors import CorpusError

# Parts that slim builds omit, generated tables, and third-party packages: without them, every
# installation has the same kind of file.
SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "idle_test", "lib2to3", "encodings", "pydoc_data"}
    | {"site-packages", "dist-packages", "__pycache__"}
)


def package_folder(name: str) -> Path:
    """Folder of a top-level package; executes none of its code."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise CorpusError(f"package {name}: is not installed; install it with `pip install {name}`.")
    return Path(next(iter(spec.submodule_search_locations)))


def stdlib_folder() -> Path:
    """Folder of the running interpreter's standard library."""
    return Path(sysconfig.get_paths()["stdlib"])


def read_files(folder: Path, paths: Iterable[Path]) -> list[Unit]:
    """Sorted by path; files that are not UTF-8 or cannot be read are left out."""
    units = []
    for path in sorted(paths, key=lambda path: path.relative_to(folder).as_posix()):
        try:
            # newline="" would keep \r\n: universal newlines make the text the same on every system.
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        units.append(Unit(name=path.relative_to(folder).as_posix(), text=text))
    return units


def stdlib_units(folder: Path | None = None) -> list[Unit]:
    """Source files of the standard library, filtered (8-10 MB, 440-540 files)."""
    folder = folder or stdlib_folder()
    paths = (
        path
        for path in folder.rglob("*.py")
        if not SKIPPED_FOLDERS.intersection(path.relative_to(folder).parts[:-1])
        # Build settings of this interpreter: generated, with the builder's paths.
        and not path.name.startswith("_sysconfigdata")
    )
    units = read_files(folder, paths)
    if not units:
        raise CorpusError(
            f"{folder}: holds no Python source, but corpus.name = 'python' reads the standard library"
            " there; use a Python with source files, or corpus.name=mix."
        )
    return units

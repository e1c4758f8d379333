"""Rebuild the frozen excerpts of the mix: `python -m explorer.corpus.freeze [--check]`.

Reads the standard library of the running Python and the installed torch, altair, plotly and numpy, writes
`python.jsonl.xz`, `cpp.jsonl.xz`, `json.jsonl.xz` and `digits.jsonl.xz` to `data/corpus`, their
licences to `data/corpus/licences` and the manifest. Other versions give other texts, hence another
corpus digest: run this only on purpose. `data/README.md` names the versions that were used.
"""

import argparse
import json
import lzma
import platform
import re
import sys
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from explorer.corpus.files import DATA_FOLDER, MANIFEST, pack_units, sha256
from explorer.corpus.installed import package_folder, read_files, stdlib_folder, stdlib_units
from explorer.corpus.units import Unit, blocks, select, without_repeats
from explorer.files import write_whole

CAP = 1_200_000
JSON_CAP = 1_000_000
# Files with their own notice (LLVM, Boost and others) are not covered by the package's licence.
OWN_NOTICE = re.compile("copyright|licen[sc]e", re.IGNORECASE)


def python_files() -> list[Unit]:
    """Whole source files of the standard library."""
    return select(without_repeats(stdlib_units()), CAP)


def cpp_files() -> list[Unit]:
    """PyTorch's own C++ headers, without those that carry another licence notice."""
    include = package_folder("torch") / "include"
    paths = [path for part in ("c10", "torch") for path in (include / part).rglob("*.h")]
    units = [unit for unit in read_files(include, paths) if not OWN_NOTICE.search(unit.text)]
    return select(without_repeats(units), CAP)


def json_files() -> list[Unit]:
    """Excerpts of the Vega-Lite schema and of plotly's validators, half each."""
    altair, plotly = package_folder("altair"), package_folder("plotly")
    schema = max((altair / "vegalite").glob("v*/schema/vega-lite-schema.json"))
    pieces = []
    for folder, path in ((altair, schema), (plotly, plotly / "validators" / "_validators.json")):
        (unit,) = read_files(folder, [path])
        # Excerpts of 16 kB keep some of the nesting that blocks of 4 kB would cut.
        pieces += select(blocks(f"{folder.name}/{unit.name}", unit.text, 16_384), JSON_CAP // 2)
    return pieces


def digits_files() -> list[Unit]:
    """NumPy's numeric test vectors: hexadecimal and decimal numbers, in excerpts of 16 kB."""
    folder = package_folder("numpy")
    paths = [p for part in ("_core", "random") for p in (folder / part / "tests" / "data").glob("*.csv")]
    files = read_files(folder, paths)
    return select((piece for unit in files for piece in blocks(unit.name, unit.text, 16_384)), CAP)


def _licence_of(package: str) -> str:
    for path in distribution(package).files or ():
        if re.fullmatch(r"(licenses/)?LICENSE(\.txt)?", "/".join(path.parts[1:])):
            return Path(str(path.locate())).read_text(encoding="utf-8")
    raise FileNotFoundError(f"{package}: its distribution carries no LICENSE file")


def _stdlib_licence() -> str:
    return (stdlib_folder() / "LICENSE.txt").read_text(encoding="utf-8")


SOURCES: dict[str, tuple[Callable[[], list[Unit]], str, tuple[str, ...]]] = {
    "python": (python_files, "PSF-2.0", ()),
    "cpp": (cpp_files, "BSD-3-Clause", ("torch",)),
    "json": (json_files, "BSD-3-Clause (altair) and MIT (plotly)", ("altair", "plotly")),
    "digits": (digits_files, "BSD-3-Clause", ("numpy",)),
}


def frozen_domain(name: str) -> tuple[bytes, dict[str, Any]]:
    """Uncompressed content of one frozen domain and its manifest entry, without the file's hash."""
    read, licence, packages = SOURCES[name]
    content = pack_units(read())
    source = (
        ", ".join(f"{package} {distribution(package).version}" for package in packages)
        or f"standard library of CPython {platform.python_version()}"
    )
    entry = {"num_bytes": len(content), "sha256": sha256(content), "source": source, "licence": licence}
    return content, entry


def write(folder: Path = DATA_FOLDER) -> dict[str, Any]:
    """Write all four files, licences and the manifest; returns the manifest."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    licences = folder / "licences"
    licences.mkdir(exist_ok=True)
    for name, (_, _, packages) in SOURCES.items():
        content, entry = frozen_domain(name)
        raw = lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)
        write_whole(folder / f"{name}.jsonl.xz", raw)
        manifest["files"][f"{name}.jsonl.xz"] = {**entry, "file_sha256": sha256(raw)}
        for package in packages:
            write_whole(licences / f"{package}.txt", _licence_of(package).encode())
    write_whole(licences / "python.txt", _stdlib_licence().encode())
    text = json.dumps(manifest, indent=1, sort_keys=True) + "\n"
    write_whole(folder / MANIFEST, text.encode())
    return dict(manifest)


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or with --check list those that the installed packages would change."""
    parser = argparse.ArgumentParser(prog="python -m explorer.corpus.freeze", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare only; exits with 1 on a difference")
    if not parser.parse_args(arguments).check:
        write()
        return 0
    entries = json.loads((DATA_FOLDER / MANIFEST).read_text(encoding="utf-8"))["files"]
    changed = [
        name for name in SOURCES if frozen_domain(name)[1]["sha256"] != entries[f"{name}.jsonl.xz"]["sha256"]
    ]
    for name in changed:
        sys.stdout.write(f"{name}: the installed packages give different text from data/corpus\n")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())

"""One library, one home: what an import may and may not load, asked of a fresh interpreter."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "tokenizers", "duckdb", "polars", "altair", "plotly", "streamlit", "pyarrow", "scipy")


def loaded_by(*modules: str) -> set[str]:
    """Which of the heavy libraries are loaded after importing `modules`."""
    code = (
        f"import importlib, json, sys\n"
        f"for name in {list(modules)!r}: importlib.import_module(name)\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    return set(json.loads(result.stdout))


def test_training_loads_no_interface_and_no_database() -> None:
    assert not loaded_by("explorer.training") & {"streamlit", "duckdb", "altair", "plotly", "polars"}


def test_the_foundation_loads_nothing_heavy() -> None:
    names = (
        "errors",
        "rules",
        "config",
        "presets",
        "records",
        "tables",
        "metrics",
        "balancing",
        "bias_step",
        "experiments",
        "last_words",
        "outranking",
        "wording",
    )
    assert loaded_by("explorer", *(f"explorer.{name}" for name in names)) == set()


def test_recording_needs_polars_only() -> None:
    assert loaded_by("explorer.recording") <= {"polars", "pyarrow"}


def modules_of(package: str) -> list[str]:
    files = sorted((ROOT / "explorer" / package).glob("*.py"))
    return [f"explorer.{package}.{file.stem}" for file in files if file.stem != "__init__"]


PACKAGES_WITHOUT_TORCH = ("store", "queries", "charts", "export", "verify")


def test_no_package_above_the_recorder_loads_torch() -> None:
    modules = [name for package in PACKAGES_WITHOUT_TORCH for name in modules_of(package)]
    assert not loaded_by(*modules) & {"torch", "tokenizers", "streamlit"}


def imports_of(file: Path) -> set[str]:
    """Full names of the modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(names: set[str], *packages: str) -> set[str]:
    return {n for n in names for package in packages if n == package or n.startswith(package + ".")}


APP_FILES = sorted([*ROOT.glob("pages/*.py"), *ROOT.glob("app.py"), *ROOT.glob("explorer/ui/**/*.py")])


@pytest.mark.parametrize("file", APP_FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_page_imports_torch(file: Path) -> None:
    names = imports_of(file)
    assert not within(names, "torch", "tokenizers", "duckdb", "explorer.model", "explorer.training")


# What may import what: data flows one way.
LOWER = {
    "corpus": ("model", "training", "recording", "store", "queries", "charts", "export", "ui", "cli"),
    "simulate": (
        "corpus",
        "model",
        "training",
        "recording",
        "store",
        "queries",
        "charts",
        "export",
        "ui",
        "cli",
    ),
    "model": ("training", "recording", "store", "queries", "charts", "export", "ui", "cli"),
    "training": ("recording", "store", "queries", "charts", "export", "ui", "cli"),
    "recording": ("corpus", "model", "training", "store", "queries", "charts", "export", "ui", "cli"),
    "store": ("corpus", "model", "training", "queries", "charts", "export", "ui", "cli"),
    "queries": ("corpus", "model", "training", "charts", "export", "ui", "cli"),
    "charts": ("corpus", "model", "training", "recording", "store", "queries", "export", "ui", "cli"),
    "export": ("corpus", "model", "training", "ui", "cli"),
    "verify": ("corpus", "model", "training", "charts", "export", "ui", "cli"),
}


@pytest.mark.parametrize("package", sorted(LOWER))
def test_data_flows_one_way(package: str) -> None:
    forbidden = [f"explorer.{name}" for name in LOWER[package]]
    for file in sorted((ROOT / "explorer" / package).glob("**/*.py")):
        assert not within(imports_of(file), *forbidden), file.relative_to(ROOT)


def test_nothing_but_the_ui_imports_streamlit() -> None:
    for file in sorted((ROOT / "explorer").glob("**/*.py")):
        if "ui" not in file.relative_to(ROOT).parts:
            assert not within(imports_of(file), "streamlit"), file.relative_to(ROOT)

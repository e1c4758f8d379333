"""One library, one home: what an import may and may not load, asked of a fresh interpreter."""

import ast
import configparser
import json
import subprocess
import sys
from pathlib import Path

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
        "running.last_words",
        "wording",
        "config.run",
        "config.rule_text",
        "config.presets",
        "records.records",
        "records.tables",
        "metrics",
        "routing.agreement",
        "routing.balancing",
        "routing.bias_step",
        "routing.outranking",
        "course.experiments",
    )
    assert loaded_by("explorer", *(f"explorer.{name}" for name in names)) == set()


def test_the_first_page_does_not_wait_for_scipy() -> None:
    assert "scipy" not in loaded_by("explorer.ui.overview.page", "explorer.ui.shared.store")


def test_the_command_that_prints_the_tables_loads_no_reader() -> None:
    assert loaded_by("explorer.cli", "explorer.cli.arguments", "explorer.cli.schema") == set()


def test_recording_needs_polars_only() -> None:
    assert loaded_by("explorer.recording") <= {"polars", "pyarrow"}


def modules_of(package: str) -> list[str]:
    files = sorted((ROOT / "explorer" / package).glob("*.py"))
    return [f"explorer.{package.replace('/', '.')}.{file.stem}" for file in files if file.stem != "__init__"]


PACKAGES_WITHOUT_TORCH = ("importers", "importers/formats", "store", "queries", "charts", "export", "verify")


def test_no_package_above_the_recorder_loads_torch() -> None:
    modules = [name for package in PACKAGES_WITHOUT_TORCH for name in modules_of(package)]
    assert not loaded_by(*modules) & {"torch", "tokenizers", "streamlit"}


def test_the_top_level_stays_small() -> None:
    assert len(list((ROOT / "explorer").glob("*.py"))) <= 6
    assert len(list((ROOT / "explorer" / "ui").glob("*.py"))) <= 8


FILES = sorted((ROOT / "explorer").rglob("*.py"))
MOST_LINES, MOST_FUNCTION_LINES = 350, 60


def test_files_are_short() -> None:
    long = {
        name_of(file) for file in FILES if len(file.read_text(encoding="utf-8").splitlines()) > MOST_LINES
    }
    assert not long


def test_functions_are_short() -> None:
    long = set()
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno + 1 > MOST_FUNCTION_LINES:
                    long.add(f"{name_of(file)}:{node.name}")
    assert not long


def test_the_test_harness_of_streamlit_is_for_tests() -> None:
    users = {name_of(file) for file in FILES if "streamlit.testing" in file.read_text(encoding="utf-8")}
    assert not users


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT / "explorer"))


def test_one_module_owns_the_state_of_a_tab() -> None:
    """So that a parameter can be followed from the address to the figure."""
    owner = ROOT / "explorer" / "ui" / "shared" / "state.py"
    files = [*(ROOT / "explorer").rglob("*.py"), *(ROOT / "pages").glob("*.py"), ROOT / "app.py"]
    assert [file.name for file in files if "session_state" in file.read_text()] == [owner.name]


def test_every_page_stands_in_the_contract_of_pages() -> None:
    others = {"components", "server", "shared"}
    folders = {file.parent.name for file in (ROOT / "explorer" / "ui").glob("*/*.py")} - others
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    pages = contracts["importlinter:contract:pages"]["modules"].split()
    assert sorted(pages) == sorted(f"explorer.ui.{name}" for name in folders)


def test_no_test_imports_a_test() -> None:
    """What two tests share lies in `tests/support` or beside them, under a name of its own: of the `conftest`
    of several folders, one run can import only one by that name."""
    for file in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            last = [name.split(".")[-1] for name in names]
            assert not [name for name in last if name == "conftest" or name.startswith("test_")], file

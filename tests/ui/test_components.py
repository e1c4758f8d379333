"""The components' ES modules: how they reach the browser, what they may not do, and their own unit tests."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from explorer.ui.components import modules
from explorer.ui.server import preload

ROOT = Path(__file__).parents[2]
ENTRIES = (
    "player/index.js",
    "player/sync.js",
    "player/step_words.js",
    "token_text/index.js",
    "opening/opening.js",
    "simulator/index.js",
    "load_map/load_map.js",
    "text_table/text_table.js",
    "terms/terms.js",
    "course_menu/course_menu.js",
)
NODE = shutil.which("node")
OUTSIDE = ["fetch(", "XMLHttpRequest", "localStorage", "eval(", "http://", "https://"]
OUTSIDE += ["innerHTML", "outerHTML", "insertAdjacentHTML"]
VEGA_ELEMENTS = ["document.body", "document.documentElement", "document.head"]


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.js").write_text(text, encoding="utf-8")
    return folder


def names(entry: Path, root: Path) -> list[str]:
    return [module.id.split("@")[0] for module in modules.graph(entry, root)]


def test_dependencies_come_first_and_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        entry='import { a } from "./left.js";\nimport {\n  b,\n} from "./right.js";\nexport default a;\n',
        left='export { a } from "./base.js";\n',
        right='import { a } from "./base.js";\nexport const b = a;\n',
        base="export const a = 1;\n",
    )
    assert names(tmp_path / "entry.js", tmp_path) == ["base.js", "left.js", "right.js", "entry.js"]


def test_the_source_is_cut_at_its_imports_only(tmp_path: Path) -> None:
    text = 'import { a } from "./base.js";\nexport const text = `from "./base.js";`;\n'
    write(tmp_path, entry=text, base="export const a = 1;\n")
    base, entry = modules.graph(tmp_path / "entry.js", tmp_path)
    parts = ['"./base.js"' if isinstance(part, dict) else part for part in entry.source]
    assert "".join(parts).startswith(text)
    assert [part for part in entry.source if isinstance(part, dict)] == [{"module": base.id}]


def test_an_id_follows_the_text_and_all_that_it_imports(tmp_path: Path) -> None:
    write(
        tmp_path, entry='import { a } from "./base.js";\n', other="export {};\n", base="export const a = 1;\n"
    )
    before = modules.graph(tmp_path / "entry.js", tmp_path)
    other = modules.graph(tmp_path / "other.js", tmp_path)
    assert modules.graph(tmp_path / "entry.js", tmp_path) == before
    write(tmp_path, base="export const a = 2;\n")
    after = modules.graph(tmp_path / "entry.js", tmp_path)
    assert not {module.id for module in before} & {module.id for module in after}
    assert modules.graph(tmp_path / "other.js", tmp_path) == other


@pytest.mark.parametrize("path", ["./absent.js", "vega", "../outside.js", "/etc/hosts"])
def test_an_import_of_anything_else_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "root").mkdir()
    write(tmp_path, outside="export const a = 1;\n")
    folder = write(tmp_path / "root", entry=f'import {{ a }} from "{path}";\n')
    with pytest.raises(ValueError, match=re.escape(f"entry.js imports {path}: not a file of root")):
        modules.graph(folder / "entry.js", folder)


def test_modules_in_a_circle_are_refused(tmp_path: Path) -> None:
    write(tmp_path, one='import { b } from "./two.js";\n', two='import { a } from "./one.js";\n')
    with pytest.raises(ValueError, match=re.escape("one.js → two.js → one.js")):
        modules.graph(tmp_path / "one.js", tmp_path)


def test_components_share_one_instance_of_the_page_state() -> None:
    """The browser has one module per URL, and the loader one URL per id."""
    graphs = [{module.id for module in modules.graph(modules.FOLDER / entry)} for entry in ENTRIES[:3]]
    player, sync, words = graphs
    assert {name.split("@")[0] for name in player & words} == {"shared/page_state.js"}
    assert {name.split("@")[0] for name in player & sync} == {"player/registry.js"}


def test_every_file_belongs_to_a_component_and_is_packaged() -> None:
    used = {name for entry in ENTRIES for name in names(modules.FOLDER / entry, modules.FOLDER)}
    files = {file.relative_to(modules.FOLDER).as_posix() for file in modules.FOLDER.rglob("*.js")}
    assert files == used | {"loader.js", *preload.VIEW_SCRIPTS.values()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["explorer"]
    packaged = {file for pattern in patterns for file in (ROOT / "explorer").glob(pattern)}
    of_components = {file for file in modules.FOLDER.rglob("*") if file.suffix in (".js", ".css", ".html")}
    assert of_components <= packaged


@pytest.mark.parametrize("file", sorted(modules.FOLDER.rglob("*.js")), ids=lambda file: file.stem)
def test_the_modules_reach_for_nothing_outside(file: Path) -> None:
    """No network, no storage, and no text that is read as markup; elements of the page only for Vega."""
    text = file.read_text(encoding="utf-8")
    words = [*OUTSIDE]
    words += [] if file.name == "loader.js" else ["import(", "globalThis."]
    words += [] if file.name == "vega_bridge.js" else VEGA_ELEMENTS
    assert [word for word in words if word in text] == []


def test_files_and_functions_of_the_modules_are_short() -> None:
    """Functions: biome, in `make check`."""
    for file in modules.FOLDER.rglob("*.js"):
        assert len(file.read_text(encoding="utf-8").splitlines()) <= 350, file.name


needs_node = pytest.mark.skipif(NODE is None and not os.environ.get("CI"), reason="Node.js is not installed")


@needs_node
def test_unit_tests_of_the_modules() -> None:
    assert NODE is not None, "Node.js is not installed"
    files = sorted(str(file) for file in (ROOT / "tests" / "ui" / "javascript").glob("*.test.js"))
    result = subprocess.run([NODE, "--test", *files], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr


@needs_node
def test_the_loader_makes_one_url_per_module(tmp_path: Path) -> None:
    """Two components on a page: the second finds the modules that the first has made."""
    assert NODE is not None, "Node.js is not installed"
    write(
        tmp_path,
        first='import { shared } from "./state.js";\nexport default () => shared;\n',
        second='import { shared } from "./state.js";\nexport default () => shared;\n',
        state="export const shared = {};\n",
    )
    # Node imports no Blob URLs, so each becomes a data URL; the module's text is the same.
    stand_in = (
        "globalThis.Blob = class { constructor(parts) { this.text = parts.join(''); } };\n"
        "globalThis.made = 0;\n"
        "URL.createObjectURL = (blob) =>"
        " (made++, 'data:text/javascript,' + encodeURIComponent(blob.text));\n"
    )
    for name in ("first", "second"):
        text = modules.script(tmp_path / f"{name}.js", tmp_path)
        (tmp_path / f"{name}.mjs").write_text(text, encoding="utf-8")
    check = (
        "const [a, b] = [await import('./first.mjs'), await import('./second.mjs')];\n"
        "console.log(JSON.stringify([a.default() === b.default(), made]));\n"
    )
    (tmp_path / "check.mjs").write_text(stand_in + check, encoding="utf-8")
    result = subprocess.run(
        [NODE, "check.mjs"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(result.stdout) == [True, 3]

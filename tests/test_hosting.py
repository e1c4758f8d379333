"""What a container without PyTorch is built from."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def _names(lines: list[str]) -> set[str]:
    names = (re.match(r"[A-Za-z0-9][A-Za-z0-9_-]*", line) for line in lines)
    return {name.group().lower() for name in names if name}


def _pins(file: str) -> set[str]:
    return _names((ROOT / file).read_text().splitlines())


def test_the_image_has_every_package_of_the_app_and_none_of_the_trainer() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    app = _names(extras["app"]) | _names(project["dependencies"])
    assert _pins("requirements-app.txt") == app
    assert _pins("requirements.txt") == _names(extras["train"]) - app


def test_the_image_has_every_folder_that_the_app_reads() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert [path for path in kept if not (ROOT / path).exists()] == []
    assert {"app.py", "explorer", "pages", "data", "lessons", "experiments", ".streamlit"} <= set(kept)

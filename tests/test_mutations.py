"""The list of mutations stays usable while the code moves on."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MUTATIONS: list[dict[str, Any]] = tomllib.loads((ROOT / "tests" / "mutations.toml").read_text())["mutation"]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation["name"])
def test_a_mutation_finds_its_line_and_its_tests(mutation: dict[str, Any]) -> None:
    assert (ROOT / mutation["file"]).read_text().count(mutation["old"]) == 1
    assert mutation["new"] != mutation["old"]
    assert [path for path in mutation["tests"] if not (ROOT / path.partition("::")[0]).exists()] == []

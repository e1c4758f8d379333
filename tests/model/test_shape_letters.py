"""The names of the model's tensors end in letters of the legend at the head of the package."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import explorer.model

LEGEND = set(re.findall(r"^    (\w)  ", explorer.model.__doc__ or "", re.MULTILINE))
FILES = sorted(Path(explorer.model.__path__[0]).glob("*.py"))
SHAPE = re.compile(r"_?[a-z]\w*_([A-Za-z0-9]*[A-Z][A-Za-z0-9]*)$")


def names(tree: ast.AST) -> Iterator[str]:
    """Variables, arguments, attributes and functions."""
    for node in ast.walk(tree):
        for field in ("id", "arg", "attr", "name"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                yield name


def unknown_letters(text: str) -> dict[str, str]:
    """Names whose axes have letters that the legend does not explain."""
    suffixes = {name: match[1] for name in names(ast.parse(text)) if (match := SHAPE.match(name))}
    # A number after a letter multiplies it: F2.
    return {
        name: letters for name, letters in suffixes.items() if set(re.sub(r"(?<=F)2", "", letters)) - LEGEND
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_letter_of_a_shape_is_in_the_legend(file: Path) -> None:
    assert not unknown_letters(file.read_text(encoding="utf-8"))


def test_a_letter_without_explanation_is_found() -> None:
    assert {"T", "E", "K", "1"} <= LEGEND
    assert unknown_letters("scores_TE = gates_TQ + self.counts_EZ") == {"gates_TQ": "TQ", "counts_EZ": "EZ"}

"""Functions in Python source files, and fill-in-the-middle examples made from them.

A fill-in example is one line of a function, to be found from the text before and after it, in the order
prefix, suffix, middle (Bavarian et al., arXiv 2207.14255) with control characters as markers: they occur in
no source file and are one byte each.
"""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from explorer.corpus.draws import Draws
from explorer.corpus.units import Domain, Unit

VERSION = 1
"""Increment when any fill-in text changes: it enters the digest of the corpus."""
PREFIX, SUFFIX, MIDDLE, END = "\x01", "\x02", "\x03", "\x04"
LEAST_CHARACTERS, MOST_CHARACTERS = 120, 1_500
NEAR_CHARACTERS = 160
"""Text kept before and after the line of a fill-in example, in whole lines."""


@dataclass(frozen=True, kw_only=True)
class Function:
    """A function, dedented."""

    name: str
    """File and line, unique."""
    head: str
    """Decorators, signature and docstring if there is one, in whole lines."""
    body: str
    """The lines after it."""

    @property
    def text(self) -> str:
        return self.head + self.body


@dataclass(frozen=True, kw_only=True)
class FillIn:
    """One line of a function and the text around it."""

    before: str
    line: str
    """Without indentation and line break, which stay in `before` and `after`."""
    after: str

    @property
    def prompt(self) -> str:
        return f"{PREFIX}{self.before}{SUFFIX}{self.after}{MIDDLE}"

    @property
    def text(self) -> str:
        """The text to train on."""
        return f"{self.prompt}{self.line}{END}\n"


def functions(units: Iterable[Unit]) -> Iterator[Function]:
    """Functions and methods of 120 to 1,500 characters, with the lines of their body apart."""
    for unit in units:
        try:
            tree = ast.parse(unit.text)
        except (SyntaxError, ValueError):
            continue
        lines = unit.text.split("\n")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                function = _function(unit.name, lines, node)
                if function is not None:
                    yield function


def _function(file: str, lines: list[str], node: ast.FunctionDef) -> Function | None:
    """None where the length does not fit, or where cutting or dedenting would change the meaning."""
    has_docstring = ast.get_docstring(node) is not None
    if has_docstring and len(node.body) == 1:
        return None
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
    split = (node.body[0].end_lineno or 0) if has_docstring else node.body[0].lineno - 1
    indent = len(lines[first]) - len(lines[first].lstrip())
    own = lines[first : node.end_lineno]
    # A line that starts further left belongs to a text of several lines.
    if any(line[:indent].strip() for line in own):
        return None
    cut = [line[indent:] + "\n" for line in own]
    head, body = "".join(cut[: split - first]), "".join(cut[split - first :])
    if not LEAST_CHARACTERS <= len(head) + len(body) <= MOST_CHARACTERS or not _parses(head + "    pass\n"):
        return None
    return Function(name=f"{file}:{first + 1}", head=head, body=body)


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


def body_line(function: Function, seed: int = 0) -> tuple[str, str, str]:
    """(text before, line, text after) for a line of the body that says something, chosen by the name."""
    lines = function.body.split("\n")[:-1]
    telling = [
        i for i, line in enumerate(lines) if len(line.strip()) >= 4 and not line.strip().startswith("#")
    ]
    place = Draws("line", VERSION, seed, function.name).choice(telling or range(len(lines)))
    before = function.head + "".join(line + "\n" for line in lines[:place])
    return before, lines[place], "".join(line + "\n" for line in lines[place + 1 :])


def fill_in(function: Function, seed: int = 0) -> FillIn:
    """A fill-in example from one line of the body, with the text close to it."""
    before, line, after = body_line(function, seed)
    near = before[-NEAR_CHARACTERS:]
    if len(near) < len(before):
        near = near[near.find("\n") + 1 :]
    indentation = line[: len(line) - len(line.lstrip())]
    behind = after[:NEAR_CHARACTERS]
    return FillIn(before=near + indentation, line=line.strip(), after="\n" + behind[: behind.rfind("\n") + 1])


def fill_in_domain(python: Domain) -> Domain:
    """The corpus domain: one unit per function of the domain's files, in the same split as its file."""

    def units(source: Iterable[Unit]) -> tuple[Unit, ...]:
        return tuple(Unit(name=one.name, text=fill_in(one).text) for one in functions(source))

    return Domain(name="fill_in", train=units(python.train), held_out=units(python.held_out))

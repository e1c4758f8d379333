"""Text from outside is shown as text: no name, address, message or file content becomes markup."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_pages import Opener
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from store_runs import write_run

from explorer.ui.shared.plain import plain

ROOT = Path(__file__).parents[2]
ALERTS = {"warning", "error", "info", "success", "caption", "toast"}
EVIL = "![a](http://evil.example/p.png)"
WITHOUT_WIDTH = "\u200b"


def alerts(file: Path) -> Iterator[tuple[int, ast.expr]]:
    """Line and first argument of every alert that a file shows."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if is_call and node.func.attr in ALERTS and "logg" not in ast.unparse(node.func) and node.args:
            yield node.lineno, node.args[0]


def is_text(value: ast.expr) -> bool:
    """A text of this project, or one that is made plain; of a mixed one every part."""
    if isinstance(value, ast.JoinedStr):
        return all(is_text(part) for part in value.values)
    if isinstance(value, ast.FormattedValue):
        return is_text(value.value)
    if isinstance(value, ast.Call):
        return ast.unparse(value.func) in ("plain", "show.plain", "len")
    return isinstance(value, ast.Constant) or ast.unparse(value) == "READ_ONLY"


def test_every_alert_shows_text_of_the_project_or_plain_text() -> None:
    files = [*(ROOT / "explorer" / "ui").rglob("*.py"), *(ROOT / "pages").glob("*.py")]
    assert len(files) > 50
    not_plain = [
        f"{file.name}:{line}: {ast.unparse(argument)}"
        for file in files
        for line, argument in alerts(file)
        if not is_text(argument)
    ]
    assert not not_plain


def test_a_number_and_its_unit_stay_on_one_line() -> None:
    assert plain("at 12.5 % of 3, −0.3 ± 0.1 at k = 2 and b = −1") == (
        "at 12.5\u00a0% of 3, −0.3\u00a0±\u00a00.1 at k\u00a0=\u00a02 and b\u00a0=\u00a0−1"
    )
    assert plain("a % b, x = y") == "a % b, x = y"


@given(st.text(st.sampled_from("ab1 .)(:/@#*_[]<>!`$~&|=+-\\\n\r\t\"'"), min_size=1, max_size=60))
def test_plain_text_has_no_markup_and_keeps_its_letters(text: str) -> None:
    html = MarkdownIt("commonmark", {"html": True}).render(plain(text))
    shown = html.replace("<p>", "").replace("</p>", "").replace(WITHOUT_WIDTH, "")
    assert "<" not in shown, html
    for entity, letter in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        shown = shown.replace(entity, letter)
    assert shown.split() == text.split()


@pytest.mark.parametrize("mark", ["# heading", "- item", "1. item", "> quotation", "    code"])
@pytest.mark.parametrize("end", ["\r", "\r\n", "\n", "\r\r", "\n\r"])
def test_every_end_of_line_that_markdown_knows_begins_a_line(end: str, mark: str) -> None:
    html = MarkdownIt("commonmark").render(plain(f"a run{end}{mark}"))
    assert set(re.findall(r"</?(\w+)", html)) == {"p"}, html


@pytest.mark.parametrize(
    "text", ["see https://evil.example/x", "www.evil.example", "me@evil.example", "a :material/home: b :+1:"]
)
def test_addresses_and_the_names_of_pictures_are_taken_apart_and_look_the_same(text: str) -> None:
    """They are looked for in the finished text, where a backslash no longer protects."""
    kept = plain(text)
    assert kept != text
    assert kept.replace(WITHOUT_WIDTH, "") == text.replace("_", "\\_")
    for mark in ("https://", "www.", "me@", ":material/home:", ":+1:"):
        assert mark not in kept


@pytest.mark.parametrize("text", ["cost:green", ":red", "a:b:c", "::small", "x :gray-badge[y]", "α:größe"])
def test_no_colon_begins_a_directive(text: str) -> None:
    """`:red` alone is a directive of Streamlit's Markdown and shows nothing; escaped it is text."""
    kept = plain(text)
    for place, mark in enumerate(kept[:-1]):
        if mark == ":" and kept[place + 1].isalpha():
            assert kept[place - 1] == "\\", kept
    assert kept.replace(WITHOUT_WIDTH, "").replace("\\", "") == text


@pytest.mark.parametrize(
    ("page", "key"),
    [
        ("overview", "mode"),
        ("overview", "panel"),
        ("overview", "runs"),
        ("lessons", "lesson"),
        ("compare", "layer"),
        ("compare", "x"),
        ("replay", "run"),
        ("replay", "sort"),
        ("replay", "step"),
        ("playground", "swA"),
        ("theory", "rule"),
        ("glossary", "term"),
        ("glossary", "counts"),
        ("glossary", "n"),
    ],
)
def test_what_an_address_says_is_repeated_as_text(
    open_app: Opener, recorded: Path, page: str, key: str
) -> None:
    query = {"example": "typed"} if key == "counts" else {}
    app = open_app(recorded, page, **{**query, key: EVIL})
    assert not app.exception
    messages = [str(alert.value) for kind in (app.warning, app.info, app.error) for alert in kind]
    assert any("evil.example" in sentence for sentence in messages), messages
    for sentence in messages:
        assert "<img" not in MarkdownIt().render(sentence)
        assert "http://" not in sentence


def test_the_reason_of_an_unreadable_run_is_shown_as_text(open_app: Opener, tmp_path: Path) -> None:
    write_run(tmp_path / "shipped", "fine", steps=20)
    broken = tmp_path / "shipped" / "broken"
    broken.mkdir()
    (broken / "run.json").write_text(json.dumps({"format_version": EVIL}), encoding="utf-8")
    app = open_app(tmp_path / "shipped")
    (sentence,) = [str(alert.value) for alert in app.warning]
    assert "evil.example" in sentence
    assert "<img" not in MarkdownIt().render(sentence)

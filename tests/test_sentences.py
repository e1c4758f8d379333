"""The golden sentences: each key of the file is used, each used key exists, and mistakes are named."""

import ast
import re
from pathlib import Path

import pytest
import sentences
from sentences import PLACEHOLDER, pattern, sentence

TESTS = Path(__file__).parent
CALLS = ("sentence", "pattern")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {"plane.best": "{arm} has the lowest MaxVio ({value}).", "plane.none": "No run is finished."}
    monkeypatch.setattr(sentences, "sentences", lambda: texts)


def calls_in(file: Path) -> list[tuple[int, ast.expr, list[str]]]:
    """The line, the key and the value names of each call of `sentence` or `pattern` in a file."""
    return [
        (node.lineno, node.args[0], [word.arg or "**" for word in node.keywords])
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in CALLS
        and node.args
    ]


def test_used_keys_and_known_keys_are_the_same() -> None:
    texts, used, wrong = sentences.sentences(), set(), []
    for file in sorted(TESTS.rglob("*.py")):
        if file.name == Path(__file__).name or "from sentences import" not in file.read_text(
            encoding="utf-8"
        ):
            continue
        for line, key, names in calls_in(file):
            place = f"{file.relative_to(TESTS)}:{line}"
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                wrong.append(f"{place}: a key is a literal string, so that a search finds it")
            elif key.value not in texts:
                wrong.append(f"{place}: unknown key {key.value}")
            else:
                used.add(key.value)
                extra = set(names) - set(PLACEHOLDER.findall(texts[key.value]))
                wrong += [f"{place}: {key.value} has no {name}" for name in sorted(extra)]
    assert wrong == []
    assert sorted(texts.keys() - used) == []


@pytest.mark.usefixtures("known")
def test_placeholders_are_filled_with_the_text_of_their_values() -> None:
    assert sentence("plane.best", arm="loss-free", value=0.1) == "loss-free has the lowest MaxVio (0.1)."
    assert sentence("plane.none") == "No run is finished."


@pytest.mark.usefixtures("known")
def test_a_pattern_takes_values_literally_and_leaves_the_others_open() -> None:
    text = "a+b has the lowest MaxVio (0.10)."
    assert re.fullmatch(pattern("plane.best"), text)
    assert re.fullmatch(pattern("plane.best", arm="a+b"), text)
    assert not re.fullmatch(pattern("plane.best", arm="a.b"), text)
    match = re.fullmatch(pattern("plane.best", value=re.compile(r"(\d\.\d+)")), text)
    assert match
    assert match[1] == "0.10"


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("function", [sentence, pattern])
def test_an_unknown_key_names_the_nearest_ones(function: object) -> None:
    with pytest.raises(KeyError, match=r"no 'plane.bets'; the nearest are plane\.best"):
        function("plane.bets")  # type: ignore[operator]


@pytest.mark.usefixtures("known")
def test_missing_and_superfluous_values_are_named() -> None:
    with pytest.raises(ValueError, match=r"plane\.best needs value"):
        sentence("plane.best", arm="loss-free")
    with pytest.raises(ValueError, match=r"plane\.none has no arm"):
        pattern("plane.none", arm="loss-free")

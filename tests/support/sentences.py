"""The wording that tests compare, kept in one file: `golden/sentences.toml`.

A test names a sentence, the file spells it. Rewording one touches the product and one line of that file.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

FILE = Path(__file__).parent / "golden" / "sentences.toml"
PLACEHOLDER = re.compile(r"\{(\w+)\}")


@cache
def sentences() -> Mapping[str, str]:
    """Every sentence of the file under its key "group.topic"."""
    groups = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {f"{group}.{topic}": text for group, topics in groups.items() for topic, text in topics.items()}


def sentence(key: str, **values: object) -> str:
    """The sentence with each {placeholder} replaced by the `str` of its value; for comparing.

    Raises KeyError, naming the nearest keys, where the file has no such key, and ValueError where a value is
    missing or belongs to no placeholder.
    """
    text = _text(key, values)
    if missing := set(PLACEHOLDER.findall(text)) - values.keys():
        raise ValueError(f"{key} needs {', '.join(sorted(missing))}: {text}")
    return PLACEHOLDER.sub(lambda match: str(values[match[1]]), text)


def pattern(key: str, **values: object) -> str:
    """The sentence as a regular expression, for `pytest.raises(match=...)` and `re`.

    A {placeholder} without a value matches any text of one line; a compiled expression given as a value is
    inserted as it is, every other value literally. Raises as `sentence` does for an unknown key or value.
    """
    between, *rest = PLACEHOLDER.split(_text(key, values))  # text and names in turn
    expression = re.escape(between)
    for name, after in zip(rest[::2], rest[1::2], strict=True):
        value = values.get(name, ANYTHING)
        expression += value.pattern if isinstance(value, re.Pattern) else re.escape(str(value))
        expression += re.escape(after)
    return expression


ANYTHING = re.compile(".*")


def _text(key: str, values: Mapping[str, object]) -> str:
    known = sentences()
    if key not in known:
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
        raise KeyError(f"{FILE.name} has no {key!r}; the nearest are {', '.join(near) or 'all far away'}")
    if unknown := values.keys() - set(PLACEHOLDER.findall(known[key])):
        raise ValueError(f"{key} has no {', '.join(sorted(unknown))}: {known[key]}")
    return known[key]

"""TOML files written by people: every field read with its kind, every mistake one sentence.

A sentence names the file, the field, the value and the rule, so that whoever writes a lesson can mend it
without reading this code. All mistakes of a file are said at once.
"""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from explorer.errors import ExplorerError, shown


class FileProblem(ExplorerError):
    """A file breaks its rules; `sentences` has one for each mistake."""

    def __init__(self, sentences: list[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("\n".join(sentences))


class Table:
    """One table of a file. What is wrong is noted, and a value of the right kind is returned all the same."""

    def __init__(self, file: str, name: str, content: Mapping[str, Any], problems: list[str]) -> None:
        self._file, self._name, self._content = file, name, content
        self.problems = problems

    @classmethod
    def read(cls, path: Path) -> "Table":
        """The whole file. Raises FileProblem when it is not TOML at all."""
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        # TOMLDecodeError and UnicodeDecodeError are ValueErrors, and so is a number of thousands of digits.
        except (ValueError, OSError) as error:
            why = str(error).partition(";")[0].rstrip(".")
            raise FileProblem([f"{path.name}: cannot be read as TOML: {why}."]) from None
        except RecursionError:
            raise FileProblem(
                [f"{path.name}: cannot be read as TOML: it is nested too deeply; write it flatter."]
            ) from None
        return cls(path.name, "", content, [])

    def wrong(self, field: str, value: object, rule: str) -> None:
        """Note a mistake."""
        self.problems.append(f"{self._file}: {self._path(field)} = {shown(value)}: {rule}.")

    def only(self, known: Collection[str]) -> None:
        """Note every field that is not among the known ones."""
        for field, value in self._content.items():
            if field not in known:
                self.wrong(field, value, f"is not a field here; the fields are {', '.join(known)}")

    def text(self, field: str, *, needed: bool = True, most_words: int | None = None) -> str:
        """A text without space at its ends; empty where it is missing."""
        value = self._of_kind(field, str, "a text", needed)
        text = "" if value is None else str(value).strip()
        if needed and value is not None and not text:
            self.wrong(field, value, "must not be empty")
        count = len(text.split())
        if most_words is not None and count > most_words:
            start = " ".join(text.split()[:4])
            self.wrong(field, f"{start} …", f"has {count} words; {most_words} are the most")
        return text

    def texts(self, field: str, *, needed: bool = True) -> tuple[str, ...]:
        """A list of texts."""
        value = self._of_kind(field, list, "a list of texts", needed)
        return self._items(field, value, str, "a text")

    def numbers(self, field: str, *, needed: bool = True) -> tuple[float, ...]:
        """A list of numbers."""
        value = self._of_kind(field, list, "a list of numbers", needed)
        return tuple(float(item) for item in self._items(field, value, (int, float), "a number"))

    def integer(self, field: str, *, low: int, high: int, default: int) -> int:
        """A whole number in a range; `default` where it is missing."""
        value = self._content.get(field, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.wrong(field, value, f"must be a whole number from {low} to {high}")
            return default
        return value

    def plain(self, field: str) -> dict[str, Any]:
        """A table of any content; empty where it is missing."""
        value = self._of_kind(field, dict, "a table", False)
        return dict(value or {})

    def table(self, field: str) -> "Table | None":
        """A table inside this one; None where it is missing."""
        value = self._of_kind(field, dict, "a table", False)
        return None if value is None else Table(self._file, self._path(field), value, self.problems)

    def tables(self, field: str) -> list["Table"]:
        """A list of tables, at least one."""
        value = self._of_kind(field, list, "a list of tables", True) or []
        if field in self._content and not value:
            self.wrong(field, value, "must have at least one entry")
        return [
            Table(self._file, f"{self._path(field)}[{place}]", item, self.problems)
            for place, item in enumerate(self._items(field, value, dict, "a table"), start=1)
        ]

    def done(self) -> None:
        """Raise FileProblem if anything was wrong."""
        if self.problems:
            raise FileProblem(self.problems)

    def _path(self, field: str) -> str:
        return f"{self._name}.{field}" if self._name else field

    def _of_kind(self, field: str, kind: type, words: str, needed: bool) -> Any:
        if field not in self._content:
            if needed:
                self.problems.append(f"{self._file}: {self._path(field)} is missing: it must be {words}.")
            return None
        value = self._content[field]
        if isinstance(value, kind):
            return value
        self.wrong(field, value, f"must be {words}")
        return None

    def _items(self, field: str, value: Any, kind: Any, words: str) -> tuple[Any, ...]:
        fitting = []
        for item in value or ():
            if isinstance(item, kind) and not isinstance(item, bool):
                fitting.append(item)
            else:
                self.wrong(field, item, f"every entry must be {words}")
        return tuple(fitting)

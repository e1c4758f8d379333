"""Hand-written TOML files, and their mistakes as one sentence each.

A sentence names the file, the field, the value and the rule, so that an author can correct a file without
reading this code. All mistakes of a file are reported together.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.errors import ExplorerError


class FileProblem(ExplorerError):
    """A file breaks its rules; `sentences` has one for each mistake."""

    def __init__(self, sentences: list[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("\n".join(sentences))


@dataclass(frozen=True)
class Mistake:
    """A value that breaks a rule."""

    value: object
    rule: str
    """The rest of the sentence, e.g. "must not be empty"."""
    under: str = ""
    """Path of the value below its field, e.g. ".log"."""


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a file. Raises FileProblem when it is not TOML at all."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    # TOMLDecodeError and UnicodeDecodeError are ValueErrors, and so is a number of thousands of digits.
    except (ValueError, OSError) as error:
        why = str(error).partition(";")[0].rstrip(".")
        raise FileProblem([f"{path.name}: cannot be read as TOML: {why}."]) from None
    except RecursionError:
        raise FileProblem(
            [f"{path.name}: cannot be read as TOML: it is nested too deeply; write it flatter."]
        ) from None

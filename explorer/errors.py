"""Everything the project raises on purpose.

ExplorerError                 one clear sentence for a person; the CLI exits with 2
├── ConfigError               a field of a configuration breaks a rule
├── CorpusError               a text, domain or tokenizer cannot be used
├── RunFolderError            a run folder cannot be read or written
│   └── UnreadableRunError    this run is listed with the reason; the others go on working
│       └── NotNowError       the system refused to read it, which may pass: it is tried again
├── ForeignFileError          a file of another system cannot be imported
├── StoreError                the DuckDB index cannot be opened or written
├── SandboxError              code cannot be confined on this system, so it is not run
└── TrainingError             training cannot go on (not a finite loss, nothing to resume from)
"""

from collections.abc import Iterable
from difflib import get_close_matches

MOST_SHOWN = 200
"""Characters of a value that a sentence repeats."""


class ExplorerError(Exception):
    """A sentence that names the field, the value, the rule and the remedy."""


class ConfigError(ExplorerError):
    """A configuration field breaks a rule.

    >>> str(ConfigError("model.top_k", 9, "must be at most model.num_experts (8)", "lower it to 8"))
    'model.top_k = 9: must be at most model.num_experts (8); lower it to 8.'
    """

    def __init__(self, field: str, value: object, rule: str, remedy: str) -> None:
        self.field, self.value, self.rule, self.remedy = field, value, rule, remedy
        super().__init__(f"{field} = {value_text(value)}: {rule}; {remedy}.")


def value_text(value: object) -> str:
    """A value as a sentence repeats it: its `repr`, shortened.

    A number of thousands of digits, or a list nested a thousand deep, has no `repr` at all.
    """
    try:
        return shortened(repr(value))
    except (ValueError, RecursionError):
        name = type(value).__name__
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name} too long to print"


def shortened(text: str) -> str:
    """Without its middle, where it is longer than a sentence may repeat.

    >>> len(shortened("x" * 5000))
    203
    """
    half = MOST_SHOWN // 2
    return text if len(text) <= MOST_SHOWN else f"{text[:half]} … {text[-half:]}"


class CorpusError(ExplorerError):
    """A text, a domain or a tokenizer cannot be used."""


class RunFolderError(ExplorerError):
    """A run folder cannot be read or written."""


class UnreadableRunError(RunFolderError):
    """This run folder is damaged or of a newer format; every other run still works."""


class NotNowError(UnreadableRunError):
    """The system refused to read a file, which says nothing about what is in it: trying again may succeed."""


class ForeignFileError(ExplorerError):
    """A file of another system cannot be imported: its name, the position in it, the rule and the remedy."""


class StoreError(ExplorerError):
    """The DuckDB index cannot be opened or written."""


class SandboxError(ExplorerError):
    """Code that a model wrote cannot be confined here, so it is not run."""


class TrainingError(ExplorerError):
    """Training cannot start or go on."""


def one_of(field: str, value: object, allowed: Iterable[object]) -> None:
    """Refuse a value that is not among the allowed ones, and say which are."""
    names = list(allowed)
    if value not in names:
        raise ConfigError(field, value, "is not a known name", choose_one(value, names))


LISTED = 12
"""Up to this many names are listed in full; a longer list does not help somebody who mistyped one."""


def choose_one(value: object, names: Iterable[object]) -> str:
    """The remedy for a name that is not among `names`: all of them, or the most similar of many."""
    known = list(map(str, names))
    if not known:
        return "there is none to choose"
    if len(known) <= LISTED:
        return f"choose one of {', '.join(known)}"
    similar = get_close_matches(str(value), known, LISTED // 2, cutoff=0)
    return f"choose one of {', '.join(similar)} or {len(known) - len(similar)} others"

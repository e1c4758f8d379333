"""Facts as texts name them: `name[one; two]`, in braces where a number is to stand.

The value of a fact is computed from recorded runs when a text is shown (`explorer.figures.facts`).
"""

import re
from collections.abc import Callable, Collection, Sequence

from explorer.course.files import FileProblem, Mistake

FACT = re.compile(r"([a-z_]+)\[([^\[\]]*)\]")
"""`name[one; two]`: a name and its arguments."""
PLACEHOLDER = re.compile(r"\{([a-z_]+\[[^\[\]]*\])(?::([^{}]*))?\}")
WRITTEN = "must be written name[…], such as max_vio[none]"

Value = float | int | str
Facts = Callable[[str], Value]
"""Fact as written in a file -> its value; raises ExplorerError where it cannot be known."""


def wrong_facts(facts: Sequence[str], fact_names: Collection[str]) -> list[Mistake]:
    """Every malformed or unknown fact."""
    mistakes = []
    for fact in facts:
        match = FACT.fullmatch(fact)
        if match is None:
            mistakes.append(Mistake(fact, WRITTEN))
        elif match.group(1) not in fact_names:
            mistakes.append(Mistake(fact, f"is not a fact; the facts are {', '.join(sorted(fact_names))}"))
    return mistakes


def read_fact(fact: str) -> tuple[str, tuple[str, ...]]:
    """`difference[loss_free; none; lm_loss]` -> its name and its arguments."""
    match = FACT.fullmatch(fact)
    if match is None:
        raise FileProblem([f"fact = {fact!r}: {WRITTEN}."])
    return match.group(1), tuple(piece.strip() for piece in match.group(2).split(";") if piece.strip())


def placeholders(text: str) -> list[str]:
    """The facts that a text names in braces."""
    return [match.group(1) for match in PLACEHOLDER.finditer(text)]


def filled(text: str, facts: Facts) -> str:
    """The text with its numbers: `{max_vio[none]:.2f}` -> `3.50`; a minus is a real one."""

    def value(match: re.Match[str]) -> str:
        answer = format(facts(match.group(1)), match.group(2) or "")
        if answer.endswith("%"):
            answer = f"{answer[:-1]} %"  # as everywhere else: `wording.percent`
        return answer.replace("-", "−") if re.fullmatch(r"-[\d.,% ]+", answer) else answer

    return PLACEHOLDER.sub(value, text)

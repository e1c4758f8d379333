"""Facts that lessons and experiments name: every number in their texts, asked of the runs when it is shown.

A fact is written `name[one; two]`; its function's docstring is its entry in docs/lessons.md. Arms are
written as on the command line: `aux_loss:scope=sequence`.
"""

from collections.abc import Sequence

from explorer.course.lessons import Value, read_fact
from explorer.errors import ConfigError
from explorer.ui.lessons import facts_bias as lesson_facts_bias  # noqa: F401
from explorer.ui.lessons import facts_loads as lesson_facts_loads  # noqa: F401
from explorer.ui.lessons import facts_quality as lesson_facts_quality  # noqa: F401
from explorer.ui.lessons.fact_registry import FACTS


def value_of(text: str) -> Value:
    """The value of a fact. Raises ExplorerError with a sentence where it cannot be known."""
    name, arguments = read_fact(text)
    if name not in FACTS:
        raise ConfigError("fact", text, "is not known", f"choose one of {', '.join(names())}")
    try:
        return FACTS[name](*arguments)
    except TypeError as error:
        raise ConfigError("fact", text, f"has wrong arguments ({error})", "see docs/lessons.md") from None


def names() -> Sequence[str]:
    """Every fact."""
    return sorted(FACTS)

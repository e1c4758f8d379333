"""Every fact, and the value of one: lessons and experiments name the numbers in their texts.

A fact is written `name[one; two]`; its function's docstring is its entry in docs/lessons.md. Arms are
written as on the command line: `aux_loss:scope=sequence`.
"""

from collections.abc import Sequence
from inspect import signature

from explorer.course.facts import Value, read_fact
from explorer.errors import ConfigError
from explorer.figures.facts import biases, evidence, loads, quality, served, simulated
from explorer.figures.facts.recorded import RecordedRuns
from explorer.figures.facts.registry import FACTS

# Importing a module enters its facts.
MODULES = (biases, evidence, loads, quality, served, simulated)


def value_of(recorded: RecordedRuns, text: str) -> Value:
    """The value of a fact.

    Raises ConfigError for an unknown name or wrong arguments, MissingRun where a run is not here.
    """
    name, arguments = read_fact(text)
    if name not in FACTS:
        raise ConfigError("fact", text, "is not known", f"choose one of {', '.join(names())}")
    try:
        signature(FACTS[name]).bind(recorded, *arguments)
    except TypeError as error:
        raise ConfigError("fact", text, f"has wrong arguments ({error})", "see docs/lessons.md") from None
    return FACTS[name](recorded, *arguments)


def names() -> Sequence[str]:
    """Every fact, in alphabetical order."""
    return sorted(FACTS)

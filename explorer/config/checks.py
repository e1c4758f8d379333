"""Checks of single values: whole numbers, numbers, known fields. A refusal is one sentence (ConfigError)."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from explorer.config.bounds import LARGEST, MOST
from explorer.errors import ConfigError


def check_int(field: str, value: Any, *, least: int) -> None:
    """Refuse what is not a whole number from `least` to the bound of the field."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(
            field, value, f"must be a whole number of at least {least}", f"write {least} or more"
        )
    most = MOST.get(field, LARGEST)
    if value > most:
        raise ConfigError(field, value, f"must be at most {most:,}", "lower it")


def read_int(field: str, text: str, *, least: int, remedy: str) -> int:
    """Parse a whole number. Raises ConfigError for any other text and beyond the bounds."""
    digits = text.strip()
    # Python refuses to read thousands of digits, and takes digits of other scripts, which nobody means.
    if not (digits.isascii() and digits.isdecimal()):
        raise ConfigError(field, text, f"must be a whole number of at least {least}", remedy)
    most = MOST.get(field, LARGEST)
    if len(digits.lstrip("0")) > len(str(most)):
        raise ConfigError(field, text, f"must be at most {most:,}", "lower it")
    number = int(digits)
    check_int(field, number, least=least)
    return number


def check_number(
    field: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> None:
    """Refuse what is not a finite number in range: `least`, `most` inclusive, `above`, `below` exclusive."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(field, value, "must be a finite number", "write it as 0.001 or 1e-3")
    if above is not None and value <= above:
        raise ConfigError(field, value, f"must be greater than {above:g}", "raise it")
    if least is not None and value < least:
        raise ConfigError(field, value, f"must be at least {least:g}", "raise it")
    if below is not None and value >= below:
        raise ConfigError(field, value, f"must be below {below:g}", "lower it")
    if most is not None and value > most:
        raise ConfigError(field, value, f"must be at most {most:g}", "lower it")


def check_fields(prefix: str, given: Any, known: Collection[str]) -> None:
    """Refuse a section that is no table, and fields in it that are not `known`; prefix: e.g. `model.`"""
    if not isinstance(given, Mapping):
        raise ConfigError(
            prefix.rstrip(".") or "config", given, "must be a table of fields", "write field: value"
        )
    for name in given:
        if name not in known:
            raise ConfigError(
                f"{prefix}{name}", given[name], "is not a known field", f"choose one of {', '.join(known)}"
            )

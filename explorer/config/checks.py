"""Validation of single values: integers, numbers, field names. An error is one sentence (ConfigError)."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from explorer.config.bounds import LARGEST, MOST
from explorer.errors import ConfigError


def check_int(field: str, value: Any, *, least: int) -> None:
    """Reject anything but an integer from `least` to the field's upper bound."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(
            field, value, f"must be a whole number of at least {least}", f"write {least} or more"
        )
    most = MOST.get(field, LARGEST)
    if value > most:
        raise ConfigError(field, value, f"must be at most {most:,}", "lower it")


def read_int(field: str, text: str, *, least: int, remedy: str) -> int:
    """Parse a typed integer. Raises ConfigError for any other text and for values out of bounds."""
    digits = text.strip()
    # int() rejects thousands of digits and accepts digits of other scripts; neither is a valid entry here.
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
    """Reject anything but a finite number in range: `least`, `most` inclusive, `above`, `below` exclusive."""
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


def check_fields(prefix: str, section: Any, names: Collection[str]) -> None:
    """Reject a section that is not a table, and fields that are not in `names`; prefix: e.g. `model.`"""
    if not isinstance(section, Mapping):
        raise ConfigError(
            prefix.rstrip(".") or "config", section, "must be a table of fields", "write field: value"
        )
    for name in section:
        if name not in names:
            raise ConfigError(
                f"{prefix}{name}", section[name], "is not a known field", f"choose one of {', '.join(names)}"
            )

"""Fields of a configuration that older runs do not have."""

from dataclasses import field
from typing import Any


def later(default: Any) -> Any:
    """A field added after runs were recorded: omitted from the plain form at its default.

    This keeps the digest and the pair key of older runs unchanged.
    """
    return field(default=default, metadata={"later": True})

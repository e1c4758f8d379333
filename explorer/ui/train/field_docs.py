"""The help of a form's field: the docstring under the field of its dataclass."""

from collections.abc import Mapping
from functools import cache

from pydantic import ConfigDict, TypeAdapter, with_config


@cache
def field_docs(kind: type) -> Mapping[str, str]:
    """Field name -> the docstring under it, for a dataclass; a field without one is left out."""
    documented = with_config(ConfigDict(use_attribute_docstrings=True))(kind)
    fields: dict[str, dict[str, str]] = TypeAdapter(documented).json_schema()["properties"]
    texts = {name: field.get("description", "") for name, field in fields.items()}
    return {name: " ".join(text.split()) for name, text in texts.items() if text}

"""Every format, in the order of detection: the more certain signatures first."""

import importlib
from functools import cache
from pathlib import Path

from explorer.errors import ConfigError, ForeignFileError
from explorer.importers.source import Source
from explorer.importers.trace import Format

MODULES = (
    "sglang_json",
    "sglang_recorder",
    "moe_routes",
    "vllm_eplb",
    "megatron",
    "trtllm",
    "esft",
    "fingerprint",
    "routed_experts",
    "router_logits",
    "olmoe",
    "small_json",
    "placements",
    "matrices",
    "arrays",
    "tables",
    "scalars",
)
"""Modules of explorer/importers/formats; each has one or several formats in FORMATS."""


@cache
def list_formats() -> tuple[Format, ...]:
    """All formats, loaded on first use."""
    return tuple(
        form
        for name in MODULES
        for form in importlib.import_module(f"explorer.importers.formats.{name}").FORMATS
    )


def find_format(source: Source, name: str | None) -> Format:
    """The format of that name, or the first that matches the file. Raises ExplorerError."""
    if name is not None:
        for form in list_formats():
            if form.name == name:
                return form
        raise ConfigError("--format", name, "is not a known format", f"choose one of {', '.join(names())}")
    for form in list_formats():
        if form.matches(source):
            return form
    raise unknown(source.path)


def unknown(path: Path) -> ForeignFileError:
    """The error for a file that matches no format."""
    return ForeignFileError(
        f"{path.name}: shows the signs of no known format (loads of single experts, routes, or scalars "
        f"with a step), so nothing of it can be shown; name one with --format, out of {', '.join(names())}."
    )


def names() -> list[str]:
    """The names of all formats, sorted."""
    return sorted(form.name for form in list_formats())

"""Errors for missing parts of the installation."""

import importlib.util

from explorer.config.places import ROOT
from explorer.errors import ExplorerError

DISTRIBUTION = "moe-routing-explorer"
BASE = ("numpy", "polars", "msgspec")
EXTRAS = {
    "app": (
        "streamlit",
        "starlette",
        "pandas",
        "altair",
        "vl_convert",
        "PIL",
        "plotly",
        "duckdb",
        "pyarrow",
        "scipy",
        "pydantic",
        "latex2mathml",
        "markdown_it",
    ),
    "train": ("torch", "tokenizers", "tqdm", "scipy"),
    "ray": ("ray",),
}
"""Extra of the distribution -> the modules that it installs, by import name."""


def missing_library(error: ModuleNotFoundError) -> ExplorerError | None:
    """Error that names the extra to install; None for a module of no extra, which is a bug."""
    module = (error.name or "").partition(".")[0]
    extras = [f"{DISTRIBUTION}[{extra}]" for extra, modules in EXTRAS.items() if module in modules]
    if module in BASE:
        extras = [DISTRIBUTION]
    if not extras:
        return None
    return ExplorerError(
        f"{module} is not installed, and this command needs it; pip install "
        f"{' or '.join(repr(one) for one in extras)} (in a checkout, make app installs everything)."
    )


def need_extra(extra: str) -> None:
    """Fail early if a library is missing, before the command has done its work."""
    for module in EXTRAS[extra]:
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def need_checkout() -> None:
    """Fail if the pages that a command needs are missing."""
    if not (ROOT / "app.py").is_file():
        raise ExplorerError(
            "app.py was not found: pages and data are part of a checkout, not of the installed package; "
            "clone the repository and run make app there, or "
            f"pip install '{DISTRIBUTION}[app]' and run this command there."
        )

"""Which part of the installation is missing, as one sentence."""

import importlib.util
from pathlib import Path

from explorer.errors import ExplorerError

ROOT = Path(__file__).resolve().parents[2]

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
    ),
    "train": ("torch", "tokenizers", "tqdm", "scipy"),
}
"""Extra of the distribution -> the modules that it brings, by the names they are imported under."""


def missing_library(error: ModuleNotFoundError) -> ExplorerError | None:
    """What to install; None for a module that no extra brings, which is a fault of the program."""
    module = (error.name or "").partition(".")[0]
    wanted = [f"{DISTRIBUTION}[{extra}]" for extra, modules in EXTRAS.items() if module in modules]
    if module in BASE:
        wanted = [DISTRIBUTION]
    if not wanted:
        return None
    return ExplorerError(
        f"{module} is not installed, and this command needs it; pip install "
        f"{' or '.join(repr(one) for one in wanted)} (in a checkout, make app installs everything)."
    )


def need_extra(extra: str) -> None:
    """Refuse a command that would find out on its way that a library is missing, with its work done."""
    for module in EXTRAS[extra]:
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def need_checkout() -> None:
    """Refuse a command whose pages are not there."""
    if not (ROOT / "app.py").is_file():
        raise ExplorerError(
            "app.py was not found: pages and data are part of a checkout, not of the installed package; "
            "clone the repository and run make app there, or "
            f"pip install '{DISTRIBUTION}[app]' and run this command there."
        )

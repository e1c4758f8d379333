"""Which part of the installation a missing library belongs to, as one sentence."""

from explorer.errors import ExplorerError

DISTRIBUTION = "moe-routing-explorer"
BASE = ("numpy", "polars", "msgspec")
EXTRAS = {
    "app": ("streamlit", "altair", "vl_convert", "PIL", "plotly", "duckdb", "pyarrow", "scipy"),
    "train": ("torch", "tokenizers", "tqdm"),
}
"""Extra of the distribution -> the modules that it brings, by the names they are imported under."""


def missing_library(error: ModuleNotFoundError) -> ExplorerError | None:
    """What to install; None for a module that no extra brings, which is a fault of the program."""
    module = (error.name or "").partition(".")[0]
    wanted = DISTRIBUTION if module in BASE else None
    for extra, modules in EXTRAS.items():
        if module in modules:
            wanted = f"{DISTRIBUTION}[{extra}]"
    if wanted is None:
        return None
    return ExplorerError(
        f"{module} is not installed, and this command needs it; pip install '{wanted}' "
        "(in a checkout, make app installs everything)."
    )

"""Fixtures that many tests share, and the profiles of Hypothesis.

HYPOTHESIS_PROFILE=dev (the default) tries few examples and new ones every time; =ci always tries the same
ones, so that a red build is red again; =thorough tries many.
"""

import gc
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from tiny import make_tiny_config, make_tiny_corpus

if TYPE_CHECKING:
    from explorer.config.run import RunConfig
    from explorer.corpus import Corpus

# The settings of a host that happens to be this machine would decide what the app of a test may do.
for variable in ("EXPLORER_READ_ONLY", "EXPLORER_LIMITS", "EXPLORER_PROXY_HEADER"):
    os.environ.pop(variable, None)

# Processes that a test starts find what tests share, as this one does.
SUPPORT = str(Path(__file__).with_name("support"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (SUPPORT, os.environ.get("PYTHONPATH"))))

settings.register_profile("dev", max_examples=20, deadline=None)
settings.register_profile(
    "ci",
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", max_examples=300, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


MEMORY = Path("/dev/shm")
"""A file system in memory, where the system has one."""
ROOM_BYTES = 2 * 2**30
"""Free space that it must have; a whole run of the tests leaves less than half of that."""


def pytest_configure() -> None:
    """Let temporary folders lie in memory: a run folder waits for the disk at each of its 40 fsyncs."""
    is_free = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM_BYTES
    if is_free:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: no collection of garbage needs to look at them again."""
    gc.collect()
    gc.freeze()


SLOW_FIRST = ("browser", "ui", "training", "export", "cli", "store")
"""Folders whose tests take longest, that no worker is left alone with them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow folders first; in each of them the order stays."""
    folders = [*SLOW_FIRST, ""]
    root = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        folder = item.path.relative_to(root).parts[0]
        return folders.index(folder if folder in SLOW_FIRST else "")

    items.sort(key=place)


@pytest.fixture(scope="session")
def tiny_config() -> "Callable[..., RunConfig]":
    """A factory: `tiny_config("loss_free", top_k=1)`; see `make_tiny_config`."""
    return make_tiny_config


@pytest.fixture(scope="session")
def tiny_corpus() -> "Corpus":
    """See `make_tiny_corpus`."""
    return make_tiny_corpus()

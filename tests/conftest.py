"""Fixtures that many tests share, and the profiles of Hypothesis.

HYPOTHESIS_PROFILE=dev (the default) tries few examples and new ones every time; =ci always tries the same
ones, so that a red build is red again; =thorough tries many.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from xdist.remote import Producer
    from xdist.scheduler import Scheduling

    from explorer.config.run import RunConfig
    from explorer.corpus import Corpus

# The settings of a host that happens to be this machine would decide what the app of a test may do.
for variable in ("EXPLORER_READ_ONLY", "EXPLORER_LIMITS", "EXPLORER_PROXY_HEADER"):
    os.environ.pop(variable, None)

# A suite that was started with nohup ignores a closed terminal, and so would its training runs.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Several workers share the processors, and small tensors gain nothing from a second thread.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A collection of garbage looks at more at a time: a quarter less processor time for reading the tests, a
# twelfth less for those of pages.
gc.set_threshold(20_000, 20, 50)

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
"""Free space that it must have. Folders are removed with their tests, unless these fail."""


def pytest_configure() -> None:
    """Let temporary folders lie in memory: a run folder waits for the disk at each of its 40 fsyncs."""
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and has_room(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def has_room(folder: Path) -> bool:
    """Whether the tests fit into its file system, and programs may be started from there."""
    system = os.statvfs(folder)
    return system.f_bavail * system.f_frsize > ROOM_BYTES and not system.f_flag & os.ST_NOEXEC


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Let each worker begin to read the tests at another folder: what one has compiled, the others find."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and session.config.args == ["tests"]:
        root = Path(__file__).parent
        parts = sorted(str(path) for path in root.iterdir() if path.match("test_*.py") or has_tests(path))
        start = int(worker.removeprefix("gw")) * len(parts) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        session.config.args = parts[start:] + parts[:start]


def has_tests(path: Path) -> bool:
    return path.is_dir() and any(path.glob("test_*.py"))


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: no collection of garbage needs to look at them again."""
    gc.collect()
    gc.freeze()


SLOW_FIRST = (
    "browser",
    "ui",
    "training",
    "export",
    "cli",
    "store",
    "evidence",
    "running",
    "recording",
    "metrics",
)
"""Folders whose tests take longest, that no worker is left alone with them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow folders first, and in each of them files with slow tests and long files; a worker takes
    whole files, and the last ones should be small. In a file the order stays."""
    folders = [*SLOW_FIRST, ""]
    root = Path(__file__).parent
    files = {item.path for item in items}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    sizes = {file: file.stat().st_size for file in files}

    def place(item: pytest.Item) -> tuple[int, bool, int, str]:
        file = item.path
        folder = file.relative_to(root).parts[0]
        number = folders.index(folder if folder in SLOW_FIRST else "")
        return number, file not in slow, -sizes[file], str(file)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: "Producer") -> "Scheduling | None":
    """With `--dist loadfile` a worker's next file depends on the worker: see `beside_browsers`."""
    if config.getvalue("dist") != "loadfile":
        return None
    from beside_browsers import BesideBrowsers

    return BesideBrowsers(config, log)


@pytest.fixture(scope="session", autouse=True)
def empty_indexes_are_copies() -> Iterator[None]:
    """Hundreds of tests begin with an index of their own; `store/test_store_index.py` tests how one is made.

    Nothing is imported for tests that have none.
    """
    if "explorer.store.connection" not in sys.modules:
        yield
        return
    import empty_index

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("explorer.store.connection._open_or_rebuild", empty_index.copied)
        yield


@pytest.fixture(scope="session")
def tiny_config() -> "Callable[..., RunConfig]":
    """A factory: `tiny_config("loss_free", top_k=1)`; see `make_tiny_config`."""
    from tiny import make_tiny_config

    return make_tiny_config


@pytest.fixture(scope="session")
def tiny_corpus() -> "Corpus":
    """See `make_tiny_corpus`."""
    from tiny import make_tiny_corpus

    return make_tiny_corpus()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder for runs, not made yet."""
    return tmp_path / "runs"

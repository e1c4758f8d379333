"""Imports, queries and draws for the first page while the browser loads its own files; then the rest.

At last come the random-routing baselines of the runs: a simulation of 80 ms or more per run, which Compare
would wait for otherwise.
"""

import gc
import importlib
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from explorer.ui.server import first_visit

OTHER_PAGES = ("lessons", "compare", "replay", "microscope", "playground", "theory")
"""Pages whose imports take longest, in the order in which a visitor meets them."""
LAZY_LIBRARIES = ("scipy.special", "scipy.optimize")
"""Loaded by the function that needs them; a visitor of Theory or the Microscope should not wait for that."""
SERVER = (
    *(
        "explorer.cli.app",
        "explorer.cli.arguments",
        "explorer.ui.frame",
        "explorer.ui.overview.page",
        "explorer.ui.server.services",
    ),
    *("streamlit.web.bootstrap", "streamlit.web.cli", "streamlit.web.server.server"),
)
"""Modules that serve the first visit."""
REST_AFTER_S = 4.0
"""Seconds that the first page has for itself: on two cores more imports would slow its first picture."""

MOST_BASELINES = 100
"""Runs whose baselines are prepared, those of the default comparison first."""


SWITCH_S = 0.0005
"""How long a thread keeps Python's lock while another waits, until the first page is prepared.

Every file that a browser asks for is handed from thread to thread several times. At Python's 5 ms, imports
and queries would delay each of its first hundred files.
"""
_LOADING = threading.Lock()


class WarmUp(threading.Thread):
    """Starts the server's services, then prepares the pages."""

    def __init__(self, rest_after_s: float = REST_AFTER_S, arrival_s: float = first_visit.ARRIVAL_S) -> None:
        super().__init__(name="explorer-warm-up", daemon=True)
        self._rest_after_s, self._arrival_s = rest_after_s, arrival_s
        self._has_started = threading.Event()

    def run(self) -> None:
        """Start the services, prepare the first page, and after a pause the others."""
        with _without_collections():
            self._load()
        with _harmless():
            _baselines()

    def _load(self) -> None:
        # The lock is held from the start: no page may load pandas while Altair is at work here.
        with _short_turns(), _LOADING:
            visit = first_visit.current()
            visit.wait(self._arrival_s)
            self._start_services()
            _first_page()
            visit.end()
        time.sleep(self._rest_after_s)
        load_pandas()
        _import_pages()
        importlib.import_module("explorer.ui.glossary.terms").whole_html()
        freeze_memory()

    def _start_services(self) -> None:
        try:
            from explorer.ui.server.services import services

            services()
        except Exception as error:  # every page raises it again, and says it there
            logging.getLogger(__name__).error("%s", error)
        finally:
            self._has_started.set()

    def close(self) -> None:
        """Stop the services, also those that are just being started."""
        from explorer.ui.server.services import shut_down

        first_visit.current().report_drawn()
        self._has_started.wait()
        shut_down()


def compile_all() -> None:
    """Import everything a server loads without starting it, to cache its bytecode (see Dockerfile)."""
    for name in SERVER:
        importlib.import_module(name)
    load_pandas()
    _import_pages()


def _import_pages() -> None:
    for name in OTHER_PAGES:
        importlib.import_module(f"explorer.ui.{name}.page")
    for name in LAZY_LIBRARIES:
        importlib.import_module(name)


def load_pandas() -> None:
    """Load pandas, which Streamlit needs for tables, once the first page is prepared.

    Altair looks whether pandas is there, and one that another thread is still loading is an error. So nothing
    may be drawn meanwhile: all pages come here first, except the first page itself, whose picture would be
    late.
    """
    with _LOADING:
        importlib.import_module("pandas")


@contextmanager
def _short_turns() -> Iterator[None]:
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


@contextmanager
def _without_collections() -> Iterator[None]:
    """Keep the garbage collector off while libraries load: it would walk through them again and again.

    That would take a sixth of the processor time up to the first chart. `explorer app` has already turned it
    off by then.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def _harmless() -> Iterator[None]:
    """Let a page say what is wrong, with its remedy, where preparing it fails."""
    try:
        yield
    except Exception as error:
        logging.getLogger(__name__).debug("nothing was prepared: %s", error)


def freeze_memory() -> None:
    """Take what is loaded by now out of the garbage collector's sight: it stays until the server ends.

    A full collection walks through some 200,000 objects of the libraries, for 100 ms in which no session is
    answered.
    """
    gc.collect()
    gc.freeze()


def _first_page() -> None:
    # Imported here: the libraries of the charts, and those of the first page, take longest of all.
    from explorer.figures.arms import arms_of, default_arms
    from explorer.figures.views import overview
    from explorer.queries import comparison
    from explorer.ui.overview import page  # noqa: F401
    from explorer.ui.shared import cached, picker, shell, store  # noqa: F401

    with _harmless():
        runs = cached.list_runs()
        store.opening(tuple(default_arms(arms_of(runs))))
        for question in overview.open_view(store.STORE, runs, {}).questions:
            store.answer(question)
        readable = tuple(run for run in runs if run.is_readable)
        if readable:
            store.ask(comparison.summary, readable)


def _baselines() -> None:
    """Simulate what `figures.balance` asks for; as long a pause after each run as it took."""
    from explorer.figures.arms import arms_of, default_arms
    from explorer.queries import balance
    from explorer.ui.shared import cached, store

    finished = [run for run in cached.list_runs() if run.is_readable and not run.is_running]
    first = [run for arm in default_arms(arms_of(finished)) for run in arm.runs]
    for run in list(dict.fromkeys([*first, *finished]))[:MOST_BASELINES]:
        begun = time.monotonic()
        store.ask(balance.references, run)
        time.sleep(time.monotonic() - begun)

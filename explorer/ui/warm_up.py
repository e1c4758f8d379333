"""Imports, queries and draws for the first page while the browser loads its own files; then the rest.

At last come the random-routing baselines of the runs: a simulation of 80 ms or more per run, which Compare
would wait for otherwise.
"""

import gc
import importlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

OTHER_PAGES = ("compare", "replay", "microscope", "playground", "theory")
"""Pages whose imports take longest, in the order in which a visitor meets them."""
LAZY_LIBRARIES = ("scipy.special", "scipy.optimize")
"""Loaded by the function that needs them; a visitor of Theory or the Microscope should not wait for that."""
REST_AFTER_S = 4.0
"""Seconds that the first page has for itself: on two cores more imports would slow its first picture."""

MOST_BASELINES = 100
"""Runs whose baselines are prepared, those of the default comparison first."""


def warm_up(rest_after_s: float = REST_AFTER_S) -> threading.Thread:
    """Prepare the pages in a thread of its own."""
    thread = threading.Thread(target=_prepare, args=(rest_after_s,), name="explorer-warm-up", daemon=True)
    thread.start()
    return thread


def _prepare(rest_after_s: float) -> None:
    _first_page()
    time.sleep(rest_after_s)
    for name in OTHER_PAGES:
        importlib.import_module(f"explorer.ui.{name}.page")
    for name in LAZY_LIBRARIES:
        importlib.import_module(name)
    settle_memory()
    with _harmless():
        _baselines()


@contextmanager
def _harmless() -> Iterator[None]:
    """Let a page say what is wrong, with its remedy, where preparing it fails."""
    try:
        yield
    except Exception as error:
        logging.getLogger(__name__).debug("nothing was prepared: %s", error)


def settle_memory() -> None:
    """Take what is loaded by now out of the garbage collector's sight: it stays until the server ends.

    A full collection walks through some 200,000 objects of the libraries, for 100 ms in which no session is
    answered.
    """
    gc.collect()
    gc.freeze()


def _first_page() -> None:
    # Imported here: the libraries of the charts, and those of the first page, take longest of all. pandas
    # comes first, because Altair looks whether it is there, and a half loaded one is an error.
    import pandas as pd  # noqa: F401

    from explorer.figures.views import overview
    from explorer.queries import comparison
    from explorer.ui.overview import page  # noqa: F401
    from explorer.ui.shared import cached, picker, shell, store  # noqa: F401

    with _harmless():
        runs = cached.list_runs()
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

"""Imports, queries and draws for the first page while the browser still loads its own files."""

import logging
import threading


def warm_up() -> threading.Thread:
    """Prepare the first page in a thread of its own."""
    thread = threading.Thread(target=_prepare, name="explorer-warm-up", daemon=True)
    thread.start()
    return thread


def _prepare() -> None:
    # Imported here: the libraries of the charts, and those of the first page, take longest of all.
    from explorer.figures.views import overview
    from explorer.queries import comparison
    from explorer.ui.overview import page  # noqa: F401
    from explorer.ui.shared import cached, picker, shell, store  # noqa: F401

    try:
        runs = cached.list_runs()
        for question in overview.open_view(store.STORE, runs, {}).questions:
            store.answer(question)
        readable = tuple(run for run in runs if run.is_readable)
        if readable:
            store.ask(comparison.summary, readable)
    except Exception as error:  # the page itself says what is wrong, with its remedy
        logging.getLogger(__name__).debug("nothing was prepared: %s", error)

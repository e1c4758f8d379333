"""What one server owns: the index, the thread that feeds it, and the training runs and imports it started."""

import threading
from dataclasses import dataclass

from explorer.config.server import Settings
from explorer.store import Index, IngestThread
from explorer.ui.server.imports import ImportManager
from explorer.ui.server.jobs import JobManager

INGEST_INTERVAL_S = 2.0
"""Checking every run folder takes time; a page that shows a training run wakes the thread more often."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """Made once, shared by all sessions; scripts only ever ask it."""

    settings: Settings
    index: Index
    ingest: IngestThread
    jobs: JobManager
    imports: ImportManager

    @classmethod
    def start(cls, settings: Settings) -> "Services":
        """Open the index, take in every run once, then go on in a thread."""
        index = Index.open(settings.index)
        ingest = IngestThread(index, settings.runs_dirs, INGEST_INTERVAL_S)
        ingest.start()
        jobs = JobManager(settings.own_runs, limits=settings.limits, read_only=settings.read_only)
        imports = ImportManager(settings.own_runs, read_only=settings.read_only)
        return cls(settings=settings, index=index, ingest=ingest, jobs=jobs, imports=imports)

    def stop(self) -> None:
        """Stop the imports, the training runs, the thread and the index, in this order."""
        self.imports.close()
        self.jobs.close()
        self.ingest.stop()
        self.index.close()


_started: dict[Settings, Services] = {}
_lock = threading.Lock()


def services() -> Services:
    """The services for the current settings, started on first use.

    They live in this module and not in Streamlit's cache: "Clear cache" must not end a training run.
    """
    settings = Settings.from_environment()
    with _lock:
        if settings not in _started:
            _started[settings] = Services.start(settings)
        return _started[settings]


def shut_down(settings: Settings | None = None) -> None:
    """Stop what `services` has started for these settings, or for all."""
    with _lock:
        for key in list(_started) if settings is None else [settings]:
            if key in _started:
                _started.pop(key).stop()

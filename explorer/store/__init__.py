"""The DuckDB index behind every view; it can be rebuilt from run folders at any time."""

from explorer.store.index import Index
from explorer.store.ingest import IngestReport
from explorer.store.thread import IngestThread

__all__ = ["Index", "IngestReport", "IngestThread"]

"""The index in DuckDB that every view asks; it is rebuilt from run folders whenever need be."""

from explorer.store.index import Index
from explorer.store.ingest import IngestReport
from explorer.store.thread import IngestThread

__all__ = ["Index", "IngestReport", "IngestThread"]

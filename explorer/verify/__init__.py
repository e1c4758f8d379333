"""Verify recorded runs: every check recomputes something from the raw rows.

`verify_runs` is the entry point; `docs/verify.md` describes each check. Needs numpy and polars; comparing
with the index also needs DuckDB, and is skipped with a message without it.
"""

from explorer.verify.findings import Check, Difference
from explorer.verify.run import RunReport, verify_runs

__all__ = ["Check", "Difference", "RunReport", "verify_runs"]

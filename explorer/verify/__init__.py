"""Does a recorded run hold what it says? Every check recomputes something from the raw rows.

`verify_runs` is the entry; `docs/verify.md` says what each check compares. Needs numpy and polars; comparing
with the index needs DuckDB too, and is passed over with a sentence where there is none.
"""

from explorer.verify.findings import Check, Difference
from explorer.verify.run import RunReport, verify_runs

__all__ = ["Check", "Difference", "RunReport", "verify_runs"]

"""What is wrong with the router of a recorded run? Findings from its rows alone, without the index.

`diagnose` is the entry; `docs/health.md` says what each finding means, its threshold, and why. Needs numpy
and polars.
"""

from explorer.health.diagnose import diagnose
from explorer.health.finding import TITLES, Finding
from explorer.health.rows import RunRows, read_folder

__all__ = ["TITLES", "Finding", "RunRows", "diagnose", "read_folder"]

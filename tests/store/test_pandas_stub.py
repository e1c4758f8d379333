"""duckdb does not load pandas, and a later import of pandas gets the real module."""

import subprocess
import sys

CODE = """
import sys, threading
from explorer.store import Index
assert "pandas" not in sys.modules
with Index.open(sys.argv[1]) as index, index.cursor() as cur:
    for value in (1, 0.5, "a", None, [1, 2], ["a"], True):
        assert cur.execute("SELECT $value", {"value": value}).fetchone() == (value,)
    assert "pandas" not in sys.modules, "loaded for a parameter"
    import pandas as pd
    assert pd.DataFrame({"a": [1]}).shape == (1, 1) and pd.isna(pd.NaT)
    assert cur.execute("SELECT $value", {"value": 1}).fetchone() == (1,)
"""


def test_a_parameter_does_not_load_pandas(tmp_path: object) -> None:
    command = [sys.executable, "-c", CODE, f"{tmp_path}/index.duckdb"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

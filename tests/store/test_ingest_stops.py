"""Ctrl-C in the middle of a reading is one sentence, and what was read stays."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sentences import sentence
from store_runs import write_run

from explorer.store import Index

ROOT = Path(__file__).resolve().parents[2]
AT_THE_SECOND_RUN = """
import sys
from explorer.cli import main
from explorer.store import ingest

real = ingest.roll_up

def endless(cur, run_id, key):
    real(cur, run_id, key)
    if run_id == "b":
        print("reading", flush=True)
        cur.execute("SELECT count(*) FROM range(1_000_000_000_000) numbers(n) WHERE n % 7 = 3").fetchall()

ingest.roll_up = endless
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_ends_the_command_with_one_sentence(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_run(tmp_path / "runs", name, steps=6)
    arguments = ["ingest", "--runs", str(tmp_path / "runs"), "--index", str(tmp_path / "i.duckdb")]
    process = subprocess.Popen(
        [sys.executable, "-c", AT_THE_SECOND_RUN, *arguments],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "reading\n"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert errors.strip() == sentence("cli.interrupted")
    with Index.open(tmp_path / "i.duckdb") as index, index.cursor() as cur:
        assert cur.execute("SELECT run_id, problem FROM runs").fetchall() == [("a", None)]

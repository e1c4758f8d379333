"""What training the shipped runs again is said to take, against the wall times that they recorded."""

import json
from pathlib import Path

import pytest
from sentences import sentence

ROOT = Path(__file__).parents[2]
AT_A_TIME = 2


def test_the_shipped_runs_take_about_the_hour_that_is_promised() -> None:
    statuses = [
        json.loads(path.read_text()) for path in sorted((ROOT / "data" / "runs").glob("*/status.json"))
    ]
    minutes = sum(status["wall_time_s"] for status in statuses) / 60
    assert minutes / AT_A_TIME == pytest.approx(60, abs=10)
    for name in ("Makefile", "data/README.md", "data/make_runs.sh"):
        assert sentence("verify.about_an_hour") in (ROOT / name).read_text(encoding="utf-8"), name
    assert sentence("verify.minutes", minutes=f"{minutes:.0f}") in (ROOT / "data" / "README.md").read_text(
        encoding="utf-8"
    )

"""Findings in the terminal while a run trains."""

from pathlib import Path

import numpy as np
import pytest

from explorer.health import live
from explorer.health.live import LiveHealth
from explorer.recording import Recorder, RunInfo
from explorer.recording.notices import Notices
from explorer.recording.terminal import Reporter, live_health
from explorer.records.records import LoadRecord, StepRecord

INFO = RunInfo(
    run_id="run", name="run", num_moe_layers=2, num_experts=8, top_k=2, tokens_per_step=64, num_steps=0
)
EVEN = np.full((2, 8), 16)
COLLAPSED = np.array([[64, 64, 0, 0, 0, 0, 0, 0], [16] * 8])


def fed(health: LiveHealth, steps: range, tokens_LE: np.ndarray = COLLAPSED) -> list[str]:
    for step in steps:
        health.add(LoadRecord(step=step, tokens_LE=tokens_LE))
    return health.lines()


def test_a_finding_is_said_once_when_two_checks_have_it() -> None:
    health = LiveHealth(INFO)
    assert fed(health, range(live.WARM_UP_STEPS)) == []
    warnings = fed(health, range(300, 310))
    assert [line.split(":")[1].split(" (")[0] for line in warnings] == [
        " collapse",
        " dead_experts",
        " no_balancing",
    ]
    assert warnings[0].startswith("health: collapse: Layer 0 has collapsed since step ")
    assert " Try: " in warnings[0]
    assert fed(health, range(310, 320)) == []


def test_nothing_is_said_during_the_first_steps_or_of_a_passing_state() -> None:
    health = LiveHealth(INFO)
    assert fed(health, range(100)) == []
    assert fed(health, range(100, 200)) == []
    assert fed(health, range(200, 320)) == []
    assert fed(health, range(320, 640), EVEN) == []
    assert fed(health, range(640, 660), EVEN) == []


def test_memory_is_bounded() -> None:
    health = LiveHealth(INFO)
    fed(health, range(1000), EVEN)
    assert len(health._loads) == live.MOST_STEPS
    wide = RunInfo(
        run_id="w", name="w", num_moe_layers=61, num_experts=256, top_k=8, tokens_per_step=0, num_steps=0
    )
    assert LiveHealth(wide)._loads.maxlen == live.MOST_CELLS // (61 * 256)


def test_the_reporter_says_it_after_its_line_and_survives_a_failing_check(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Health:
        def __init__(self) -> None:
            self.answers = [["health: a"], [], None]

        def add(self, loads: LoadRecord, step: StepRecord | None = None) -> None: ...

        def lines(self) -> list[str]:
            answer = self.answers.pop(0)
            if answer is None:
                raise ValueError("broken")
            return answer

    reporter = Reporter(INFO.layout, Notices(), 0.0, health=Health())
    for step in range(4):
        reporter.add(step, LoadRecord(step=step, tokens_LE=EVEN))
    warnings = [line for line in capsys.readouterr().err.splitlines() if "health" in line]
    assert warnings == [
        "[explorer] step 0: health: a",
        "[explorer] step 2: health is not checked any more (ValueError: broken)",
    ]


def test_a_recorder_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Recorder(tmp_path, num_layers=2, num_experts=8, top_k=2, report_every_s=0.0) as rec:
        for step in range(live.WARM_UP_STEPS + 2):
            rec.log(step, tokens_per_expert=COLLAPSED)
            while not rec._queue.empty():
                pass
    warnings = [line for line in capsys.readouterr().err.splitlines() if "health: " in line]
    assert len(warnings) == 3
    assert "health: collapse: Layer 0" in warnings[0]


def test_the_checks_are_found_by_their_name() -> None:
    assert isinstance(live_health(INFO), LiveHealth)

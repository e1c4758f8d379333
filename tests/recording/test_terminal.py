"""The line about the routers that a training run prints on standard error."""

from pathlib import Path

import numpy as np
import pytest

from explorer.metrics import max_vio
from explorer.metrics.windows import DEAD_STEPS
from explorer.recording import Recorder
from explorer.recording.layout import Layout
from explorer.recording.notices import Notices
from explorer.recording.terminal import Reporter
from explorer.records.records import LoadRecord

LAYOUT = Layout(layers=(3, 5), widths=(4, 4), num_experts=4, top_k=2)
TOKENS = np.array([[8, 4, 4, 0], [5, 3, 4, 4]])


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def reporter(clock: Clock, interval_s: float | None = 10.0) -> Reporter:
    return Reporter(LAYOUT, Notices(), interval_s, clock)


def test_one_line_per_interval_about_the_counts_of_the_interval(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = reporter(clock)
    bias = np.array([[-0.5, 0, 0, 0.25], [0, 0, 0, 0.125]], dtype=np.float32)
    for step, now in enumerate([1, 5, 10, 12, 21]):
        clock.now = now
        swapped = TOKENS if step % 2 else TOKENS[:, ::-1]
        lines.add(step, LoadRecord(step=step, tokens_LE=swapped, expert_bias_LE=bias))
    first, second = capsys.readouterr().err.splitlines()
    summed = TOKENS + 2 * TOKENS[:, ::-1]
    mean, worst = max_vio(summed).mean(), max_vio(summed).max()
    assert first == (
        f"[explorer] step 2: MaxVio {mean:.2f}, worst {worst:.2f} in layer 3 (last 3 steps); dead experts 0; "
        "bias -0.5000 to +0.2500, widest spread 0.7500"
    )
    assert second.startswith("[explorer] step 4: MaxVio")
    assert "(last 2 steps)" in second


def test_a_death_is_said_when_it_happens(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = reporter(clock)
    for step in range(DEAD_STEPS + 3):
        lines.add(step, LoadRecord(step=step, tokens_LE=TOKENS))
    output = capsys.readouterr().err.splitlines()
    assert output == [
        f"[explorer] step {DEAD_STEPS - 1}: dead: layer 3 expert 3, without a token in {DEAD_STEPS} steps"
    ]
    clock.now = 10
    lines.add(DEAD_STEPS + 3, LoadRecord(step=DEAD_STEPS + 3, tokens_LE=TOKENS))
    assert "dead experts 1" in capsys.readouterr().err


def test_layers_of_different_width(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = Reporter(Layout((0, 1), (2, 3), 3, 1), Notices(), 10.0, clock)
    clock.now = 10
    lines.add(0, LoadRecord(step=0, tokens_LE=np.array([2, 2, 6, 0, 0])))
    assert "MaxVio 1.00, worst 2.00 in layer 1" in capsys.readouterr().err


def test_no_token_at_all_is_no_warning(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines = reporter(clock)
    clock.now = 10
    lines.add(0, LoadRecord(step=0, tokens_LE=np.zeros((2, 4), dtype=int)))
    assert capsys.readouterr().err == "[explorer] step 0: dead experts 0\n"


def test_the_recorder_reports_and_can_be_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for interval, lines in ((0.0, 3), (None, 0)):
        with Recorder(tmp_path, num_layers=2, num_experts=4, top_k=2, report_every_s=interval) as rec:
            for step in range(3):
                rec.log(step, tokens_per_expert=TOKENS)
        assert len(capsys.readouterr().err.splitlines()) == lines


def test_a_loss_that_is_not_finite_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Recorder(tmp_path, num_layers=2, num_experts=4, top_k=2) as rec:
        for step, loss in enumerate([1.0, float("nan"), float("inf")]):
            rec.log(step, lm_loss=loss)
    assert capsys.readouterr().err == "[explorer] step 1: lm_loss is nan\n"

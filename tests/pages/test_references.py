"""The lines of chance on the Compare page: from which run they come, and when there is none."""

import polars as pl
import pytest

from explorer.ui import compare
from explorer.ui.arms import Arm, run_from_row

ROW = {
    "name": "", "path": "", "state": "finished", "dir_kind": "own", "preset": "tiny", "seed": 0,
    "balancer": "none", "balancer_label": "", "balancer_family": "none", "count_scope": "none",
    "pair_key": "k", "config": "{}", "num_moe_layers": 2, "num_experts": 8, "top_k": 2,
    "tokens_per_step": 64, "num_steps": 40, "last_step": 39, "generation": 1, "created_at": "",
    "problem": None, "message": None,
}  # fmt: skip


def arm(run_id: str, **changes: object) -> Arm:
    return Arm(token=run_id, label=run_id, runs=(run_from_row({**ROW, "run_id": run_id, **changes}),))


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[float, float]]:
    """run_id -> (MaxVio of its last steps, effective experts); its lines are at 1 and at its MaxVio."""
    figures: dict[str, tuple[float, float]] = {}

    def layer_balance(runs: tuple[tuple[str, int, int, str], ...]) -> pl.DataFrame:
        violation, effective = figures[runs[0][0]]
        return pl.DataFrame({"max_vio_batch": [violation] * 2, "effective_experts": [7.0, effective]})

    def references(run: tuple[str, int, int, str]) -> dict[str, float | None]:
        at = figures[run[0]][0]
        return {"uniform_mean": 1.0, "uniform_p95": 1.1, "resampled_mean": at, "resampled_p95": at}

    monkeypatch.setattr(compare.cached, "layer_balance", layer_balance)
    monkeypatch.setattr(compare.cached, "references", references)
    return figures


def test_the_best_balanced_run_gives_the_lines(known: dict[str, tuple[float, float]]) -> None:
    known |= {"loss_free": (6.0, 2.0), "aux": (0.4, 7.5), "none": (3.0, 3.0)}
    arms = [arm("loss_free", balancer_family="loss_free"), arm("aux"), arm("none")]
    lines, missing = compare._references(arms)
    assert lines["resampled"] == (0.4, 0.4)
    assert "uniform" in lines
    assert missing == ""


def test_among_collapsed_runs_there_is_no_line_of_sequences(known: dict[str, tuple[float, float]]) -> None:
    known |= {"a": (6.0, 2.0), "b": (5.0, 4.0)}
    lines, missing = compare._references([arm("a"), arm("b")])
    assert list(lines) == ["uniform"]
    assert "collapsed" in missing


def test_runs_of_different_sizes_share_no_line(known: dict[str, tuple[float, float]]) -> None:
    known |= {"a": (0.3, 7.0), "b": (0.4, 7.0)}
    lines, missing = compare._references([arm("a"), arm("b", top_k=1)])
    assert lines == {}
    assert "different sizes" in missing


def test_a_run_without_known_balance_gives_no_line_before_one_with(
    known: dict[str, tuple[float, float]],
) -> None:
    known |= {"new": (float("nan"), 7.0), "old": (0.9, 7.0)}
    lines, _ = compare._references([arm("new"), arm("old")])
    assert lines["resampled"] == (0.9, 0.9)

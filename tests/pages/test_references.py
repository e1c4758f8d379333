"""Random-routing baselines of a comparison: from which runs they come, and when there is none."""

import polars as pl
import pytest

from explorer.figures.arms import Arm, run_from_row
from explorer.ui.shared import chance
from explorer.ui.shared.chance import baselines

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
        rows = [figures[run[0]] for run in runs]
        return pl.DataFrame(
            {
                "max_vio_batch": [v for v, _ in rows for _ in range(2)],
                "effective_experts": [value for _, effective in rows for value in (7.0, effective)],
            }
        )

    def references(run: tuple[str, int, int, str]) -> dict[str, float | None]:
        at = figures[run[0]][0]
        tokens = 128.0 if run[0] == "larger" else 64.0
        lines = {"uniform_mean": 1.0, "uniform_p95": 1.1, "resampled_mean": at, "resampled_p95": at}
        return {**lines, "held_out_mean": 0.1, "held_out_p95": 0.2, "tokens": tokens}

    def uniform_series(run: tuple[str, int, int, str], x: str, max_bins: int) -> pl.DataFrame:
        tokens = [8, 64] if run[0].startswith("growing") else [64, 64]
        return pl.DataFrame(
            {"bin": [0, 1], "first_step": [0, 20], "last_step": [19, 39], "x": [19.0, 39.0], "tokens": tokens,
             "uniform_mean": [1.0 / n for n in tokens], "uniform_p95": [2.0 / n for n in tokens]}
        )  # fmt: skip

    monkeypatch.setattr(chance.cached, "layer_balance", layer_balance)
    monkeypatch.setattr(chance.cached, "references", references)
    monkeypatch.setattr(chance.cached, "uniform_series", uniform_series)
    return figures


def test_the_best_balanced_run_gives_the_lines(known: dict[str, tuple[float, float]]) -> None:
    known |= {"loss_free": (6.0, 2.0), "aux": (0.4, 7.5), "none": (3.0, 3.0)}
    arms = [arm("loss_free", balancer_family="loss_free"), arm("aux"), arm("none")]
    found = baselines(arms)
    assert found.known["resampled"] == (0.4, 0.4)
    assert "uniform" in found.known
    assert found.missing == ""


def test_among_collapsed_runs_there_is_no_line_of_sequences(known: dict[str, tuple[float, float]]) -> None:
    known |= {"a": (6.0, 2.0), "b": (5.0, 4.0)}
    found = baselines([arm("a"), arm("b")])
    assert list(found.known) == ["uniform"]
    assert "collapsed" in found.missing


def test_runs_of_different_sizes_share_no_line(known: dict[str, tuple[float, float]]) -> None:
    known |= {"a": (0.3, 7.0), "b": (0.4, 7.0)}
    found = baselines([arm("a"), arm("b", top_k=1)])
    assert found.known == {}
    assert "different sizes" in found.missing


def test_a_run_without_known_balance_gives_no_line_before_one_with(
    known: dict[str, tuple[float, float]],
) -> None:
    known |= {"new": (float("nan"), 7.0), "old": (0.9, 7.0)}
    found = baselines([arm("new"), arm("old")])
    assert found.known["resampled"] == (0.9, 0.9)


def test_a_mean_over_seeds_is_held_against_the_mean_of_the_seeds_own_lines(
    known: dict[str, tuple[float, float]],
) -> None:
    known |= {"s0": (0.4, 7.0), "s1": (0.8, 7.0)}
    runs = tuple(run_from_row({**ROW, "run_id": f"s{seed}", "seed": seed}) for seed in (0, 1))
    found = baselines([Arm(token="both", label="both", runs=runs)])
    assert found.known["resampled"] == pytest.approx((0.6, 0.6))
    assert found.held_out == pytest.approx((0.1, 0.2))


def test_steps_of_another_number_of_counted_tokens_share_no_line(
    known: dict[str, tuple[float, float]],
) -> None:
    known |= {"a": (0.3, 7.0), "larger": (0.4, 7.0)}
    assert "different sizes" in baselines([arm("a"), arm("larger")]).missing


def test_a_batch_that_grows_has_a_line_that_falls(known: dict[str, tuple[float, float]]) -> None:
    known |= {"level": (0.3, 7.0), "growing": (0.2, 7.0)}
    assert baselines([arm("level")]).curve is None
    curve = baselines([arm("level"), arm("growing")]).curve
    assert curve is not None
    assert curve["uniform_mean"].to_list() == [1 / 8, 1 / 64]

"""Kept figures are the figures: same specification, same rows, the playhead where it is asked for."""

from functools import partial
from typing import Any

import chart_frames
import polars as pl
import pytest

from explorer.charts import biases, loads
from explorer.charts import spec as specs
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Arm, run_from_row
from explorer.figures.panel import Missing, Question
from explorer.figures.store import Store
from explorer.ui.shared import store
from explorer.ui.shared.last_value import LastValueCache

BIASES = chart_frames.bias_frame({0: 0.1, 1: -0.1})


def loads_frame(*tokens: int) -> pl.DataFrame:
    """Columns of `queries.loads_at`."""
    total = sum(tokens)
    return pl.DataFrame(
        {
            "expert": list(range(len(tokens))),
            "tokens": list(tokens),
            "load_ratio": [t * len(tokens) / total for t in tokens],
            "expert_bias": [0.0] * len(tokens),
            "mean_score": [0.5] * len(tokens),
            "mean_normalised_score": [0.25] * len(tokens),
            "step": [7] * len(tokens),
        }
    )


def rows_of(spec: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {name: frame.to_dicts() for name, frame in spec["datasets"].items()}


def test_bars_of_another_step_equal_the_figure_of_that_step() -> None:
    one, other = loads_frame(1, 2, 3, 0), loads_frame(4, 1, 1, 9)
    swapped = specs.make(loads.load_bars(one)).with_rows(loads.bar_rows(other))
    fresh = specs.make(loads.load_bars(other))
    bars = [part for part in swapped.datasets.values() if "load_ratio" in part.columns and part.height > 1]
    wanted = [part for part in fresh.datasets.values() if "load_ratio" in part.columns and part.height > 1]
    assert len(bars) == len(wanted) == 1
    for column in ("expert", "load_ratio", "value", "tokens"):
        assert bars[0][column].to_list() == pytest.approx(wanted[0][column].to_list())


def test_the_playhead_stands_where_it_is_asked_for_or_nowhere() -> None:
    spec = specs.make(biases.bias_trajectories(BIASES, playhead=specs.SOMEWHERE))
    assert spec.playhead is not None
    assert rows_of(spec.at(7))[spec.playhead] == [{"playhead": 7.0, "name": "step 7"}]
    assert rows_of(spec.at(None))[spec.playhead] == []


def test_moving_the_playhead_changes_its_row_and_nothing_else() -> None:
    spec = specs.make(biases.bias_trajectories(BIASES, playhead=specs.SOMEWHERE))
    before, after = spec.at(1), spec.at(2)
    assert {k: v for k, v in before.items() if k != "datasets"} == {
        k: v for k, v in after.items() if k != "datasets"
    }
    old, new = rows_of(before), rows_of(after)
    assert [name for name in old if old[name] != new[name]] == [spec.playhead]


def test_the_row_of_the_playhead_is_the_one_that_the_figure_would_draw() -> None:
    drawn = specs.make(biases.bias_trajectories(BIASES, playhead=7))
    assert drawn.playhead is not None
    assert drawn.datasets[drawn.playhead].to_dicts() == rows_of(drawn.at(7))[drawn.playhead]


def test_the_value_of_something_that_grows_is_built_again_when_there_is_more_and_kept_otherwise() -> None:
    built = []

    def build(version: int) -> str:
        built.append(version)
        return f"version {version}"

    latest: LastValueCache[str] = LastValueCache(most=2)
    for version in (1, 1, 2, 2, 2):
        assert latest.get("name", version, partial(build, version)) == f"version {version}"
    assert built == [1, 2]
    for other in ("second", "third"):
        latest.get(other, 1, partial(build, 3))
    latest.get("name", 2, partial(build, 4))
    assert built == [1, 2, 3, 3, 4], "the oldest of three was dropped"


def test_zooms_are_named_and_empty_figures_have_none() -> None:
    assert specs.make(biases.bias_trajectories(BIASES)).zooms == ("zoom_x",)
    assert specs.make(biases.bias_trajectories(BIASES.clear())).zooms == ()


def test_a_figure_without_a_legend_keeps_the_legend_of_the_kept_one() -> None:
    from explorer.charts import heatmaps

    frame = pl.DataFrame(
        {
            "bin": [0, 0], "first_step": [0, 0],
            "last_step": [0, 0], "expert": [0, 1],
            "load_ratio": [2.0, 0.0], "min_ratio": [2.0, 0.0], "max_ratio": [2.0, 0.0],
            "tokens": [2, 0], "is_dead": [False, True],
        }
    )  # fmt: skip
    spec = specs.make(heatmaps.load_heatmap(frame))
    plain = specs.without_legend(spec)
    coloured = [layer for layer in plain.vega["layer"] if isinstance(layer["encoding"].get("color"), dict)]
    assert coloured
    assert all(layer["encoding"]["color"]["legend"] is None for layer in coloured)
    assert any(layer["encoding"].get("color", {}).get("legend") for layer in spec.vega["layer"])


def trains(last_step: int, state: str = "running") -> ArmSet:
    """An arm of one run that has come to this step."""
    known = ("dir_kind", "preset", "balancer", "balancer_label", "balancer_family", "count_scope", "pair_key")
    row = dict.fromkeys((*known, "config", "created_at", "problem", "message", "name", "path", "seed"))
    run = run_from_row({**row, "run_id": "grows", "state": state, "last_step": last_step})
    return ArmSet.of([Arm(token="grows", label="l", runs=(run,))])


def test_a_panel_of_a_run_that_trains_is_kept_for_its_newest_step_only() -> None:
    built = []

    def build(_store: Store, arms: ArmSet, _settings: None) -> Missing:
        built.append(next(iter(arms)).first.last_step)
        return Missing(subject="x", reason=f"step {built[-1]}")

    def ask(arms: ArmSet) -> object:
        return store.answer(Question(key="grows", build=build, arms=arms))

    for step in (1, 1, 2, 2, 1):
        assert ask(trains(step)) == Missing(subject="x", reason=f"step {step}")
    assert built == [1, 2, 1], "the newer step took the place of the older one"
    for _ in range(2):
        ask(trains(2, "finished"))
        ask(trains(1, "finished"))
    assert built == [1, 2, 1, 2, 1], "a finished run grows no more: every version is kept"

"""The order of runs and the default run that Replay and the Microscope share."""

from types import SimpleNamespace
from typing import Any

from arm_runs import run

from explorer.figures.arms import arms_of
from explorer.figures.views.selection import default_run, picked_first, picker_names, run_names


def test_runs_of_selected_arms_come_first_and_no_run_twice() -> None:
    runs: Any = ["a", "b", "c", "d"]
    arms: Any = [SimpleNamespace(runs=("c", "x")), SimpleNamespace(runs=("a", "c"))]
    assert picked_first(runs, arms) == ["c", "a", "b", "d"], "x is not among the runs"
    assert picked_first(runs, []) == runs


def test_the_default_is_the_first_loss_free_run() -> None:
    runs: Any = [SimpleNamespace(family=name) for name in ("none", "loss_free", "loss_free")]
    assert default_run(runs) is runs[1]
    assert default_run(runs[:1]) is runs[0]


def test_a_list_of_runs_names_their_rules_and_tells_seeds_apart() -> None:
    runs = [run("one", "loss_free", 0), run("two", "loss_free", 1), run("three")]
    assert run_names(runs) == {
        "one": "standard loss-free 0.003, seed 0",
        "two": "standard loss-free 0.003, seed 1",
        "three": "standard no balancing",
    }


def test_the_picker_names_presets_only_if_there_are_several() -> None:
    runs = [run("one", "loss_free", 0), run("two", "loss_free", 1), run("three")]
    short = picker_names(arms_of(runs))
    assert sorted(short.values()) == [
        "loss-free 0.003",
        "loss-free 0.003, seed 0 · one",
        "loss-free 0.003, seed 1 · two",
        "no balancing · three",
    ]
    long = picker_names(arms_of([*runs, run("four", preset="quick")]))
    assert {long["four"], long["three"]} == {"quick no balancing · four", "standard no balancing · three"}

"""The comparison of two checkouts: last digits are the same number, anything else is listed."""

from pathlib import Path

import polars as pl

from benchmarks.compare_panels import ADDRESSES, column_difference, differences


def write(folder: Path, panel: str, **columns: list[object]) -> None:
    file = folder / f"{panel}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(columns).write_csv(file)


def test_equal_panels_are_not_listed_and_changed_ones_say_where(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    write(one, "a/same", step=[0, 1], value=[0.1, None])
    write(other, "a/same", step=[0, 1], value=[0.1 + 1e-16, None])
    write(one, "a/changed", step=[0, 1], value=[0.1, 0.2], old=[1, 1])
    write(other, "a/changed", step=[0, 1], value=[0.1, 0.3])
    write(one, "a/shorter", step=[0, 1])
    write(other, "a/shorter", step=[0])
    write(one, "b/gone", step=[0])
    write(other, "b/new", step=[0])
    assert {difference.panel: difference.parts for difference in differences(one, other)} == {
        "a/changed": ["gone columns old", "value in 1 of 2 rows (first: 0.2 became 0.3)"],
        "a/shorter": ["2 rows became 1"],
        "b/gone": ["is gone"],
        "b/new": ["is new"],
    }


def test_a_value_that_appears_or_goes_is_a_difference() -> None:
    assert column_difference(pl.Series("x", [1.0, None]), pl.Series("x", [1.0, 2.0]))
    assert column_difference(pl.Series("x", [1.0, 2.0]), pl.Series("x", [1.0, None]))
    assert column_difference(pl.Series("x", ["a", None]), pl.Series("x", ["a", "b"]))
    assert not column_difference(pl.Series("x", [None, "b"]), pl.Series("x", [None, "b"]))
    assert not column_difference(pl.Series("x", [0, 1]), pl.Series("x", [0.0, 1.0]))


def test_every_view_has_an_address() -> None:
    from explorer.figures.views import NAMES

    views = {arguments[list(arguments).index("--view") + 1] for arguments in ADDRESSES.values()}
    assert views == set(NAMES)

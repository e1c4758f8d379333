"""Points for the pointer come with the pointer, and only in what a page shows."""

from explorer.charts import pointed

CHART = {
    "layer": [
        {"name": "lines", "mark": "line"},
        {"layer": [{"name": "points", "mark": "point", "transform": [{"filter": "datum.x > 1"}]}]},
    ]
}


def test_only_the_points_wait_and_their_own_transforms_stay() -> None:
    lines, inner = pointed.waiting(CHART)["layer"]
    assert lines == CHART["layer"][0]
    assert inner["layer"][0]["transform"] == [{"filter": "isTuple(unit)"}, {"filter": "datum.x > 1"}]


def test_the_specification_of_files_is_left_alone() -> None:
    pointed.waiting(CHART)
    assert "isTuple" not in str(CHART)

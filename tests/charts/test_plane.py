"""The plane of imbalance and perplexity: what it groups, names and leaves out."""

import chart_frames as frames
import pytest
from chart_samples import rows_of

from explorer.charts import plane, plane_rows


@pytest.mark.parametrize(
    ("balancer", "wanted"),
    [
        ("aux_loss:scope=sequence,coeff=0.1", ("α", 0.1)),
        ("aux_loss", ("α", 0.01)),
        ("loss_free:u=0.001+z_loss", ("u", 0.001)),
        ("none", None),
        ("loss_free+seq_aux", None),
        ("none/400/loss_free", None),
        ("megatron: unknown", None),
    ],
)
def test_the_coefficient_of_a_sweep(balancer: str, wanted: tuple[str, float] | None) -> None:
    assert plane_rows.coefficient(balancer) == wanted


def test_the_plane_groups_seeds_and_orders_a_sweep() -> None:
    rows = rows_of(plane.dilemma_plane(frames.summary_frame(frames.SWEEP)))
    mean = next(row for row in rows if row.get("seeds") == 3 and "y_half" in row)
    assert mean["y"] == pytest.approx(12.1)
    assert mean["y_half"] == pytest.approx(4.302653 * 0.1 / 3**0.5)
    single = [row for row in rows if row.get("run_id") and row["seeds"] == 1]
    assert len(single) == 3
    datasets = plane.dilemma_plane(frames.summary_frame(frames.SWEEP)).to_dict()["datasets"].values()
    sweeps = [
        data for data in datasets if len(data) == 3 and "coefficient" in data[0] and "y_half" in data[0]
    ]
    assert [row["coefficient"] for row in sweeps[0]] == [0.001, 0.01, 0.1]
    assert {row["coefficient_text"] for row in sweeps[0]} == {"α = 0.001", "α = 0.01", "α = 0.1"}


def test_a_crowded_plane_names_every_coefficient_on_a_phone() -> None:
    """The places of a wide page would meet there; the numbers are about those of the shipped runs."""
    points = {
        "aux_loss:coeff": [
            (0.001, 23.0, 1.4),
            (0.01, 22.8, 0.41),
            (0.1, 23.2, 0.14),
            (1, 27.0, 0.13),
            (10, 56.0, 0.23),
        ],
        "aux_loss:scope=sequence,coeff": [
            (0.001, 23.4, 1.6),
            (0.01, 23.5, 0.4),
            (0.1, 25.0, 0.16),
            (1, 31.0, 0.22),
            (10, 187.0, 1.25),
        ],
        "loss_free:bias_update_rate": [(0.0003, 23.2, 0.8), (0.003, 22.4, 0.12), (0.03, 23.0, 0.35)],
    }
    runs = [
        (f"{rule}={strength}", "sequence" if "sequence" in rule else "global_batch", 0, perplexity, max_vio)
        for rule, sweep in points.items()
        for strength, perplexity, max_vio in sweep
    ]
    frame = frames.summary_frame([*runs, ("none", "none", 0, 23.3, 3.5)])
    rows = {str(row): row for row in rows_of(plane.dilemma_plane(frame)) if "on_phone" in row}
    assert len(rows) == 13
    assert all(row["on_phone"] for row in rows.values())
    # Where points lie together, a word stands further away and a line joins them.
    assert any(row["leader_x_phone"] is not None for row in rows.values())
    assert any(row["leader_x_phone"] is None for row in rows.values())


def test_a_plane_with_room_draws_no_lines_to_its_words() -> None:
    frame = frames.summary_frame(
        [
            ("loss_free:u=0.001", "global_batch", 0, 12.0, 0.1),
            ("loss_free:u=0.01", "global_batch", 0, 20.0, 1.0),
        ]
    )
    assert all(
        row["leader_x"] is row["leader_x_phone"] is None
        for row in rows_of(plane.dilemma_plane(frame))
        if "leader_x" in row
    )
    crowded = frames.summary_frame(
        [
            (f"loss_free:u={u}", "global_batch", 0, 12.0 + u, 0.1 + u)
            for u in (0.001, 0.002, 0.003, 0.004, 0.005)
        ]
        + [("none", "none", 0, 50.0, 5.0)]
    )
    lines = [
        sum(
            "leader" in str(layer) and layer["mark"]["type"] == "rule"
            for layer in plane.dilemma_plane(one).to_dict()["layer"]
        )
        for one in (frame, crowded)
    ]
    assert lines == [0, 1]


def test_the_plane_leaves_out_runs_without_an_evaluation() -> None:
    frame = frames.summary_frame(
        [("none", "none", 0, None, 1.0), ("loss_free", "global_batch", 0, 12.0, None)]
    )
    assert "no finished runs" in rows_of(plane.dilemma_plane(frame))[0]["message"]


def test_the_plane_draws_zero_imbalance_on_a_linear_axis_only() -> None:
    frame = frames.summary_frame([("loss_free", "global_batch", 0, 12.0, 0.0)])
    assert "message" in rows_of(plane.dilemma_plane(frame))[0]
    assert any(row.get("x") == 0.0 for row in rows_of(plane.dilemma_plane(frame, log_x=False)))


def test_on_a_log_axis_zero_imbalance_stands_at_the_left_edge_and_says_so() -> None:
    frame = frames.summary_frame(
        [("loss_free", "global_batch", 0, 12.0, 0.05), ("aux_loss", "sequence", 0, 11.0, 0.0)]
    )
    chart = plane.dilemma_plane(frame)
    rows = [row for row in rows_of(chart) if row.get("max_vio") == 0.0]
    assert rows
    assert all(0 < row["x"] < 0.05 for row in rows)
    assert "MaxVio 0" in str(chart.to_dict())
    without = plane.dilemma_plane(frame.filter(frame["max_vio_global"] > 0))
    assert "MaxVio 0" not in str(without.to_dict())

"""Figures of two routings, of a replay and of the leak: valid, and drawn as files."""

from collections.abc import Callable

import polars as pl
import pytest
import vl_convert
from chart_samples import for_file

from explorer.charts import agreement, counterfactual, expert_leak, theme

LAYERS = pl.DataFrame(
    {
        "layer": [0, 3],
        "tokens": [100, 100],
        "slots": [200, 200],
        "shared": [50, 199],
        "differing": [90, 1],
        "overlap": [0.25, 0.995],
        "by_loads": [0.2, 0.1],
        "matched": [0.4, 1.0],
        "differing_share": [0.9, 0.01],
    }
)
PROBES = pl.concat([LAYERS.with_columns(step=pl.lit(step)) for step in (8, 80)])
SWAPS = pl.DataFrame({"expert": [0, 0, 1, 1], "other": [0, 1, 0, 1], "tokens": [0, 2, 1, 0]})
LOADS = pl.DataFrame(
    {
        "expert": [0, 1] * 2,
        "routing": ["a", "a", "b", "b"],
        "tokens": [1, 3, 2, 2],
        "load_ratio": [0.5, 1.5, 1, 1],
    }
)
BIASES = pl.DataFrame(
    {
        "update": [0, 1] * 3,
        "expert": [0, 0, 1, 1, 0, 0],
        "bias": [0.0, 0.1, 0.0, -0.1, 0.0, 0.2],
        "path": ["replayed"] * 4 + ["recorded"] * 2,
    }
)
VIO = pl.DataFrame({"update": [0, 1], "max_vio": [2.0, 0.1]})
LEAK = pl.DataFrame(
    {
        "chunk": [16, 16, 64, 64],
        "reach": [expert_leak.EARLIER, expert_leak.OTHER] * 2,
        "trials": [64] * 4,
        "changed": [40, 0, 10, 60],
        "share": [0.6, 0.0, 0.2, 0.9],
    }
)
FIGURES: dict[str, Callable[[], theme.Figure]] = {
    "by_layer": lambda: agreement.by_layer(LAYERS, relabelled=True),
    "by_layer of one run": lambda: agreement.by_layer(LAYERS, relabelled=False),
    "differing_tokens": lambda: agreement.differing_tokens(LAYERS),
    "over_probes": lambda: agreement.over_probes(PROBES, layer=3),
    "over_probes of tokens": lambda: agreement.over_probes(PROBES, layer=3, tokens=True),
    "swaps": lambda: agreement.swaps(SWAPS, experts=[0, 1]),
    "both_loads": lambda: agreement.both_loads(LOADS, names=("a", "b")),
    "bias_paths": lambda: counterfactual.bias_paths(BIASES, named=[0, 1]),
    "imbalance": lambda: counterfactual.imbalance(VIO, recorded=1.5),
    "imbalance without updates": lambda: counterfactual.imbalance(VIO.head(1), recorded=1.5),
    "expert_leak": lambda: expert_leak.by_chunk(LEAK, sequence_tokens=32),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_valid_and_can_be_drawn(name: str) -> None:
    spec = for_file(FIGURES[name]()).to_dict()
    assert "<svg" in vl_convert.vegalite_to_svg(spec)


def test_the_diamonds_of_a_relabelling_are_drawn_for_two_trainings_only() -> None:
    def marks(figure: theme.Figure) -> list[str]:
        return [str(layer["mark"]["type"]) for layer in figure.to_dict()["layer"]]

    assert "point" in marks(agreement.by_layer(LAYERS, relabelled=True))
    assert "point" not in marks(agreement.by_layer(LAYERS, relabelled=False))


def test_the_matrix_counts_in_whole_tokens() -> None:
    (layer,) = agreement.swaps(SWAPS, experts=[0, 1]).to_dict()["layer"]
    assert layer["encoding"]["color"]["legend"]["values"] == [0, 1, 2]

"""Numbers in the sentences of the Serving page: ranges over domains, and intervals of a loss."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from explorer.charts import serving_placement as charts
from explorer.figures.serving import hot_set, placement
from explorer.figures.serving.settings import Layout
from explorer.figures.serving.windows import Window


def window(key: str, counts: list[int]) -> Window:
    return Window(key=key, label=key, tokens=np.array([[counts]], dtype=np.int64))


def test_domains_are_named_with_the_load_of_their_busiest_expert() -> None:
    own = {
        key: window(key, counts)
        for key, counts in {
            "1": [9, 1, 1, 1],
            "held-out": [4, 4, 4, 4],
            "held-out a": [6, 2, 2, 2],
            "held-out b": [1, 1, 9, 1],
        }.items()
    }
    text = hot_set._by_domain(own, 0, 1.5)
    assert text.endswith("more: 2.0× (held-out a) to 3.0× (held-out b).")
    assert hot_set._by_domain({"held-out a": own["held-out a"]}, 0, 1.5) == ""


def test_domains_load_an_expert_more_only_where_all_of_them_do() -> None:
    """Without balancing the busiest expert of the mixture can have more than that of one domain."""
    own = {f"held-out {key}": window(f"held-out {key}", [n, 1, 1, 1]) for key, n in (("a", 2), ("b", 9))}
    text = hot_set._by_domain(own, 0, 2.5)
    assert text.endswith("expert gets 1.6× (held-out a) to 3.0× (held-out b).")
    assert "more" not in text
    equal = {f"held-out {key}": window(f"held-out {key}", [4] * 4) for key in "ab"}
    assert (
        hot_set._by_domain(equal, 0, 1.0)
        == " Within every single domain, the busiest expert gets 1.0× the uniform load."
    )


@pytest.mark.parametrize(
    ("saving", "low", "high", "expected"),
    [
        (0.2, 0.1, 0.3, "saves 20.0 % of the modelled time (95 % CI 10.0 % to 30.0 %"),
        (-0.2, -0.3, 0.1, "adds 20.0 % to the modelled time (95 % CI −10.0 % to 30.0 %"),
    ],
)
def test_an_interval_has_the_sign_of_its_sentence(
    saving: float, low: float, high: float, expected: str
) -> None:
    judged: Any = SimpleNamespace(saving=saving, low=low, high=high)
    assert expected in placement._change(judged)


@pytest.mark.parametrize(("gpus", "outline"), [(32, 0.6), (320, 0)])
def test_bars_of_many_gpus_have_no_outline_that_would_hide_them(gpus: int, outline: float) -> None:
    layout = Layout(gpus=gpus, nodes=gpus // 8, groups=1, copies=0, policy="global")
    rows = placement.slot_rows(np.arange(320) % 256, np.arange(1, 257), layout)
    chart = charts.slots(rows, gpus, layout.nodes, top=2.0).to_dict()
    widths = [part["mark"].get("strokeWidth") for part in chart["layer"] if part["mark"]["type"] == "bar"]
    assert outline in widths

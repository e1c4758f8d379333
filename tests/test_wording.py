"""Numbers with their nouns."""

from unittest import mock

import polars as pl
import pytest
from chart_frames import vio_frame
from sentences import sentence

from explorer.charts import captions
from explorer.figures import simulation_text
from explorer.simulate import RuleSettings, ScoreSettings, simulate, summary
from explorer.wording import counted


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 steps"), (1, "1 step"), (2, "2 steps"), (12_000, "12,000 steps")]
)
def test_one_is_singular(count: int, words: str) -> None:
    assert counted(count, "step") == words


def test_a_plural_of_its_own() -> None:
    assert counted(1, "loss", "losses") == "1 loss"
    assert counted(3, "loss", "losses") == "3 losses"


def test_sentences_after_a_single_step() -> None:
    first = vio_frame({"a": 0.5}).head(1).with_columns(last_step=pl.lit(0)).drop("max_vio_mean100")
    assert captions.max_vio_curves(first).startswith(sentence("captions.max_vio_one_step"))
    quick = simulate(ScoreSettings(num_experts=4, top_k=1, num_tokens=64), RuleSettings(), steps=3)
    with mock.patch.object(summary, "steps_to_balance", return_value=1):
        text = simulation_text.balance({"A": quick}, {"A": "a"})
    assert sentence("playground.near_baseline_one_step") in text

"""Small parts of sentences: numbers with their nouns, lists, layer numbers."""

from unittest import mock

import polars as pl
import pytest
from chart_frames import vio_frame
from sentences import sentence

from explorer.charts import captions
from explorer.course import facts
from explorer.figures import simulation_text
from explorer.simulate import RuleSettings, ScoreSettings, simulate, summary
from explorer.wording import and_list, counted, domain_name, layers_of, percent


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 steps"), (1, "1 step"), (2, "2 steps"), (12_000, "12,000 steps")]
)
def test_one_is_singular(count: int, words: str) -> None:
    assert counted(count, "step") == words


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a, seed 0", "b", "c"], "a, seed 0; b; and c"),
    ],
)
def test_the_last_of_a_list_is_joined_by_and(parts: list[str], words: str) -> None:
    assert and_list(parts) == words


@pytest.mark.parametrize(
    ("domain", "name"), [("spanish", "Spanish"), ("cpp", "C++"), ("digits", "digits"), ("law", "law")]
)
def test_languages_have_capitals(domain: str, name: str) -> None:
    assert domain_name(domain) == name
    frame = pl.DataFrame({"domain": [domain], "expert": [3], "tokens": [8], "load_ratio": [2.0]})
    expected = sentence("captions.loads_of_domain", expert=3, times="2.00", domain=name)
    assert captions.domain_expert_heatmap(frame) == expected


def test_layers_are_named_by_the_numbers_of_the_model() -> None:
    assert layers_of("this run", [0, 1, 2]) == "the MoE layers of this run are 0 to 2"
    assert layers_of("these runs", [3, 5]) == "the MoE layers of these runs are 3, 5"


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


def test_shares_have_a_space_and_small_numbers_no_exponent() -> None:
    assert (percent(0.004, 1), percent(1)) == ("0.4 %", "100 %")
    assert facts.filled("{turning_share[none]:.0%}", lambda name: 0.12) == "12 %"
    numbers = [captions.number(value) for value in (8e-05, -0.0081, 0.0, 0.05, 8.3e-08)]
    assert numbers == ["0.00008", "-0.0081", "0.00", "0.05", "8.3·10⁻⁸"]

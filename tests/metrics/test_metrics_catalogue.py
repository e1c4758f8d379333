"""The catalogue of figures, the conversions to other tools' numbers, and the document made of them."""

import ast
import importlib
import inspect
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import peers as peer_arithmetic
from sentences import pattern, sentence
from strategies import counts

from explorer import metrics
from explorer.errors import ConfigError
from explorer.metrics import glossary, peers
from explorer.metrics.catalogue import GROUPS, METRICS, OF_LOADS
from explorer.metrics.examples import SHAPES, example, parse_counts
from explorer.metrics.markdown import metrics_markdown
from explorer.store.expressions import FIGURES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "metrics.md"
CONVERSIONS = {f"{c.tool}: {c.name}": c for c in peers.CONVERSIONS}


def printed(name: str, counts_RLE: object, top_k: int) -> float | None:
    (conversion,) = (c for key, c in CONVERSIONS.items() if key.endswith(name))
    return conversion.printed(counts_RLE, top_k)


def test_the_document_is_current() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert text == metrics_markdown(), "run: python -m explorer.metrics.markdown docs/metrics.md"


def test_keys_are_unique_and_groups_are_known() -> None:
    assert len({m.key for m in METRICS}) == len(METRICS)
    assert {m.group for m in METRICS} == set(GROUPS)
    assert [m.key for m in OF_LOADS] == [m.key for m in METRICS[: len(OF_LOADS)]]
    assert {m.key: m.title for m in METRICS}["gini"] == sentence("glossary.gini")


@cache
def queries_in_use() -> frozenset[str]:
    """`module.function` of every query that a page, a figure, a file or a command names."""
    folders = ("figures", "export", "verify", "ui", "cli")
    files = [file for folder in folders for file in (ROOT / "explorer" / folder).rglob("*.py")]
    return frozenset(name for file in files for name in _queries_of(ast.parse(file.read_text("utf-8"))))


def _queries_of(tree: ast.Module) -> Iterator[str]:
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "explorer.queries":
            aliases |= {one.asname or one.name: one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("explorer.queries."):
            yield from (f"{node.module}.{one.name}".removeprefix("explorer.queries.") for one in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            yield f"{aliases[node.value.id]}.{node.attr}"


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.key)
def test_every_figure_has_its_function_its_query_and_its_term(metric) -> None:
    assert getattr(metrics, metric.function.__name__) is metric.function
    assert inspect.getdoc(metric.function)
    assert glossary.tip(metric.key) == metric.text
    assert glossary.term(metric.key).formula == metric.formula
    module, _, name = metric.store.partition(".")
    assert callable(getattr(importlib.import_module(f"explorer.queries.{module}"), name))
    assert metric.store in queries_in_use(), "no page, figure or command asks this query"


def test_the_sql_has_every_figure_of_the_loads() -> None:
    assert set(FIGURES) == {m.key for m in OF_LOADS}


@given(num_experts=st.integers(2, 64), top_k=st.integers(1, 8), tokens=st.integers(1, 10**6))
@pytest.mark.parametrize("metric", OF_LOADS, ids=lambda m: m.key)
def test_the_stated_values_at_balance_and_at_worst_are_those_of_the_function(
    metric, num_experts: int, top_k: int, tokens: int
) -> None:
    assume(top_k <= num_experts)
    even = [top_k * tokens] * num_experts
    hot = [tokens] * top_k + [0] * (num_experts - top_k)
    assert float(metric.function(even)) == pytest.approx(metric.balance(num_experts, top_k), abs=1e-9)
    assert float(metric.function(hot)) == pytest.approx(metric.worst(num_experts, top_k), abs=1e-9)


# --- Conversions ---


@given(num_experts=st.integers(2, 32), top_k=st.integers(1, 4), layers=st.integers(1, 3))
@pytest.mark.parametrize("conversion", peers.CONVERSIONS, ids=list(CONVERSIONS))
def test_p20_every_conversion_has_its_stated_value_at_balance(
    conversion, num_experts: int, top_k: int, layers: int
) -> None:
    assume(top_k < num_experts)
    even = np.full((2, layers, num_experts), 12)
    value = conversion.printed(even, top_k)
    if value is not None:
        assert value == pytest.approx(conversion.at_balance(num_experts, top_k))


@st.composite
def uneven_counts(draw) -> list[list[list[int]]]:
    """Counts [R][L][E] in which every rank routes at least one token in every layer."""
    ranks, layers, experts = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(2, 12))
    load = st.lists(st.one_of(st.just(0), st.integers(0, 2000)), min_size=experts, max_size=experts)
    layer = load.filter(any)
    return [[draw(layer) for _ in range(layers)] for _ in range(ranks)]


@given(counts_RLE=uneven_counts(), top_k=st.integers(1, 4))
@pytest.mark.parametrize("name", CONVERSIONS)
def test_p20_every_conversion_is_the_tools_own_arithmetic_on_uneven_layers(
    name: str, counts_RLE: list[list[list[int]]], top_k: int
) -> None:
    assume(top_k < len(counts_RLE[0][0]))
    theirs = peer_arithmetic.LOGGED[name](counts_RLE, top_k)
    ours = CONVERSIONS[name].printed(np.array(counts_RLE), top_k)
    if theirs is None:
        assert ours is None
    else:
        assert ours == pytest.approx(theirs, nan_ok=True)


def test_every_conversion_has_its_arithmetic_written_out() -> None:
    assert set(peer_arithmetic.LOGGED) == set(CONVERSIONS)


def test_a_level_and_a_collapsed_layer_of_eight_tell_the_tools_apart() -> None:
    counts_RLE = np.array([[[100] * 8, [800] + [0] * 7]])
    expected = {
        "cv_mean": math.sqrt(8) / 2,  # ours, divided by N: √7 / 2
        "expert_utilization_max": 8.0,  # the worst layer, not the mean of 1 and 8
        "SGLang: balancedness": 0.5625,
        "vLLM: balancedness": 2 / 9,
    }
    for name, value in expected.items():
        assert printed(name, counts_RLE, 1) == pytest.approx(value), name


def test_p20_the_first_choice_is_known_from_the_counts_for_k_1_only() -> None:
    even = np.full((1, 1, 4), 5)
    assert printed("tutel: balance loss", even, 1) == 1.0
    assert printed("tutel: balance loss", even, 2) is None


def test_p21_a_loss_that_pools_layers_calls_two_collapsed_layers_perfect() -> None:
    two = np.array([[[10, 0], [0, 10]]])
    assert printed("load_balancing_loss_func", two, 1) == 1.0
    assert printed(sentence("glossary.coefficient_loss"), two, 1) == 2.0
    assert metrics.max_vio_global(two[0]) == 1.0


def test_p12_rank_local_imbalance_is_not_the_imbalance() -> None:
    # Four ranks, each overloading another expert; together perfectly level.
    ranks = np.array([[97, 1, 1, 1], [1, 97, 1, 1], [1, 1, 97, 1], [1, 1, 1, 97]])[:, None]
    assert printed("OLMo-core: load imbalance", ranks, 1) == pytest.approx(3.88)
    assert float(metrics.max_over_mean(ranks.sum(0))[0]) == 1.0
    # Over ranks the maximum is taken: one bad rank speaks for all.
    ranks[1:] = 25
    assert printed("OLMo-core: load imbalance", ranks, 1) == pytest.approx(3.88)


@pytest.mark.parametrize(("layers", "top_k"), [(1, 1), (1, 2), (3, 2)])
def test_p20_the_pooled_loss_is_what_transformers_computes(layers: int, top_k: int) -> None:
    modeling = pytest.importorskip("transformers.models.mixtral.modeling_mixtral", reason="no transformers")
    torch = pytest.importorskip("torch")
    experts, tokens = 6, 50
    rng = np.random.default_rng(layers)
    expert_ids = (rng.random((layers, tokens, experts)) * np.linspace(1, 2, experts)).argsort(-1)[
        ..., -top_k:
    ]
    # The chosen experts share all probability, so the mean probabilities are the load shares.
    logits = np.zeros((layers, tokens, experts), dtype=np.float32)
    np.put_along_axis(logits, expert_ids, 60.0, axis=-1)
    loss = modeling.load_balancing_loss_func(tuple(torch.from_numpy(logits)), experts, top_k)
    counts = np.stack([np.bincount(layer.ravel(), minlength=experts) for layer in expert_ids])
    assert printed("load_balancing_loss_func", counts[None], top_k) == pytest.approx(float(loss), rel=1e-5)


def test_p29_a_mean_over_seen_experts_calls_half_dead_loads_even() -> None:
    half = example("half_dead", 8, 2, 400)
    assert printed("imbalance_ratio", half, 2) == 1.0
    assert float(metrics.max_over_mean(half)[0, 0]) == 2.0


def test_a_trimmed_max_vio_does_not_see_a_collapse_onto_k_experts() -> None:
    loads = np.array([[[500, 500, 3, 3, 3, 3]]])
    assert printed("max_vio/mean", loads, 2) == 0.0
    assert float(metrics.max_vio(loads)[0, 0]) > 1.9


# --- Examples ---


@given(
    num_experts=st.integers(2, 64),
    top_k=st.integers(1, 8),
    tokens=st.one_of(st.integers(1, 300), st.just(50_000)),
)
@pytest.mark.parametrize("shape", [s.key for s in SHAPES])
def test_every_example_is_something_that_top_k_routing_can_do(
    shape: str, num_experts: int, top_k: int, tokens: int
) -> None:
    assume(top_k <= num_experts)
    loads = example(shape, num_experts, top_k, tokens)
    assert loads.dtype == np.int64
    assert loads.shape[-1] == num_experts
    assert (loads.sum(-1) == top_k * tokens).all()
    assert (loads >= 0).all()
    assert (loads <= tokens).all()


def test_examples_show_what_their_names_say() -> None:
    assert np.ptp(example("even", 8, 2, 100)) == 0
    assert metrics.idle_experts(example("one_hot", 8, 2, 100)) == 6
    assert metrics.idle_experts(example("half_dead", 8, 2, 100)) == 4
    zipf = example("zipf", 8, 1, 1000)[0, 0]
    assert (np.diff(zipf) < 0).all()
    assert metrics.max_vio(example("two_layers", 8, 2, 100)).tolist() == [[3.0, 3.0]]
    assert metrics.max_vio(example("four_ranks", 8, 2, 100).sum(0)).tolist() == [0.0]


@pytest.mark.parametrize("tokens", [512, 100_000])
def test_p34_the_example_of_chance_lies_where_chance_does(tokens: int) -> None:
    mean, high = metrics.uniform_reference(16, 2, tokens)
    assert 0.2 * mean < float(metrics.max_vio(example("chance", 16, 2, tokens))[0, 0]) < 1.5 * high


def test_impossible_examples_are_refused() -> None:
    with pytest.raises(ConfigError, match="top_k = 9: " + pattern("glossary.count_range", low=1, high=8)):
        example("even", 8, 9, 100)
    with pytest.raises(ConfigError, match=pattern("errors.choose_one_of") + " even, one_hot"):
        example("level", 8, 2, 100)


@given(values=counts())
def test_typed_counts_are_read_back(values: list[int]) -> None:
    assert parse_counts(", ".join(map(str, values))).tolist() == [[values]]
    assert parse_counts(" ; ".join(map(str, values))).tolist() == [[values]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "counts = 0: " + pattern("glossary.numbers_between", low=2, high=1024)),
        ("5", "counts = 1: " + pattern("glossary.numbers_between", low=2, high=1024)),
        ("3, -1", "counts = '-1': " + pattern("errors.whole_number_from") + " 0"),
        ("3, 1.5", "counts = '1.5': " + pattern("errors.whole_number")),
        ("3, ²", pattern("errors.whole_number")),
        ("1, 9999999999999", pattern("errors.whole_number_between", low=0, high="1,000,000,000,000")),
        ("0 0 0", pattern("glossary.at_least_one_token")),
        (" ".join(["1"] * 1025), "counts = 1025"),
    ],
)
def test_counts_that_are_none_are_refused_with_the_reason(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_counts(text)

"""The probe batch as the queries give it, against what was written."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from probe_runs import LENGTH, WORDS, probe_record, rule_biases, write_probe_run
from store_runs import DOMAINS, random_counts, write_run

from explorer.queries import probe
from explorer.store import Index


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    base = tmp_path_factory.mktemp("runs")
    write_probe_run(base)
    write_probe_run(base, "plain", bias=False, probes=(3,))
    write_run(base, "without")
    with Index.open(base / "index.duckdb") as opened:
        opened.ingest([base])
        yield opened


def test_runs_with_a_probe_are_listed_with_their_steps(index: Index) -> None:
    with index.cursor() as cur:
        frame = probe.probes(cur, ["plain", "probed", "without"])
    assert frame.columns == ["run_id", "step", "has_bias"]
    assert frame.rows() == [
        ("plain", 3, False),
        ("probed", 2, True),
        ("probed", 12, True),
        ("probed", 24, True),
    ]


@pytest.mark.parametrize(("step", "layer"), [(2, 0), (12, 1), (24, 1)])
def test_a_layer_of_the_probe_is_what_was_recorded(index: Index, step: int, layer: int) -> None:
    with index.cursor() as cur:
        one_layer = probe.layer_probe(cur, "probed", step, layer)
    bias = rule_biases(random_counts(25, 2, 8))[step]
    wanted = probe_record(step, bias, 2, 8, 2)
    assert one_layer is not None
    assert one_layer.logits.dtype == np.float32
    assert one_layer.logits.tolist() == wanted.router_logits_PLE[:, layer].tolist()
    assert one_layer.routes.tolist() == wanted.selected_experts_PLK[:, layer].tolist()
    assert one_layer.bias is not None
    assert one_layer.bias.tolist() == bias[layer].tolist()


def test_what_was_not_recorded_is_none(index: Index) -> None:
    with index.cursor() as cur:
        plain = probe.layer_probe(cur, "plain", 3, 0)
        missing = [
            probe.layer_probe(cur, run, step, layer)
            for run, step, layer in (("probed", 5, 0), ("probed", 2, 7), ("without", 2, 0), ("nobody", 2, 0))
        ]
    assert plain is not None
    assert plain.bias is None
    assert missing == [None] * 4


def test_lists_of_any_length_become_slots() -> None:
    slots = probe._slots(pl.Series([[2, 1], [], [0], None, [1, 4, 0]]), experts=4)
    assert slots.tolist() == [[2, 1], [4, 4], [0, 4], [4, 4], [1, 0]]
    assert probe._slots(np.array([[2, -1], [4, 0]]), experts=4).tolist() == [[2, 4], [4, 0]]


def test_texts_of_an_expert_by_counting() -> None:
    rng = np.random.default_rng(5)
    expert_ids = np.stack([rng.permutation(5)[:2] for _ in range(60)])
    texts = [WORDS[i] for i in rng.integers(0, len(WORDS), 60)]
    for expert in range(5):
        taken = Counter(text for text, row in zip(texts, expert_ids.tolist(), strict=True) if expert in row)
        frame = probe.expert_texts(expert_ids, texts, expert)
        assert dict(frame.select("text", "tokens").rows()) == dict(taken)
        assert dict(frame.select("text", "occurrences").rows()) == {t: texts.count(t) for t in taken}
        assert frame["tokens"].to_list() == sorted(taken.values(), reverse=True)
        assert frame["share"].to_list() == (frame["tokens"] / frame["occurrences"]).to_list()


def test_domains_of_an_expert_by_counting() -> None:
    rng = np.random.default_rng(6)
    expert_ids = np.stack([rng.permutation(4)[:2] for _ in range(40)])
    expert_ids[7] = 4  # a token that nobody takes
    domains = [DOMAINS[i // LENGTH % 2] for i in range(40)]
    frame = probe.expert_domains(expert_ids, domains, 3, 4)
    assert frame["domain"].to_list() == list(DOMAINS)
    for domain, tokens, assignments, ratio in frame.rows():
        rows = [row for row, at in zip(expert_ids.tolist(), domains, strict=True) if at == domain]
        assert tokens == sum(3 in row for row in rows)
        assert assignments == sum(e < 4 for row in rows for e in row)
        assert ratio == pytest.approx(tokens / (assignments / 4))

"""Two routings of the probe: numbers of loops over the recorded tokens; what cannot be compared."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from probe_runs import LENGTH, probe_info, probe_record, rule_biases, write_probe_run
from reference import agreement as slow
from sentences import sentence
from store_runs import DOMAINS, random_counts, write_run

from explorer.figures import agreement
from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run, run_from_row
from explorer.figures.panel import Missing, Panel
from explorer.figures.store import OpenStore
from explorer.figures.two_routings import OTHER_TOKENS, Side, TwoRoutings
from explorer.figures.views import compare, microscope
from explorer.queries.runs import list_runs
from explorer.store import Index

TOKENS = LENGTH * len(DOMAINS)
BUILDS = (
    agreement.by_layer,
    agreement.differing_tokens,
    agreement.at_probes,
    agreement.swaps,
    agreement.loads,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenStore]:
    base: Path = tmp_path_factory.mktemp("runs")
    write_probe_run(base, "free", created_at="2026-11-22T10:00:03.000+00:00")
    write_probe_run(
        base, "plain", bias=False, created_at="2026-11-22T10:00:02.000+00:00", **probe_info("none")
    )
    others = {
        "sequence_length": LENGTH,
        "token_ids": list(range(7, TOKENS + 7)),
        "tokens": ["x"] * TOKENS,
        "domains": list(DOMAINS),
    }
    write_probe_run(base, "others", document=others, created_at="2026-11-22T10:00:01.000+00:00")
    write_run(base, "without", steps=12)
    with Index.open(base / "index.duckdb") as index:
        index.ingest([base])
        yield OpenStore(index)


@pytest.fixture(scope="module")
def runs(store: OpenStore) -> dict[str, Run]:
    with store.index.cursor() as cur:
        return {run.run_id: run for run in map(run_from_row, list_runs(cur).to_dicts())}


def arms_of(runs: dict[str, Run], *names: str) -> ArmSet:
    return ArmSet.of_runs([runs[name] for name in dict.fromkeys(names)])


def experts_of(step: int, layer: int, *, biased: bool, hold=float) -> list[list[int]]:
    """The experts of every token as loops find them; hold: how the bias is stored."""
    bias_LE = rule_biases(random_counts(25, 2, 8))[step]
    record = probe_record(step, bias_LE if biased else None, 2, 8, 2)
    rows = []
    for logits in record.router_logits_PLE[:, layer].tolist():
        values = [
            1 / (1 + np.exp(-x)) + (hold(float(b)) if biased else 0.0)
            for x, b in zip(logits, bias_LE[layer], strict=True)
        ]
        rows.append(sorted(range(8), key=lambda e: -values[e])[:2])
    return rows


def panel(answer: Panel | Missing) -> Panel:
    assert isinstance(answer, Panel), answer
    return answer


CASES = {
    "two runs": (Side(run_id="free", step=12), Side(run_id="plain", step=12)),
    "two probes": (Side(run_id="free", step=12), Side(run_id="free", step=2)),
    "bf16": (Side(run_id="free", step=24), Side(run_id="free", step=24, bias="bf16")),
    "no bias": (Side(run_id="free", step=24), Side(run_id="free", step=24, bias="none")),
}


@pytest.mark.parametrize("case", CASES)
def test_every_number_is_that_of_the_loops(store: OpenStore, runs: dict[str, Run], case: str) -> None:
    first, second = CASES[case]
    arms = arms_of(runs, first.run_id, second.run_id)
    settings = TwoRoutings(first=first, second=second, layer=1)
    table = panel(agreement.by_layer(store, arms, settings)).table
    assert table is not None
    for row in table.to_dicts():
        one = experts_of(first.step, row["layer"], biased=first.run_id == "free")
        other = experts_of(
            second.step,
            row["layer"],
            biased=second.run_id == "free" and second.bias != "none",
            hold=slow.bfloat16 if second.bias == "bf16" else float,
        )
        want = slow.counts(one, other, 8)
        assert (row["tokens"], row["slots"], row["shared"]) == (TOKENS, want["slots"], want["shared"])
        assert row["differing"] == want["differing"]
        assert row["overlap"] == want["shared"] / want["slots"]
        if row["layer"] == 1:
            _check_layer(store, arms, settings, want, one, other)


def _check_layer(store: OpenStore, arms: ArmSet, settings: TwoRoutings, want, one, other) -> None:
    """The panels of one layer against the same loops."""
    loads = panel(agreement.loads(store, arms, settings)).table
    assert loads is not None
    for rows, name in zip((one, other), loads["routing"].unique(maintain_order=True), strict=True):
        counts = [sum(e in row for row in rows) for e in range(8)]
        own = loads.filter(pl.col("routing") == name)
        assert own["tokens"].to_list() == counts
        assert own["load_ratio"].to_list() == pytest.approx([c / (TOKENS * 2 / 8) for c in counts])
    swaps = agreement.swaps(store, arms, settings)
    if not want["differing"]:
        assert isinstance(swaps, Missing)
        return
    table = panel(swaps).table
    assert table is not None
    assert table["tokens"].to_list() == [n for row in want["swaps"] for n in row]


def test_over_the_probes_each_point_is_a_comparison_of_its_own(
    store: OpenStore, runs: dict[str, Run]
) -> None:
    two_runs = TwoRoutings(first=Side(run_id="free", step=12), second=Side(run_id="plain", step=12), layer=0)
    table = panel(agreement.at_probes(store, arms_of(runs, "free", "plain"), two_runs)).table
    assert table is not None
    assert table["step"].unique().sort().to_list() == [2, 12, 24]
    for row in table.to_dicts():
        one, other = (experts_of(row["step"], row["layer"], biased=biased) for biased in (True, False))
        assert row["shared"] == slow.counts(one, other, 8)["shared"]
    probes = TwoRoutings(first=Side(run_id="free", step=24), second=Side(run_id="free", step=2), layer=0)
    fixed = panel(agreement.at_probes(store, arms_of(runs, "free"), probes)).table
    assert fixed is not None
    # Every probe against the first side: the last agrees with itself.
    for row in fixed.to_dicts():
        one, other = (experts_of(step, row["layer"], biased=True) for step in (24, row["step"]))
        assert row["shared"] == slow.counts(one, other, 8)["shared"]
    assert fixed.filter(pl.col("step") == 24)["overlap"].to_list() == [1.0, 1.0]


def test_what_cannot_be_compared_is_said_once(store: OpenStore, runs: dict[str, Run]) -> None:
    settings = TwoRoutings(first=Side(run_id="free", step=12), second=Side(run_id="others", step=12), layer=0)
    answer = agreement.by_layer(store, arms_of(runs, "free", "others"), settings)
    assert isinstance(answer, Missing)
    assert answer.reason == OTHER_TOKENS
    unbiased = TwoRoutings(
        first=Side(run_id="plain", step=12), second=Side(run_id="plain", step=12, bias="bf16"), layer=0
    )
    answer = agreement.by_layer(store, arms_of(runs, "plain"), unbiased)
    assert isinstance(answer, Missing)
    assert sentence("agreement.no_bias") in answer.reason
    for build in BUILDS:
        gone = TwoRoutings(first=Side(run_id="free", step=5), second=Side(run_id="free", step=12), layer=0)
        if build is not agreement.at_probes:
            assert isinstance(build(store, arms_of(runs, "free"), gone), Missing)


def test_an_address_names_two_routings_and_the_view_opens_them(
    store: OpenStore, runs: dict[str, Run]
) -> None:
    query = {
        "runs": ("free", "plain"),
        "first": ("free",),
        "first_probe": ("2",),
        "second": ("free",),
        "second_bias": ("fp16",),
    }
    view = compare.open_view(store, list(runs.values()), query)
    assert not view.notices
    settings = {q.key: q.settings for q in view.questions}["compare_agreement_layers"]
    assert settings.first == Side(run_id="free", step=2)
    assert settings.second == Side(run_id="free", step=2, bias="fp16")
    again = compare.open_view(store, list(runs.values()), view.query)
    assert [q.cache_key for q in again.questions] == [q.cache_key for q in view.questions]


def test_defaults_are_left_out_of_an_address_and_wrong_values_are_named(
    store: OpenStore, runs: dict[str, Run]
) -> None:
    plain = compare.open_view(store, list(runs.values()), {"runs": ("free", "plain")})
    assert not set(plain.query) & {"first", "first_probe", "second", "second_probe", "second_bias"}
    settings = {q.key: q.settings for q in plain.questions}["compare_agreement_layers"]
    assert (settings.first, settings.second) == (Side(run_id="free", step=24), Side(run_id="plain", step=24))
    wrong = compare.open_view(store, list(runs.values()), {"runs": ("free",), "second_probe": ("5",)})
    assert "second_probe = 5" in wrong.notices[0]
    without = compare.open_view(store, list(runs.values()), {"runs": ("without",)})
    assert not any("agreement" in q.key for q in without.questions)


def test_the_microscope_starts_with_the_bias_in_bf16_or_with_the_probe_before(
    store: OpenStore, runs: dict[str, Run]
) -> None:
    def second(run: str) -> Side:
        view = microscope.open_view(store, list(runs.values()), {"run": (run,)})
        return {q.key: q.settings for q in view.questions}["microscope_agreement_layers"].second

    assert second("free") == Side(run_id="free", step=12, bias="bf16")
    assert second("plain") == Side(run_id="plain", step=12)

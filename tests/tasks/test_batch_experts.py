"""Rows of the selection table against one forward pass per decoding batch."""

from dataclasses import replace

import pytest
import torch
from task_models import make_trained
from torch.nn import functional as F

from explorer.corpus import two_hop
from explorer.tasks import batch_experts, questions
from explorer.tasks.batch_experts import (
    DECODE,
    PREFILL,
    Plan,
    held_out_tokens,
    selection_table,
    window_groups,
)
from explorer.tasks.generation import Window
from explorer.tasks.latency import latency, layer_inputs
from explorer.tasks.selection import Lynx, Oea, Reselection, StaticTopK
from explorer.tasks.trained import TrainedModel

PLAN = Plan(
    rules=[StaticTopK(1), StaticTopK(2), Oea(1), Lynx(0.5)],
    batches=(1, 2, 4),
    sequences=4,
    questions=0,
    repeats=0,
)


def test_full_routing_diverges_from_nothing_and_uses_what_the_router_chose(trained: TrainedModel) -> None:
    rows = [row for row in selection_table(trained, PLAN).rows if row["rule"] == "top-2"]
    tokens = held_out_tokens(trained, 4)
    layers = trained.forward(tokens[:, :-1]).layers
    for row in rows:
        assert row["kl_sum"] == 0
        assert row["assignments"] == 2 * 32 * len(layers)
        distinct = busiest = 0
        for layer in layers:
            ids = layer.routing.topk_expert_ids_TK.view(4, 8, 2)
            for first in range(0, 4, row["batch"]):
                block = ids[first : first + row["batch"]]
                parts = [block[:, s] for s in range(8)] if row["phase"] == DECODE else [block]
                distinct += sum(len(part.unique()) for part in parts)
                busiest += sum(int(part.flatten().bincount().max()) for part in parts)
        assert row["distinct"] == distinct
        assert row["busiest"] == busiest
        assert row["max_vio"] == busiest * 4 / row["assignments"] - 1
        assert row["groups"] == (8 if row["phase"] == DECODE else 1) * 4 // row["batch"]


@pytest.mark.parametrize("rule", [StaticTopK(1), Oea(1), Lynx(0.5)], ids=lambda rule: rule.label)
def test_a_row_is_that_of_separate_batches(trained: TrainedModel, rule: StaticTopK | Oea | Lynx) -> None:
    """Slow reference: each batch of two sequences alone; decoding by prefixes, each position one group."""
    tokens = held_out_tokens(trained, 4)
    full = trained.forward(tokens[:, :-1]).logits_BSV.log_softmax(-1)
    table = selection_table(trained, replace(PLAN, rules=[rule], batches=(2,)))
    for row in table.rows:
        kl = loss = 0.0
        distinct = 0
        for first in (0, 2):
            part = tokens[first : first + 2]
            groups = (
                torch.arange(8).repeat(2) if row["phase"] == DECODE else torch.zeros(16, dtype=torch.int64)
            )
            alone = Reselection(rule, groups)
            changed = trained.forward(part[:, :-1], reroute=alone).logits_BSV.log_softmax(-1)
            kl += float(F.kl_div(changed, full[first : first + 2], log_target=True, reduction="sum"))
            loss += float(F.cross_entropy(changed.flatten(0, 1), part[:, 1:].flatten(), reduction="sum"))
            distinct += sum(alone.distinct)
        assert row["distinct"] == distinct
        assert row["kl_sum"] == pytest.approx(kl, rel=1e-3)
        assert row["loss_sum"] == pytest.approx(loss, rel=1e-4)
        assert row["kl_sum"] > 0


def test_held_out_sequences_take_turns_over_the_domains(trained: TrainedModel) -> None:
    rows = held_out_tokens(trained, 4)
    low, high = (trained.corpus.held_out(num_tokens=32, sequence_length=8)[i].tokens for i in (0, 1))
    assert rows.tolist() == [low[0].tolist(), high[0].tolist(), low[1].tolist(), high[1].tolist()]


def window(lengths: list[int], prompts: list[int], running: list[bool]) -> Window:
    return Window(
        lengths_B=torch.tensor(lengths),
        prompts_B=torch.tensor(prompts),
        running_B=torch.tensor(running),
        width=max(lengths),
    )


def test_groups_of_answers() -> None:
    """Two rows: a prompt of 3 with 2 tokens decoded, and one of 1 that is complete after 2."""
    one = window([5, 3], [3, 1], [True, False])
    assert window_groups(DECODE, one).view(2, 5).tolist() == [[-1, -1, 0, 1, 2], [0, 1, -1, -1, -1]]
    assert window_groups(PREFILL, one).view(2, 5).tolist() == [[0, 0, -1, -1, -1], [-1, -1, -1, -1, -1]]


def test_answers_under_full_selection_are_the_plain_answers() -> None:
    trained = make_trained("loss_free", sequence_length=320)
    problems = list(two_hop.problems(two_hop.TWO_HOP, "held_out", 3))
    plain = questions.answers(trained, problems)

    def rerouted(rule: StaticTopK | Oea, phase: str) -> list[str]:
        return questions.answers(
            trained, problems, reroute=lambda window: Reselection(rule, window_groups(phase, window))
        )

    for phase in (DECODE, PREFILL):
        assert rerouted(StaticTopK(2), phase) == plain
    assert rerouted(StaticTopK(1), PREFILL) != plain or rerouted(StaticTopK(1), DECODE) != plain


def test_questions_are_asked_of_models_trained_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = make_trained(sequence_length=8)
    plan = replace(PLAN, rules=[StaticTopK(2), Oea(1)], questions=3)
    assert "exact" not in selection_table(trained, plan).rows[0]
    batches = []
    monkeypatch.setattr(batch_experts, "answers", lambda *_, batch, **__: batches.append(batch) or ["?"] * 3)
    taught = replace(trained, corpus=replace(trained.corpus, name="two_hop"))
    rows = selection_table(taught, plan).rows
    assert {(row["questions"], row["exact"]) for row in rows} == {(3, 0)}
    # Static top-k answers alike at every batch size, so it answers once per phase.
    assert batches == [1, 1, 2, 4] * 2


def test_measured_times_have_a_median_per_phase(trained: TrainedModel) -> None:
    rows = selection_table(trained, replace(PLAN, rules=[Oea(1)], batches=(2,), repeats=3)).rows
    assert [row["phase"] for row in rows] == [DECODE, PREFILL]
    assert all(row["experts_ms"] > 0 and row["choice_ms"] > 0 and row["repeats"] == 3 for row in rows)


def test_the_timed_inputs_are_those_of_the_layers(trained: TrainedModel) -> None:
    tokens = held_out_tokens(trained, 2)[:, :-1]
    inputs = layer_inputs(trained, tokens)
    assert [x.shape for _, x in inputs] == [(2, 8, 16)] * 2
    layers = trained.forward(tokens).layers
    for (module, x), layer in zip(inputs, layers, strict=True):
        assert torch.equal(module.router(x.reshape(16, 16)), layer.routing.router_logits_TE)
    assert latency(trained, inputs, StaticTopK(2), repeats=2).repeats == 2

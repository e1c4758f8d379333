"""Static top-k, OEA and Lynx on a trained model, over batch sizes, in decoding and in prefill.

One row per rule, phase and batch size: distinct experts, measured time, divergence from full routing, loss,
and, for a model that was trained on them, exact match and F1 on generated two-hop questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from explorer.corpus import two_hop
from explorer.model.router import Reroute
from explorer.tasks.generation import Window
from explorer.tasks.latency import REPEATS, latency, layer_inputs
from explorer.tasks.questions import answers, graded
from explorer.tasks.result import TaskResult, ratio
from explorer.tasks.selection import (
    Reselection,
    SelectionRule,
    check_selectable,
    decode_groups,
    default_rules,
    prefill_groups,
)
from explorer.tasks.trained import TrainedModel

BATCHES = (1, 2, 4, 8, 16, 32, 64)
DECODE, PREFILL = "decode", "prefill"
PHASES = (DECODE, PREFILL)
SEQUENCES = 64


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `selection` evaluates."""

    rules: Sequence[SelectionRule] | None = None
    """None: `default_rules`."""
    batches: Sequence[int] = BATCHES
    phases: Sequence[str] = PHASES
    sequences: int = SEQUENCES
    """Held-out sequences of the training length."""
    questions: int = SEQUENCES
    repeats: int = REPEATS
    """Measurements per latency; 0: none."""


def selection(trained: TrainedModel, sequences: int = SEQUENCES) -> TaskResult:
    """The task with its default plan on as many held-out sequences and questions."""
    return selection_table(trained, Plan(sequences=sequences, questions=sequences))


@torch.no_grad()
def selection_table(trained: TrainedModel, plan: Plan) -> TaskResult:
    """Rows of integer counts, sums and their ratios; each carries all that it derives from.

    decode: one token of each of B sequences at a time, all at the same position; the tokens are those of
    the text (teacher forcing). prefill: all tokens of B sequences at once. In both, every layer of every
    token uses the changed selection.
    """
    check_selectable(trained)
    config = trained.config.model
    rules = plan.rules or default_rules(config.top_k, config.num_experts)
    tokens_BS = held_out_tokens(trained, plan.sequences)
    full = trained.forward(tokens_BS[:, :-1]).logits_BSV.float().log_softmax(-1)
    rows = []
    for phase in plan.phases:
        for rule in rules:
            measurements: dict[str, Any] = {}
            for batch in plan.batches:
                if batch > len(tokens_BS):
                    continue
                row: dict[str, Any] = {"rule": rule.label, "phase": phase, "batch": batch}
                row |= _text_row(trained, rule, phase, batch, tokens_BS, full)
                row |= _time_row(trained, rule, phase, batch, tokens_BS, plan.repeats)
                if not measurements or rule.needs_batch:
                    measurements = _question_row(trained, rule, phase, batch, plan.questions)
                rows.append(row | measurements)
    counts = {
        "sequences": len(tokens_BS),
        "tokens": tokens_BS[:, 1:].numel(),
        "layers": config.num_moe_layers,
    }
    return TaskResult(task="selection", counts=counts, rows=rows)


def held_out_tokens(trained: TrainedModel, sequences: int) -> Tensor:
    """Held-out sequences, [B, S + 1]: domains take turns, so that a batch mixes them. At most `sequences`."""
    length, domains = trained.length, len(trained.corpus.domains)
    share = -(-sequences // domains) * domains * length
    by_domain: dict[str, list[Tensor]] = {}
    for batch in trained.corpus.held_out(num_tokens=share, sequence_length=length):
        by_domain.setdefault(batch.domain, []).extend(torch.from_numpy(batch.tokens))
    fewest = min(map(len, by_domain.values()))
    turns = [rows[turn] for turn in range(fewest) for rows in by_domain.values()]
    return torch.stack(turns[:sequences])


def _text_row(
    trained: TrainedModel, rule: SelectionRule, phase: str, batch: int, tokens_BS: Tensor, full_BSV: Tensor
) -> dict[str, Any]:
    inputs, targets = tokens_BS[:, :-1], tokens_BS[:, 1:].to(trained.device)
    make = decode_groups if phase == DECODE else prefill_groups
    reselection = Reselection(rule, make(len(inputs), inputs.shape[1], batch))
    changed_BSV = trained.forward(inputs, reroute=reselection).logits_BSV.float().log_softmax(-1)
    divergence = float((full_BSV.exp() * (full_BSV - changed_BSV)).sum(dtype=torch.float64))
    loss = float(F.nll_loss(changed_BSV.flatten(0, 1), targets.flatten(), reduction="none").double().sum())
    experts = trained.config.model.num_experts
    groups, layers, tokens = reselection.num_groups, len(reselection.distinct), targets.numel()
    return {
        "groups": groups,
        "distinct": sum(reselection.distinct),
        "assignments": sum(reselection.assignments),
        "busiest": sum(reselection.busiest),
        "kl_sum": divergence,
        "loss_sum": loss,
        "distinct_per_layer": ratio(sum(reselection.distinct), groups * layers),
        # Busiest over mean of all experts, less 1, of batches weighted by their assignments.
        "max_vio": sum(reselection.busiest) * experts / sum(reselection.assignments) - 1,
        "experts_per_token": ratio(sum(reselection.assignments), tokens * layers),
        "kl": ratio(divergence, tokens),
        "loss": ratio(loss, tokens),
    }


def _time_row(
    trained: TrainedModel, rule: SelectionRule, phase: str, batch: int, tokens_BS: Tensor, repeats: int
) -> dict[str, Any]:
    if not repeats:
        return {}
    inputs = layer_inputs(trained, tokens_BS[:batch, :-1])
    if phase == DECODE:
        # The middle of the sequences: a typical position, the same for every rule.
        place = trained.length // 2
        inputs = [(layer, x_BSD[:, place : place + 1]) for layer, x_BSD in inputs]
    measured = latency(trained, inputs, rule, repeats)
    return {
        "experts_ms": measured.experts_ms,
        "choice_ms": measured.choice_ms,
        "repeats": measured.repeats,
    }


def _question_row(
    trained: TrainedModel, rule: SelectionRule, phase: str, batch: int, questions: int
) -> dict[str, Any]:
    if trained.corpus.name != "two_hop" or not questions:
        return {}
    problems = list(two_hop.problems(two_hop.TWO_HOP, "held_out", questions))
    texts = answers(trained, problems, batch=batch, reroute=lambda window: _in_window(rule, phase, window))
    counts, sums = graded(problems, texts)
    return {
        "questions": counts["questions"],
        "exact": counts["exact"],
        "f1_sum": sums["f1"],
        "exact_match": ratio(counts["exact"], counts["questions"]),
        "f1": ratio(sums["f1"], counts["questions"]),
    }


def _in_window(rule: SelectionRule, phase: str, window: Window) -> Reroute:
    return Reselection(rule, window_groups(phase, window))


def window_groups(phase: str, window: Window) -> Tensor:
    """Groups of the tokens of a window of questions and answers so far, int64 [B · S].

    prefill: all tokens of all prompts but the last of each are one group, and decoding is full routing.
    decode: the last token of the prompt and each token after it, with those of the other rows at the same
    step; the prompts have full routing. (The last token of a prompt gives the first token of the
    answer; servers that reuse a cached prompt compute it in a decoding step.) A row's last token is left out
    once the row is complete, since nothing is predicted from it.
    """
    places_BS = torch.arange(window.width).expand(len(window.lengths_B), -1)
    steps_BS = places_BS - (window.prompts_B - 1)[:, None]
    ends_B1 = (window.lengths_B - (~window.running_B).long())[:, None]
    if phase == PREFILL:
        return torch.where(steps_BS < 0, 0, -1).flatten()
    return steps_BS.where((steps_BS >= 0) & (places_BS < ends_B1), -1).flatten()

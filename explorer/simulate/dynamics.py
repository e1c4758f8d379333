"""Routing without a language model: scores, top-K, counts, and the rule's update, step by step.

Sources: Algorithm 1 of the loss-free paper (arXiv 2408.15664) for the bias rules, which are those of
`explorer.routing.balancing`; section 2.2 of the same paper for the auxiliary loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explorer import metrics
from explorer.errors import ConfigError
from explorer.routing import balancing
from explorer.routing.selection import Selector
from explorer.simulate.auxiliary import loss_gradient
from explorer.simulate.scores import BLOCK, F32, Scores, scores_of
from explorer.simulate.settings import RuleSettings, ScoreSettings, _within
from explorer.simulate.update import momentum_move, next_bias

FEEDBACK_LIMIT = 3.0
"""Maximum logit offset by feedback, up or down."""
HELD_OUT_TOKENS = 32_768

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]
Changes = Sequence[tuple[int, RuleSettings]]
"""(step, rule): rules that replace the previous one from that step on, in order of step."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """Results of a simulation; row s belongs to step s, counted from 0."""

    scores: ScoreSettings
    rule: RuleSettings
    counts: I64
    """[S, E] tokens; every row sums to K·T."""
    bias: F32
    """[S, E] bias in score units in force in step s, before its update."""
    learnt: F32
    """[S, E] logits added to the offsets by the auxiliary loss (or feedback) up to step s."""
    switched: I64
    """[S] assignments that differ from the top-K of the unbiased scores."""
    final_bias: F32
    """[E] after the last update."""
    held_out: dict[int, I64]
    """step -> counts [E] of held-out tokens, after that many updates."""
    changes: tuple[tuple[int, RuleSettings], ...] = ()
    """Later rules, each with its first step."""

    @property
    def rules(self) -> tuple[RuleSettings, ...]:
        """Every rule that was in force, in order."""
        return (self.rule, *(rule for _, rule in self.changes))

    @property
    def acts_from(self) -> int:
        """The first step after which the last rule acts."""
        return self.rules[-1].start_step

    @property
    def max_vio(self) -> F64:
        """[S] MaxVio of every step's counts."""
        return metrics.max_vio(self.counts)

    @property
    def switched_share(self) -> F64:
        """[S] share of the assignments that the bias changed."""
        return self.switched / (self.scores.top_k * self.scores.num_tokens)

    @property
    def max_vio_global(self) -> dict[int, float]:
        """step -> MaxVio of the held-out tokens."""
        return {step: float(metrics.max_vio(counts)) for step, counts in self.held_out.items()}


def simulate(
    scores: ScoreSettings,
    rule: RuleSettings,
    *,
    steps: int = 1000,
    held_out_steps: Sequence[int] = (),
    held_out_tokens: int = HELD_OUT_TOKENS,
    initial_bias: Sequence[float] | None = None,
    source: Scores | None = None,
    changes: Changes = (),
) -> Simulation:
    """Run one rule, or several after each other, on one distribution of scores.

    The same arguments give the same integers.

    `changes` works as a schedule does in training (`training.loop`): the bias is kept between rules of the
    same bias form, and reset where the form differs. `none` and the auxiliary loss have no bias: a change
    to them removes it, and a change back starts at the neutral one. Offsets learnt by the auxiliary loss
    stay, as weights do. The n of a decaying step size and SMEBU's momentum start anew at the change.

    `held_out_steps`: numbers of updates (0 to steps) after which held-out tokens are counted. `initial_bias`
    [E] replaces the neutral bias at the start. `source`: precomputed scores, which must belong to
    `scores`. Raises ConfigError for numbers out of range.
    """
    _within("steps", steps, 1, 100_000)
    for step in held_out_steps:
        _within("held_out_steps", step, 0, steps)
    run = _Run(scores, rule, source or scores_of(scores), checked_changes(changes, steps))
    if initial_bias is not None:
        run.bias = np.asarray(initial_bias, dtype=np.float64)
        if run.bias.shape != (scores.num_experts,):
            raise ConfigError(
                "initial_bias",
                len(initial_bias),
                f"must be {scores.num_experts} numbers",
                "give one an expert",
            )
    return run.go(steps, set(held_out_steps), held_out_tokens)


def checked_changes(changes: Changes, steps: int) -> tuple[tuple[int, RuleSettings], ...]:
    """The changes in order, with no rule acting before its change. Raises ConfigError for invalid steps."""
    before = 0
    for step, _ in changes:
        _within("changes", step, 1, steps - 1)
        if step <= before:
            raise ConfigError("changes", step, f"must come after step {before}", "put the changes in order")
        before = step
    return tuple((step, replace(rule, start_step=max(rule.start_step, step))) for step, rule in changes)


class _Run:
    """The state of a simulation while it runs."""

    def __init__(
        self,
        settings: ScoreSettings,
        rule: RuleSettings,
        source: Scores,
        changes: tuple[tuple[int, RuleSettings], ...] = (),
    ) -> None:
        self.settings, self.rule, self.source, self.changes = settings, rule, source, changes
        shape = (settings.num_tokens, settings.num_experts)
        self.select = Selector(*shape, settings.top_k)
        self.select_plain = Selector(*shape, settings.top_k)
        self.biased = np.empty(shape, dtype=np.float32)
        self.buffer = np.empty(shape, dtype=np.float32)
        self.bias = np.full(settings.num_experts, balancing.neutral_bias(rule.bias_form))
        self.learnt = np.zeros(settings.num_experts)
        self.move = np.zeros(settings.num_experts)
        self.is_static = not settings.moves and rule.rule != "aux_loss"

    def go(self, steps: int, held_out_steps: set[int], held_out_tokens: int) -> Simulation:
        num_experts = self.settings.num_experts
        counts = np.empty((steps, num_experts), dtype=np.int64)
        bias, learnt = (np.empty((steps, num_experts), dtype=np.float32) for _ in range(2))
        switched = np.zeros(steps, dtype=np.int64)
        held_out: dict[int, I64] = {}
        windows, first, later = self.source.windows(steps), self.rule, dict(self.changes)
        for step in range(steps):
            if step in later:
                self.change(later[step])
            if step in held_out_steps:
                held_out[step] = self.count_held_out(step, held_out_tokens)
            bias[step], learnt[step] = self.bias, self.learnt
            counts[step], switched[step] = self.step(step, int(windows[step]))
        if steps in held_out_steps:
            held_out[steps] = self.count_held_out(steps, held_out_tokens)
        return Simulation(
            scores=self.settings,
            rule=first,
            changes=self.changes,
            counts=counts,
            bias=bias,
            learnt=learnt,
            switched=switched,
            final_bias=self.bias.astype(np.float32),
            held_out=held_out,
        )

    def change(self, rule: RuleSettings) -> None:
        """Put another rule in force; see `simulate` for its effect on the bias."""
        if rule.reads_bias != self.rule.reads_bias:
            self.bias = np.full(self.settings.num_experts, balancing.neutral_bias(rule.bias_form))
        self.rule = rule
        self.move = np.zeros(self.settings.num_experts)
        # With learnt offsets, scores are no longer those of the pool.
        self.is_static = self.is_static and rule.rule != "aux_loss"

    def step(self, step: int, start: int) -> tuple[I64, int]:
        """Counts [E] and switched assignments of one step, then the update."""
        rows = slice(start, start + self.settings.num_tokens)
        if self.is_static:
            scores = self.source.pool[rows]
        else:
            offset = self.source.offset(step) + self.learnt
            scores = self.source.of(self.source.weights[rows], offset, out=self.buffer)
        if not self.rule.has_bias:
            selection, counts = self.select.choose(scores)
            switched = 0
        else:
            selection, counts = self.select.choose(self.with_bias(scores, self.biased))
            plain = self.source.plain[rows] if self.is_static else self.select_plain.mask(scores)
            switched = int(np.count_nonzero(selection > plain))
        self.update(step, counts, scores)
        return counts, switched

    def with_bias(self, scores: F32, out: F32) -> F32:
        """The scores compared in the top-K, in float32 as in training."""
        bias = self.bias.astype(np.float32)
        return np.asarray(balancing.biased_scores(scores, bias, self.rule.bias_form, out=out))

    def update(self, step: int, counts: I64, scores: F32) -> None:
        rate = self.rule.rate_at(step)
        if self.settings.feedback > 0:
            self.learnt = reinforced(self.learnt, counts, self.settings.feedback)
        if rate == 0 or self.rule.rule == "none":
            return
        if self.rule.rule == "aux_loss":
            self.learnt = self.learnt - rate * loss_gradient(scores, counts, self.settings.score_function)
        elif self.rule.rule == "smebu":
            self.move = momentum_move(self.move, counts, self.rule, step)
            self.bias = self.bias + self.move
        else:
            self.bias = next_bias(self.bias, counts, scores, self.rule, step, self.settings.top_k)

    def count_held_out(self, step: int, tokens: int) -> I64:
        """Counts [E] of held-out tokens under the current bias and offsets."""
        weights, offset = self.source.held_out(tokens), self.source.offset(step) + self.learnt
        total = np.zeros(self.settings.num_experts, dtype=np.int64)
        for first in range(0, tokens, BLOCK):
            scores = self.source.of(weights[first : first + BLOCK], offset)
            compared = self.with_bias(scores, scores)
            total += Selector(len(compared), self.settings.num_experts, self.settings.top_k).choose(compared)[
                1
            ]
        return total


def reinforced(learnt: F64, counts: I64, feedback: float) -> F64:
    """A simple rich-get-richer model: offsets grow with the load error, within ±3 logits.

    In a real model an expert that is selected more often is trained more, and the router learns to prefer
    it. Here that is one number: learnt_i ← clip(learnt_i + feedback · (c_i / mean(c) - 1)).
    """
    return np.asarray(
        np.clip(learnt - feedback * balancing.load_error(counts), -FEEDBACK_LIMIT, FEEDBACK_LIMIT)
    )

"""Recompute every bias from the logged counts and the rule in run.json.

The arithmetic is `explorer.routing.bias_step`, which repeats the trainer's float32 operations, so that
sign rules agree bit for bit. S steps, L layers, E experts of one layer.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from explorer.config.rule_text import LossFree, Smebu
from explorer.config.run import BalancerConfig
from explorer.routing.balancing import is_frozen, neutral_bias
from explorer.routing.bias_step import BiasStep, recompute, rule_in_force, stated_balancer
from explorer.verify.data import Loads, RunData
from explorer.verify.findings import Check, Difference, Findings
from explorer.verify.memory import GAP, MeanUpdate, RunningMean, RunningMove

Floats = NDArray[np.float32]


class Bias(NamedTuple):
    """The bias of one layer. NULL (no bias rule) differs from NaN (a non-finite bias)."""

    values_E: Floats
    """NaN where NULL."""
    is_null_E: NDArray[np.bool_]

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Self:
        """From a list in which None means NULL."""
        column = pl.Series(values, dtype=pl.Float32)
        return cls(column.to_numpy(), column.is_null().to_numpy())

    def at(self, expert: int) -> float | None:
        """The value with all digits of a float32; None for NULL."""
        return None if self.is_null_E[expert] else float(str(self.values_E[expert]))


Work = Callable[[int], BiasStep | MeanUpdate]
"""Position of a layer -> the update of its bias."""


def check_biases(run: RunData) -> Check:
    """Compare each step's bias with the update of the previous step, in training, evaluations and probes."""
    findings = Findings("biases")
    if "expert_loads" in run.unreadable:
        findings.skip(run.unreadable["expert_loads"])
    else:
        balancer = _balancer(run)
        if balancer is not None:
            _Biases(findings, run, balancer).check()
        elif run.loads.has_bias.any():
            findings.skip("run.json does not state the rule that moved the biases.")
    return findings.check()


def _balancer(run: RunData) -> BalancerConfig | None:
    """The rules in the trainer's configuration; for other software, the stated rules if they move a bias.

    Other software may record biases beside a rule that it never stated.
    """
    if run.config is not None:
        return run.config.balancer
    stated = stated_balancer({}, run.info.balancer)
    rules = () if stated is None else (*stated.rules, *(r for c in stated.schedule for r in c.rules))
    return stated if any(rule.moves_bias for rule in rules) else None


class _Biases:
    """The check of one run, step by step."""

    def __init__(self, findings: Findings, run: RunData, balancer: BalancerConfig) -> None:
        self.findings, self.run, self.balancer = findings, run, balancer
        self.loads: Loads = run.loads
        self.whole_SL = self.loads.is_whole(run.width_L)
        self.mean, self.move = RunningMean(balancer), RunningMove(balancer)
        self.logged = {"eval_loads": _evaluated(run), "probe_scores": _probed(run)}

    def check(self) -> None:
        for index, step in enumerate(self.loads.steps.tolist()):
            if step == 0:
                self._against_neutral(index)
            self._same_step(index, step)
            self._next_step(index, step)

    def _against_neutral(self, index: int) -> None:
        """Step 0 is routed with a neutral bias, or with none."""
        form = _form(self.balancer, 0)
        for place, layer in enumerate(self.loads.layers):
            if self.whole_SL[index, place]:
                self._compare(0, layer, self._bias(index, place), self._neutral(place, form), "at the start")

    def _same_step(self, index: int, step: int) -> None:
        """The bias of an evaluation or a probe equals that of the training step right after it."""
        for table, logged in self.logged.items():
            for place, layer in enumerate(self.loads.layers):
                for where, bias in logged.get((step, layer), []):
                    if self.whole_SL[index, place]:
                        expected = self._bias(index, place)
                        self._compare(step, layer, bias, expected, "expert_loads", table, where)

    def _next_step(self, index: int, step: int) -> None:
        work = self._work(index, step)
        if isinstance(work, str):
            self.findings.skip(work)
            return
        steps = self.loads.steps
        follows = index + 1 < len(steps) and steps[index + 1] == step + 1
        for place, layer in enumerate(self.loads.layers):
            if not self.whole_SL[index, place]:
                continue  # missing rows are reported by the check of keys
            update = None if work is None else work(place)
            expected = self._neutral(place, _form(self.balancer, step + 1))
            if update is not None:  # no bias, no update
                expected = Bias(update.after_E, self._bias(index, place).is_null_E)
            note = "no rule moved it" if update is None else f"from the counts of step {step}"
            if follows and self.whole_SL[index + 1, place]:
                logged = [("", self._bias(index + 1, place))]
                table = "expert_loads"
            else:
                logged = [] if follows else self.logged["eval_loads"].get((step + 1, layer), [])
                table = "eval_loads"
            self.findings.compared += len(expected.values_E) if update and logged else 0
            for where, bias in logged:
                self._compare(step + 1, layer, bias, expected, note, table, where, update)

    def _work(self, index: int, step: int) -> "Work | str | None":
        """The update of a layer's bias after `step`; None without one; or why it cannot be recomputed."""
        moving = next((rule for rule in self.balancer.rules_at(step) if rule.moves_bias), None)
        if isinstance(moving, LossFree) and moving.load_ema:
            return self._work_from_mean(moving, index, step)
        if isinstance(moving, Smebu):
            return self._work_from_move(moving, index, step)
        force = None if moving is None else rule_in_force(self.run.info.config, step, self.run.info.balancer)
        if force is None or isinstance(force, str):
            return force
        if force.restarts:
            return None
        return lambda place: recompute(force, self._tokens(index, place), self._bias(index, place).values_E)

    def _work_from_mean(self, rule: LossFree, index: int, step: int) -> "Work | str | None":
        if rule.freeze_after_step is not None and step >= rule.freeze_after_step:
            return lambda place: MeanUpdate.none(self._bias(index, place).values_E)
        is_whole = bool(self.whole_SL[index].all())
        mean_LE = self.mean.read(rule, step, self.loads.tokens[index]) if is_whole else None
        if mean_LE is None:
            return GAP
        if _form(self.balancer, step + 1) != rule.bias_form:
            return None

        def update(place: int) -> MeanUpdate:
            mean_E = mean_LE[place, : self.run.width_L[place]]
            return self.mean.update(rule, step, mean_E, self._bias(index, place).values_E)

        return update

    def _work_from_move(self, rule: Smebu, index: int, step: int) -> "Work | str | None":
        if is_frozen(rule.freeze_after_step, step):
            return lambda place: MeanUpdate.none(self._bias(index, place).values_E)
        is_whole = bool(self.whole_SL[index].all())
        tokens = [self._tokens(index, place) for place in range(len(self.loads.layers))]
        moves = self.move.read(rule, step, tokens) if is_whole else None
        if moves is None:
            return GAP
        if _form(self.balancer, step + 1) != rule.bias_form:
            return None

        def update(place: int) -> MeanUpdate:
            before_E = self._bias(index, place).values_E
            after_E = before_E + moves[place].astype(np.float32)
            return MeanUpdate(before_E=before_E, after_E=after_E, rate=rule.bias_update_rate)

        return update

    def _tokens(self, index: int, place: int) -> NDArray[np.int64]:
        return self.loads.tokens[index, place, : self.run.width_L[place]]

    def _bias(self, index: int, place: int) -> Bias:
        cells = (index, place, slice(self.run.width_L[place]))
        return Bias(self.loads.bias[cells], ~self.loads.has_bias[cells])

    def _neutral(self, place: int, form: str | None) -> Bias:
        """NULL under rules without a bias."""
        value = None if form is None else neutral_bias(form)
        return Bias.of([value] * int(self.run.width_L[place]))

    def _compare(
        self,
        step: int,
        layer: int,
        recorded: Bias,
        expected: Bias,
        note: str,
        table: str = "expert_loads",
        where: str = "",
        update: BiasStep | MeanUpdate | None = None,
    ) -> None:
        """Bit for bit; within rounding where the rule sums fractions, whose order matters."""
        recorded_E, expected_E = recorded.values_E, expected.values_E
        if len(recorded_E) != len(expected_E):
            return  # an evaluation with missing rows: reported by the check of keys
        same_E = (recorded_E == expected_E) | (np.isnan(recorded_E) & np.isnan(expected_E))
        if update is not None:
            same_E |= update.equals(recorded_E)
        same_E &= recorded.is_null_E == expected.is_null_E
        for expert in np.flatnonzero(~same_E)[:1].tolist():
            difference = Difference(
                table=table,
                column="expert_bias",
                step=step,
                layer=layer,
                expert=expert,
                where=where,
                recorded=recorded.at(expert),
                expected=expected.at(expert),
                note=note,
            )
            self.findings.differ(difference, int((~same_E).sum()))


def _form(balancer: BalancerConfig, step: int) -> str | None:
    """Bias form of the rules in `step`; None without a bias."""
    return next((rule.bias_form for rule in balancer.rules_at(step) if rule.moves_bias), None)


Logged = dict[tuple[int, int], list[tuple[str, Bias]]]
"""(step, layer) -> other keys as text, and the bias [E]."""


def _evaluated(run: RunData) -> Logged:
    """The biases of `eval_loads`, once per domain."""
    result: Logged = {}
    keys = ["step", "layer", "split", "domain"]
    rows = run.frame("eval_loads").sort([*keys, "expert"])
    for row in rows.group_by(keys, maintain_order=True).agg("expert_bias").iter_rows(named=True):
        where = f"split {row['split']}, domain {row['domain']}"
        result.setdefault((row["step"], row["layer"]), []).append((where, Bias.of(row["expert_bias"])))
    return result


def _probed(run: RunData) -> Logged:
    """The biases of `probe_scores`: one per step and layer, unless its tokens disagree."""
    result: Logged = {}
    rows = run.frame("probe_scores").select("step", "layer", "expert_bias").drop_nulls()
    for (step, layer), group in rows.group_by("step", "layer"):
        distinct = group["expert_bias"].unique(maintain_order=True).to_list()
        if len({len(bias) for bias in distinct}) == 1:
            result[int(str(step)), int(str(layer))] = [("", Bias.of(bias)) for bias in distinct]
    return result

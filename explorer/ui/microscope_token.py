"""One token under the Microscope: its scores, the formulas with its numbers, and the update that follows."""

import json
from functools import partial

import numpy as np
import polars as pl
import streamlit as st

from explorer.balancing import bias_delta
from explorer.charts import microscope as charts
from explorer.config import RunConfig
from explorer.errors import ExplorerError
from explorer.glossary import tip
from explorer.rules import LossFree, Rule
from explorer.ui import cached_probe, microscope_formulas, microscope_words, show, specs
from explorer.ui.arms import Run
from explorer.ui.microscope_view import View, alone, cut_off, token_table


def section(run: Run, view: View, token: int, expert: int | None) -> None:
    """The figure of the scores beside the formulas, and the update below them."""
    st.subheader("How is this token routed?", help=tip("top_k"))
    if view.unexplained:
        st.error(
            f"For {view.unexplained} of {view.num_tokens} tokens the recorded experts are not those that the "
            "recorded logits and biases give; what is marked as chosen is what was recorded.",
            icon=":material/error:",
        )
    table = token_table(view, token)
    if view.settings.note:
        show.note(view.settings.note)
    left, right = show.in_columns(2)
    with left:
        _scores(run, view, token, expert, table)
    with right:
        _formulas(view, token, table)
    _update(run, view, token, expert)


def _scores(run: Run, view: View, token: int, expert: int | None, table: pl.DataFrame) -> None:
    finding = microscope_words.token(view, token, table)
    if view.scores is None:
        st.markdown(show.plain(finding))
        show.data_table(table, subject=f"Token {token}", key="microscope_token")
        return
    rows = score_rows(table, expert)
    cuts = cuts_of(view, token, table)
    biased = view.bias is not None
    chart = specs.kept(
        ("microscope scores", run.num_experts, biased),
        partial(charts.token_scores, rows, cuts, biased=biased),
    )
    arrow = (
        "Bars are scores, rings what the scores alone would choose. An arrow adds the bias; what ends above "
        "the dashed line is chosen."
        if biased
        else "Bars are scores; those above the dashed line are chosen."
    )
    show.figure(
        chart.with_rows(rows).with_rows(cuts),
        subject=f"Scores of the chosen token in layer {view.layer}",
        finding=finding,
        how=arrow if view.compared is not None else "Bars are scores; colours say who is chosen.",
        table=table.drop("before", "after"),
        sources=(view.source,),
        key="microscope_token",
        live=True,
    )


def score_rows(table: pl.DataFrame, expert: int | None) -> pl.DataFrame:
    """The rows that `charts.token_scores` draws."""
    marked = pl.lit(False) if expert is None else pl.col("expert") == expert
    return table.with_columns(marked=marked).select(charts.COLUMNS)


def cuts_of(view: View, token: int, table: pl.DataFrame) -> pl.DataFrame:
    """Where the choice cuts, with and without the bias."""
    biased = cut_off(view.compared, view.chosen_by(token), token)
    unbiased = cut_off(alone(view), view.would_choose(token), token) if view.bias is not None else None
    values = [v for name in ("score", "compared") for v in table[name].drop_nulls().to_list()]
    return charts.cut_rows(unbiased, biased, min([0.0, *values]), max([0.0, *values]))


def _formulas(view: View, token: int, table: pl.DataFrame) -> None:
    """Every step with this token's numbers, as one text: each element costs the browser some time."""
    parts = microscope_formulas.steps(view, token, table)
    if parts:
        st.markdown("\n\n".join(f"{show.plain(words)}\n\n$$\n{formula}\n$$" for words, formula in parts))


def _update(run: Run, view: View, token: int, expert: int | None) -> None:
    if view.bias is None:
        show.note("No bias takes part here, so none is moved after the step.")
        return
    st.markdown("### And then the bias moves", help=tip("loss_free"))
    chosen = view.chosen_by(token)
    about = expert if expert is not None else (chosen[0] if chosen else 0)
    found = cached_probe.bias_update(run.version, view.step, view.layer)
    rule = _bias_rule(run, view.step)
    told = update_of(found, rule, about, view.step)
    left, right = show.in_columns(2)
    with left:
        (st.error if told.is_wrong else st.markdown)(show.plain(told.sentence))
    with right:
        if told.formula:
            st.markdown(f"$$\n{told.formula}\n$$")


def _bias_rule(run: Run, step: int) -> Rule | None:
    """The rule that moves the bias after `step`; None where the run's configuration names none."""
    try:
        rules = RunConfig.from_dict(json.loads(run.config)).balancer.rules_at(step)
    except (ExplorerError, TypeError, ValueError, KeyError, AttributeError):
        return None
    return next((rule for rule in rules if rule.moves_bias), None)


class Told:
    """A sentence, perhaps with its formula; wrong where the log contradicts the rule."""

    def __init__(self, sentence: str, formula: str = "", is_wrong: bool = False) -> None:
        self.sentence, self.formula, self.is_wrong = sentence, formula, is_wrong


def update_of(found: pl.DataFrame, rule: Rule | None, expert: int, step: int) -> Told:
    """What the step did to the bias of an expert, held against what was logged.

    found: of `queries.probe.bias_update`.
    """
    if found.is_empty():
        return Told(
            f"This probe was taken after the last recorded step, so no update follows: step {step} was never "
            "trained. An earlier probe shows one."
        )
    row = found.filter(pl.col("expert") == expert).row(0, named=True)
    before, logged, rate = row["expert_bias"], row["next_bias"], _rate(rule, row["rate"], step)
    if before is None:
        return Told(f"In step {step} no bias was recorded.")
    after = "what came next was not recorded" if logged is None else f"the next step used {logged:+.4f}"
    if not isinstance(rule, LossFree) or rate is None:
        name = rule.label if rule is not None else "The rule of this run"
        return Told(
            f"{name[:1].upper()}{name[1:]} does not step by counts, so there is no formula of this step "
            f"alone: expert {expert} had {before:+.4f}, and {after}."
        )
    if rule.load_ema:
        return Told(
            "This rule reads a running mean of the counts of all steps so far, which one step does not hold: "
            f"expert {expert} had {before:+.4f}, and {after}."
        )
    return _by_counts(found, rule, expert, step, rate)


def _rate(rule: Rule | None, logged: float | None, step: int) -> float | None:
    """u after the step: as logged, else as the rule says where it depends on nothing else."""
    if logged is not None or not isinstance(rule, LossFree) or rule.step_decay != "constant":
        return logged
    frozen = rule.freeze_after_step is not None and step >= rule.freeze_after_step
    return 0.0 if frozen else rule.bias_update_rate


def _by_counts(found: pl.DataFrame, rule: LossFree, expert: int, step: int, rate: float) -> Told:
    row = found.filter(pl.col("expert") == expert).row(0, named=True)
    counts = found["tokens"].to_numpy()
    delta = bias_delta(
        counts, update_rule=rule.update_rule, bias_update_rate=rate, centred=rule.centred
    ).astype(np.float32)[found["expert"].to_list().index(expert)]
    before, total, mean = np.float32(row["expert_bias"]), int(counts.sum()), float(counts.mean())
    after = before + delta
    agrees = None if row["next_bias"] is None else _agree(after, np.float32(row["next_bias"]), rule)
    formula = microscope_formulas.update_formula(
        expert, mean, int(row["tokens"]), float(before), float(delta), float(after), rate, rule
    )
    if agrees is False:
        return Told(
            f"In step {step} the rule takes expert {expert} from {before:+.5f} to {after:+.5f}, but the next "
            f"step was logged with {row['next_bias']:+.5f}.",
            formula,
            is_wrong=True,
        )
    sentence = microscope_words.update(
        expert, step, int(row["tokens"]), total, mean, float(delta), rate, agrees
    )
    return Told(sentence, "" if rate == 0.0 else formula)


def _agree(mine: np.float32, logged: np.float32, rule: LossFree) -> bool:
    """To the bit under the sign rule; others divide, and training divides in float32."""
    if rule.update_rule == "sign" and not rule.centred:
        return bool(mine == logged)
    return bool(abs(mine - logged) <= 1e-6 + 1e-5 * abs(logged))

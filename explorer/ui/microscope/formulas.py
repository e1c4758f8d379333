"""The router's formulas with the numbers of one token, as LaTeX."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from explorer.figures.probe_batch import RoutedBatch
from explorer.routing import routing_math

MOST = 4
"""Experts whose numbers are spelled out."""
SYMBOLS = {
    "sigmoid": r"\sigma(x_i)",
    "softmax": r"\frac{e^{x_i}}{\sum_j e^{x_j}}",
    "sqrt_softplus": r"\sqrt{\ln(1 + e^{x_i})}",
}


def spelled_out(table: pl.DataFrame) -> list[int]:
    """The experts whose numbers are shown: the chosen, then those that the bias pushed out."""
    selected = table.filter("after").sort("rank_after", "expert", nulls_last=True)["expert"].to_list()
    pushed = table.filter(pl.col("before") & ~pl.col("after")).sort("rank_before")["expert"].to_list()
    first = selected[: max(1, MOST - min(len(pushed), 2))]
    return first + pushed[: MOST - len(first)]


def steps(batch: RoutedBatch, token: int, table: pl.DataFrame) -> list[tuple[str, str]]:
    """(text, formula) of every step from logit to gate; empty where there are no scores."""
    func = batch.settings.score_func
    if func is None or batch.logits is None:
        return []
    experts = spelled_out(table)
    rows = {row["expert"]: row for row in table.to_dicts()}
    parts = [
        (
            "Each score is computed from the router's logit.",
            _lines(rf"s_i = {SYMBOLS[func]}", [_score(func, rows[e], batch.logits[token]) for e in experts]),
        )
    ]
    if batch.compared is not None:
        parts.append(_choice(batch, token, rows, experts))
    parts.append(_gates(batch, token, rows))
    return parts


def _choice(
    batch: RoutedBatch, token: int, rows: dict[int, dict[str, float]], experts: list[int]
) -> tuple[str, str]:
    after, before = batch.chosen_by(token), batch.would_choose(token)
    name = "TopK" if batch.settings.top_p is None else "TopP"
    if batch.bias is None:
        picked = rf"\mathrm{{{name}}}(s) = {_set(after)}"
        return "The experts with the highest scores are selected; no bias is applied.", picked
    sign = r"\cdot" if batch.settings.bias_form == "multiplicative" else "+"
    lines = [_biased(batch, rows[e]) for e in experts if rows[e]["compared"] is not None]
    lines += [
        rf"\mathrm{{{name}}}(s) &= {_set(before)}",
        rf"\mathrm{{{name}}}(s {sign} b) &= {_set(after)}",
    ]
    verb = "The biases multiply" if sign == r"\cdot" else "The biases are added to"
    return f"{verb} the scores for selection only, not for the gates.", _aligned(lines)


def _biased(batch: RoutedBatch, row: dict[str, float]) -> str:
    e, score, bias, value = int(row["expert"]), row["score"], row["bias"], row["compared"]
    if batch.settings.bias_form == "multiplicative":
        return rf"s_{{{e}}} \cdot b_{{{e}}} &= {score:.4f} \cdot {bias:.4f} = {value:.4f}"
    sign = "-" if bias < 0 else "+"
    return rf"s_{{{e}}} + b_{{{e}}} &= {score:.4f} {sign} {abs(bias):.4f} = {value:.4f}"


def _score(func: str, row: dict[str, float], logits: np.ndarray) -> str:
    e, x, score = int(row["expert"]), row["logit"], row["score"]
    if func == "sigmoid":
        middle = rf"\sigma({x:.4f})"
    elif func == "softmax":
        # Shifted by the largest, which cancels: large logits would not fit on the page.
        shifted = np.exp(logits.astype(np.float64) - float(logits.max()))
        own = float(np.exp(x - float(logits.max())))
        middle = rf"\frac{{{own:.4f}}}{{{float(shifted.sum()):.4f}}}"
    else:
        middle = rf"\sqrt{{\ln(1 + e^{{{x:.4f}}})}}"
    return rf"s_{{{e}}} &= {middle} = {score:.4f}"


def _gates(batch: RoutedBatch, token: int, rows: dict[int, dict[str, float]]) -> tuple[str, str]:
    settings, experts = batch.settings, batch.chosen_by(token)
    func = settings.weighs_by
    assert func is not None
    assert batch.logits is not None
    weighing = routing_math.scores(batch.logits[token : token + 1], func)
    divisor = float(routing_math.gate_divisor(weighing, batch.after[token : token + 1], settings)[0, 0])
    letter = "s" if settings.gate_func is None else "w"
    scale = "" if settings.route_scale == 1.0 else rf" \cdot {settings.route_scale:g}"
    whole = {"chosen": r"\sum_{j \in \mathrm{chosen}} ", "all": r"\sum_j "}.get(settings.divide_by)
    general = rf"g_i = {letter}_i" if whole is None else rf"g_i = \frac{{{letter}_i}}{{{whole}{letter}_j}}"
    general += r" \cdot \mathrm{scale}" if scale else ""
    if letter == "w":
        general += rf", \quad w_i = {SYMBOLS[func]}"
    lines = []
    for e in experts[:MOST]:
        value = float(weighing[0, e])
        middle = rf"\frac{{{value:.4f}}}{{{divisor:.4f}}}"
        if whole is None:
            middle = f"{value:.4f}" if scale else rf"{letter}_{{{e}}}"
        gate = rows[e]["gate"]
        lines.append(rf"g_{{{e}}} &= {middle}{scale} = {gate:.4f}")
    words = (
        "The gates weight the selected experts by their scores without bias."
        if batch.bias is not None
        else "The gates weight the selected experts by their scores."
    )
    if not experts:
        return "No expert receives this token, so there is no gate.", general
    return words, _lines(general, lines)


def _set(experts: Sequence[int]) -> str:
    names = ", ".join(map(str, sorted(experts)))
    return rf"\{{{names}\}}"


def _lines(general: str, lines: Sequence[str]) -> str:
    head, _, tail = general.partition(" = ")
    return _aligned([rf"{head} &= {tail}", *lines])


def _aligned(lines: Sequence[str]) -> str:
    has_fractions = any(r"\frac" in line for line in lines)
    gap = r" \\[.9em] " if has_fractions else r" \\[.3em] "
    # The page cuts off what stands above a first line of usual height.
    room = r"\rule{0pt}{1.7em}" if r"\frac" in lines[0] else ""
    return r"\begin{aligned}" + room + gap.join(lines) + r"\end{aligned}"

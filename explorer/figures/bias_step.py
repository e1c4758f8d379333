"""One bias update (`figures.bias_updates`) in sentences, formulas and a table."""

from fractions import Fraction

import numpy as np
import polars as pl

from explorer.figures import bias_updates
from explorer.routing.balancing import sign
from explorer.routing.bias_step import BiasStep, Floats


def number(value: float | np.floating) -> str:
    """The shortest decimal that reads back as the same float32.

    >>> number(np.float32(0.1)), number(np.float32(-0.0)), number(np.float32(3e-9))
    ('0.1', '0', '0.000000003')
    """
    text = np.format_float_positional(np.float32(value), unique=True, trim="-")
    return "0" if text == "-0" else text


def fraction(value: Fraction) -> str:
    """A fraction as LaTeX.

    >>> fraction(Fraction(-7, 2)), fraction(Fraction(6))
    ('-\\\\tfrac{7}{2}', '6')
    """
    if value.denominator == 1:
        return str(value.numerator)
    sign = "-" if value < 0 else ""
    return rf"{sign}\tfrac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def finding(step: BiasStep, expert: int, at: int) -> str:
    """The tokens of the expert against the mean, and which way its bias moves. at: the step."""
    tokens, moved = int(step.tokens_E[expert]), step.after_E[expert] - step.before_E[expert]
    had = f"At step {at} expert {expert} had {tokens:,} tokens"
    mean = f"{float(step.mean):,.4g}" if step.mean.denominator > 1 else f"{step.mean.numerator:,}"
    if step.force.is_frozen:
        return f"{had}, the mean is {mean}; the rule is frozen, so its bias stays."
    if tokens == step.mean and moved == 0:
        return f"{had}, exactly the mean, so its bias stays."
    which = "more" if tokens > step.mean else "fewer" if tokens < step.mean else "exactly as many"
    way = "rises" if moved > 0 else "falls" if moved < 0 else "stays"
    than = "than" if which != "exactly as many" else "as"
    return f"{had}, {which} {than} the mean of {mean}: its bias {way}."


def formulas(step: BiasStep, expert: int) -> list[str]:
    """The update of one expert's bias, line by line in LaTeX, each line with its numbers."""
    n = len(step.tokens_E)
    i = rf"_{{{expert}}}"
    error = bias_updates.shortfall(step, expert)
    rule = step.force.rule
    lines = [
        rf"\bar c = \frac{{\sum_j c_j}}{{N}} = \frac{{{step.total}}}{{{n}}} = {fraction(step.mean)}",
        rf"\bar c - c{i} = {fraction(step.mean)} - {int(step.tokens_E[expert])} = {fraction(error)}",
    ]
    if rule.update_rule == "sign":
        name = rf"\operatorname{{sign}}(\bar c - c{i})"
        lines.append(rf"{name} = {_latex(sign(step.error_E[expert]))}")
    else:
        lines.append(rf"e{i} = \frac{{\bar c - c{i}}}{{\bar c}} = {_latex(step.error_E[expert])}")
        name = rf"e{i}"
    if step.root_mean_square is not None:
        name = rf"\frac{{e{i}}}{{\mathrm{{RMS}}(e)}}"
        raw = step.error_E[expert] / np.float32(step.root_mean_square)
        over, under = _plain(step.error_E[expert]), _plain(step.root_mean_square)
        lines.append(rf"{name} = \frac{{{over}}}{{{under}}} = {_latex(raw)}")
    if step.centre is not None:
        lines.append(
            rf"d{i} = {name} - \text{{mean}} = {_latex(step.direction_E[expert] + np.float32(step.centre))}"
            rf" - ({_plain(step.centre)}) = {_latex(step.direction_E[expert])}"
        )
        name = rf"d{i}"
    lines.append(_rate(step))
    lines.append(rf"b{i} \leftarrow b{i} + u \cdot {name}")
    moved = rf"{_plain(step.force.rate)} \cdot ({_latex(step.direction_E[expert])})"
    lines.append(f"= {_plain(step.before_E[expert])} + {moved} = {_plain(step.after_E[expert])}")
    return lines


def gathered(step: BiasStep, expert: int) -> str:
    """The same lines as one LaTeX formula."""
    return r"\begin{gathered}" + r" \\[.45em] ".join(formulas(step, expert)) + r"\end{gathered}"


def _rate(step: BiasStep) -> str:
    """The update rate u, and its formula where it decays."""
    force = step.force
    if force.is_frozen:
        return rf"u = 0 \quad (\text{{frozen from step {force.rule.freeze_after_step} on}})"
    start, n = _plain(force.rule.bias_update_rate), force.updates
    if force.rule.step_decay == "constant":
        return f"u = {start}"
    under = rf"\sqrt{{{n}}}" if force.rule.step_decay == "sqrt" else str(n)
    return rf"u = \frac{{{start}}}{{{under}}} = {_plain(force.rate)}"


def _plain(value: float | np.floating) -> str:
    return number(value)


def _latex(value: float | np.floating) -> str:
    text = number(value)
    return text if text.startswith("-") or text == "0" else f"+{text}"


def table(step: BiasStep, rows: pl.DataFrame) -> pl.DataFrame:
    """One row per expert: counts, direction, bias before and after the update, and the logged bias.

    rows: `queries.bias_step`. Biases are text, since a column of numbers would round them.
    """
    numbers, logged_E = bias_updates.table(step, rows), bias_updates.logged_biases(rows)
    is_sign = step.force.rule.update_rule == "sign" and step.centre is None
    missing = ["–"] * numbers.height
    same: list[bool] = [] if logged_E is None else step.equals(logged_E).tolist()
    return numbers.select(
        "expert",
        "tokens",
        pl.col("error").alias("mean − tokens"),
        pl.col("direction").cast(pl.Float64).alias("sign" if is_sign else "direction"),
        pl.Series("bias before", [number(b) for b in numbers["before"]]),
        pl.Series("bias after", [number(b) for b in numbers["after"]]),
        pl.Series("logged", missing if logged_E is None else [number(b) for b in logged_E]),
        pl.Series("equal", missing if logged_E is None else ["equal" if x else "NOT equal" for x in same]),
    )


def verdict(step: BiasStep, logged_E: Floats, where: str) -> tuple[bool, str]:
    """Whether every bias equals the logged one, and a sentence on it. where: e.g. "step 12 used"."""
    same = step.equals(logged_E)
    if same.all():
        exact = (
            "up to rounding, since floating-point sums depend on their order"
            if step.is_rounded
            else "bit for bit"
        )
        return True, f"Equal to what was logged: all {len(same)} biases are those that {where}, {exact}."
    wrong = np.flatnonzero(~same)
    pairs = ", ".join(
        f"expert {e}: {number(step.after_E[e])} recomputed, {number(logged_E[e])} logged" for e in wrong[:4]
    )
    more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
    return False, f"NOT equal to what was logged (the biases that {where}): {pairs}{more}."

"""The update of each simulated rule, as a formula beside its controls."""

from explorer.figures.simulation import RATE_SYMBOLS
from explorer.wording import decimal

UPDATES = {
    "none": r"b_i = 0",
    "sign": r"b_i \leftarrow b_i + u\,\mathrm{sign}(\bar c - c_i)",
    "proportional": r"b_i \leftarrow b_i + u\,(\bar c - c_i)\,/\,\bar c",
    "rms": r"b_i \leftarrow b_i + u\,(\bar c - c_i)\,/\,\mathrm{RMS}(\bar c - c)",
    "smebu": r"\begin{aligned} m_i &\leftarrow \beta m_i + (1-\beta)\,u\,(t_i - \bar t) \\"
    r" b_i &\leftarrow b_i + m_i \end{aligned}",
    "quantile": r"b_i \leftarrow (1-\rho)\,b_i + \rho\,b_i^{\ast}",
    "aux_loss": r"o_i \leftarrow o_i - \alpha\eta\,\partial L_{\mathrm{aux}}/\partial o_i",
}
"""Name of a rule in `figures.simulation.RULE_NAMES` -> LaTeX; source: `explorer/simulate`."""
SYMBOLS = {
    "smebu": "$t_i = \\tanh(\\kappa\\,(\\bar c - c_i)/\\bar c)$, $\\bar t$: its mean over the "
    "experts, $m_i$: the last move. $c_i$: load of expert i, $\\bar c$: uniform load",
    "quantile": "$b_i^{\\ast}$: the bias that would have balanced this step",
    "aux_loss": "$o_i$: offset of the expert's logits; no bias is used",
}
_RATES = {"quantile": r"\rho", "aux_loss": r"\alpha\eta"}
LOADS = "$c_i$: load of expert i, $\\bar c$: uniform load"
"""What the other formulas are made of."""


def update(rule: str, rate: float) -> str:
    """The update of a rule with the rate as the sentences and labels of the page write it."""
    if rule == "none":
        return UPDATES[rule]
    value = rf"\quad {_RATES.get(rule, 'u')}={decimal(rate)}"
    lines, end, _ = UPDATES[rule].partition(r" \end{aligned}")
    return lines + value + end


def rate_label(rule: str, side: str) -> str:
    """What the rate is called beside this rule."""
    kind = "Share" if rule == "quantile" else "Rate"
    return f"{kind} {RATE_SYMBOLS.get(rule, 'u')} of {side}"

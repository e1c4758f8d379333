"""The table that `compare` prints."""

from collections.abc import Callable, Sequence
from typing import Any

from explorer.config.model import ModelConfig
from explorer.config.run import RunConfig
from explorer.metrics import (
    PairVerdicts,
    is_resolved,
    p_value,
    pair_verdicts,
    t_interval,
    uniform_reference,
)
from explorer.recording import RunFolder
from explorer.wording import counted

COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("perplexity", "perplexity", 2),
    ("max_vio_batch", "MaxVio batch", 3),
    ("max_vio_global", "MaxVio global", 3),
    ("worst_max_vio", "worst layer", 3),
    ("tokens_per_second", "tokens/s", 0),
)


def comparison_table(rows: Sequence[dict[str, Any]], config: RunConfig) -> str:
    """One row per arm: means over seeds with 95 % t intervals, then paired differences to the first arm."""
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    by_arm = {arm: [row for row in rows if row["arm"] == arm] for arm in arms}
    table = [["balancer", "seeds", *(title for _, title, _ in COLUMNS)]]
    for arm in arms:
        cells = [_summary([row[name] for row in by_arm[arm]], digits) for name, _, digits in COLUMNS]
        table.append([by_arm[arm][0]["label"], str(len(by_arm[arm])), *cells])
    parts = [_align(table)]
    if config.model.num_moe_layers:
        parts.append(_references(rows, config))
    if len(arms) > 1 and len(by_arm[arms[0]]) > 1:
        parts.append(_differences(by_arm, arms))
    return "\n\n".join(parts)


def _summary(values: list[float | None], digits: int) -> str:
    """Mean ± half width; a dash if the metric does not exist, like the loads of a dense model."""
    numbers = [value for value in values if value is not None]
    return _interval(numbers, digits) if numbers else "–"


def _interval(values: list[float], digits: int) -> str:
    mean = sum(values) / len(values)
    interval = t_interval(values)
    return f"{mean:,.{digits}f}" + (f" ± {interval[1]:,.{digits}f}" if interval else "")


def _differences(by_arm: dict[str, list[dict[str, Any]]], arms: list[str]) -> str:
    """Paired differences to the first arm; significance is corrected over all pairs of arms."""
    first, figures = arms[0], COLUMNS[:3]
    verdicts = {name: _verdicts(by_arm, name) for name, _, _ in figures}
    table = [["paired difference to " + by_arm[first][0]["label"], *(title for _, title, _ in figures)]]
    for arm in arms[1:]:
        cells = [
            _difference(
                _paired(by_arm[arm], by_arm[first], name), digits, verdicts[name].survives(arm, first)
            )
            for name, _, digits in figures
        ]
        table.append([by_arm[arm][0]["label"], *cells])
    number = max(verdict.comparisons for verdict in verdicts.values())
    note = (
        f"Holm's correction, metric by metric, among {counted(number, 'pair')} of arms; “alone”: the 95 % "
        "interval excludes 0, but not after the correction. α and u are as given, not tuned for each rule."
    )
    return f"{_align(table)}\n{note}"


def _verdicts(by_arm: dict[str, list[dict[str, Any]]], name: str) -> PairVerdicts:
    return pair_verdicts(list(by_arm), lambda a, b: p_value(_paired(by_arm[a], by_arm[b], name)))


def _paired(rows: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]], name: str) -> list[float]:
    """The metric of one arm minus that of another, per seed."""
    other = {row["seed"]: row[name] for row in base}
    pairs = [(row[name], other.get(row["seed"])) for row in rows]
    return [a - b for a, b in pairs if a is not None and b is not None]


def _difference(values: list[float], digits: int, survives: bool) -> str:
    interval = t_interval(values)
    if interval is None:
        return "–"
    verdict = "" if survives else " alone" if is_resolved(interval) else " not significant"
    return f"{interval[0]:+.{digits}f} ± {interval[1]:.{digits}f}{verdict}"


def counted_tokens(folder: RunFolder, top_k: int) -> dict[str, int | None]:
    """Tokens counted in the last step and in the last held-out evaluation, in one layer.

    The configuration only has planned numbers: an evaluation uses whole sequences of every domain.
    """
    return {
        "tokens_in_last_step": _last_tokens(folder.read("expert_loads"), top_k),
        "held_out_tokens": _last_tokens(folder.read("eval_loads"), top_k),
    }


def _last_tokens(loads: Any, top_k: int) -> int | None:
    """loads: a frame of `RunFolder.read`."""
    if "split" in loads.columns:
        loads = loads.filter(split="held_out")
    last = loads.filter(step=loads["step"].max(), layer=loads["layer"].min()) if loads.height else loads
    return round(int(last["tokens"].sum()) / top_k) if last.height else None


def _references(rows: Sequence[dict[str, Any]], config: RunConfig) -> str:
    """Baselines for the counted tokens, or for the planned ones if a run folder lacks counts."""
    model, training = config.model, config.training
    batch, held_out = (
        _baseline(model, [int(row[name]) for row in rows if row.get(name)] or [planned])
        for name, planned in (
            ("tokens_in_last_step", training.tokens_per_step),
            ("held_out_tokens", training.final_eval_tokens),
        )
    )
    return (
        f"Uniform-random routing of independent tokens would show MaxVio {batch:.2g} on a batch and "
        f"{held_out:.2g} on the held-out text. Worst layer: the highest held-out MaxVio of one layer, mean "
        "over seeds of each run's own."
    )


def _baseline(model: ModelConfig, tokens: Sequence[int]) -> float:
    """Mean over runs of the random-routing baseline of their tokens."""
    values = [uniform_reference(model.num_experts, model.top_k, n, model.num_moe_layers)[0] for n in tokens]
    return sum(values) / len(values)


def _align(table: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    pad: Sequence[Callable[[str, int], str]] = (str.ljust, *(str.rjust,) * (len(widths) - 1))
    lines = ["  ".join(p(cell, w) for p, cell, w in zip(pad, row, widths, strict=True)) for row in table]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])

"""Sentences of the Microscope, computed from what is shown. Plain text, no markup."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from explorer.charts.captions import number
from explorer.metrics import is_resolved, t_interval
from explorer.ui.microscope.view import View, visible
from explorer.wording import counted


def join(parts: Sequence[str]) -> str:
    if len(parts) < 3:
        return " and ".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def experts(ids: Sequence[int]) -> str:
    names = [str(e) for e in sorted(ids)]
    if not names:
        return "no expert"
    return f"expert {names[0]}" if len(names) == 1 else f"experts {join(names)}"


def batch(view: View) -> str:
    """What the whole text shows: whom the bias moved, and who is called first most often."""
    where = f"After {counted(view.step, 'update')}, in layer {view.layer},"
    moved = view.moved
    if moved is None:
        first = f"{where} the scores alone decide." if view.bias is None else f"{where} a bias takes part."
    else:
        first = (
            f"{where} the bias gives {int(moved.sum()):,} of {view.num_tokens:,} tokens other experts than "
            "their scores alone would."
        )
    return f"{first} {_favourite(view)}"


def favourite(view: View) -> tuple[int, int, int]:
    """The expert that is first choice most often, how often, and of how many tokens; 0 for none."""
    firsts = view.after[:, 0] if view.after.shape[1] else view.after.ravel()
    counts = np.bincount(firsts[firsts < view.num_experts], minlength=view.num_experts)
    top = int(counts.argmax())
    return top, int(counts[top]), int(counts.sum())


def _favourite(view: View) -> str:
    """The expert that is first choice most often, and of what."""
    top, count, firsts = favourite(view)
    if not firsts:
        return "No expert takes any token."
    even = firsts / view.num_experts
    text = f"Expert {top} is first choice of {counted(count, 'token')}, where {_count(even)} would be even"
    if not view.text.is_known:
        return f"{text}."
    domains = view.text.domains
    named = Counter(
        domains[t] for t in range(view.num_tokens) if (c := view.chosen_by(t)) and c[0] == top
    ).most_common(1)[0]
    base = sum(domain == named[0] for domain in domains[: view.num_tokens]) / view.num_tokens
    return (
        f"{text}; {number(100 * named[1] / count)} % of them are {named[0]}, which is "
        f"{number(100 * base)} % of all."
    )


def token(view: View, at: int, table: pl.DataFrame) -> str:
    """What happens to one token."""
    after, before = view.chosen_by(at), view.would_choose(at)
    name = f"Token {at}, “{visible(view.text.texts[at])}”"
    if view.text.is_known:
        name += f" of {view.text.domains[at]},"
    if view.before is None:
        return f"{name} goes to {experts(after)}."
    if view.bias is None:
        return f"{name} goes to {experts(after)}, by its scores alone."
    if set(before) == set(after):
        order = "" if before[:1] == after[:1] else " Only their order changes."
        return f"{name} goes to {experts(after)}, with and without the bias.{order}"
    biases = dict(table.select("expert", "bias").rows())
    gained = [e for e in after if e not in before]
    lost = [e for e in before if e not in after]
    parts = [f"brings in {_with_bias(gained, biases)}"] if gained else []
    parts += [f"pushes out {_with_bias(lost, biases)}"] if lost else []
    return f"{name} would go to {experts(before)} by its scores alone; the bias {join(parts)}."


def _with_bias(ids: Sequence[int], biases: Mapping[int, float]) -> str:
    return join([f"expert {e} ({biases[e]:+.3f})" for e in sorted(ids)])


def texts(found: pl.DataFrame, expert: int, tokens: int, total: int) -> str:
    """Which texts an expert takes most often."""
    if found.is_empty():
        return f"Expert {expert} took none of the {total:,} probe tokens."
    rows = found.head(3).to_dicts()
    named = [f"“{visible(row['text'])}” ({row['tokens']} of {row['occurrences']})" for row in rows]
    return f"Expert {expert} took {tokens:,} of {total:,} probe tokens, most often {join(named)}."


def domains(found: pl.DataFrame, expert: int) -> str:
    """Which domain an expert serves most and least."""
    usable = found.filter(pl.col("load_ratio").is_not_null())
    if usable.is_empty() or not usable["tokens"].sum():
        return f"Expert {expert} serves no domain of the probe."
    ranked = usable.sort("load_ratio", "domain", descending=[True, False])
    top, low = ranked.row(0, named=True), ranked.row(-1, named=True)
    text = f"Expert {expert} takes {number(top['load_ratio'])} times its uniform share of {top['domain']}"
    return text + (
        f" and {number(low['load_ratio'])} times of {low['domain']}." if ranked.height > 1 else "."
    )


def neighbours(rows: pl.DataFrame, expert: int, chance: float) -> str:
    """With whom an expert is chosen most often."""
    if rows.is_empty() or rows["share"].null_count() == rows.height:
        return f"Expert {expert} took no token of the probe, so it has no company."
    top = rows.row(0, named=True)
    told = f"Expert {expert} shares {_percent(top['share'])} of its tokens with {top['name']}"
    return f"{told}; {_expected(top['expected'], chance)}"


def onward(rows: pl.DataFrame, expert: int, layer: int, chance: float) -> str:
    """Where an expert's tokens go in another layer."""
    if rows.is_empty() or rows["share"].null_count() == rows.height:
        return f"Expert {expert} took no token of the probe."
    top = rows.row(0, named=True)
    told = f"{_percent(top['share'])} of the tokens of expert {expert} go to {top['name']} in layer {layer}"
    return f"{told}; {_expected(top['expected'], chance)}"


def _expected(from_loads: float, chance: float) -> str:
    return f"{_percent(from_loads)} would follow from the loads alone, {_percent(chance)} from even choices."


def _percent(share: float) -> str:
    return f"{number(100 * share)} %"


def _count(value: float) -> str:
    """Whole numbers as they are, others with three digits."""
    return f"{value:,.0f}" if float(value).is_integer() else number(value)


def history(one: pl.DataFrame, expert: int, step: int, *, what: str) -> str:
    """An expert's load or bias at the probe and at the end. one: x, value (NULL: not finite, or no load)."""
    usable = one.filter(pl.col("value").is_not_null())
    missing = "is unknown (nothing was routed)" if what == "load" else "is not finite (NaN or infinite)"
    if one.is_empty():
        return f"No {what} of expert {expert} was recorded."
    if usable.is_empty():
        return f"The {what} of expert {expert} {missing} in any step."
    last = usable.sort("x").row(-1, named=True)
    odd = one.filter(pl.col("value").is_null())["x"].sort()
    since = odd.filter(odd > last["x"])
    inside = usable.filter(pl.col("x") <= step)
    then = (
        (usable if inside.is_empty() else inside)
        .sort("x")
        .row(-1 if not inside.is_empty() else 0, named=True)
    )
    if what == "load":
        told = [f"{number(row['value'])} times the uniform share" for row in (then, last)]
    else:
        told = [f"{row['value']:+.3f}" for row in (then, last)]
    start = f"The {what} of expert {expert} is {told[0]} around step {min(step, int(then['x'])):,}"
    if len(since):
        return f"{start}; it {missing} from step {int(since[0]):,} to the end."
    end = f" and {told[1]} at the end." if last["x"] > then["x"] else "."
    return start + end + (f" In some steps on the way it {missing}." if len(odd) else "")


def methods(rows: Sequence[tuple[str, Mapping[int | None, float]]]) -> str:
    """How far apart the domains are with every method, and whether the first two differ over their seeds.

    rows: label, and the mean distance of every seed (mean over layers). Without two seeds in common the
    methods are listed and not ranked.
    """
    known = [
        (label, {seed: d for seed, d in distances.items() if np.isfinite(d)}) for label, distances in rows
    ]
    known = [(label, distances) for label, distances in known if distances]
    if not known:
        return "No distance between domains can be given: each needs two domains with tokens."
    scale = "0 would be alike, 1 no expert in common"
    common = set.intersection(*(set(distances) for _, distances in known))
    seeds = common or None
    means = {label: _mean([distances[seed] for seed in seeds or distances]) for label, distances in known}
    ordered = sorted(known, key=lambda entry: -means[entry[0]])
    parts = [f"{number(means[label])} with {label}" for label, _ in ordered]
    counted = f"{len(common)} seeds" if len(common) > 1 else "one seed" if common else "different seeds"
    text = f"The mean distance between two domains, over all layers and {counted}, is {join(parts)}; {scale}."
    if len(known) == 1:
        return text
    interval = t_interval([ordered[0][1][s] - ordered[1][1][s] for s in common])
    if interval is None:
        return f"{text} So few seeds do not rank methods."
    verdict = "significant" if is_resolved(interval) else "not significant"
    return (
        f"{text} Between the first two the difference is {number(abs(interval[0]))} ± {number(interval[1])}, "
        f"{verdict}."
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def panel(frame: pl.DataFrame, row: Mapping[str, float | None] | None) -> str:
    """One method's panel: its strongest specialist, and what experts tell about domains."""
    live = frame.filter(pl.col("tokens") > 0) if not frame.is_empty() else frame
    if live.is_empty():
        return "No loads by domain were recorded."
    top = live.sort("load_ratio", "domain", "expert", descending=[True, False, False]).row(0, named=True)
    times = number(top["load_ratio"])
    text = f"Strongest: expert {top['expert']} takes {times} × its share of {top['domain']}."
    if row is None or row["information"] is None or row["chance"] is None:
        return text
    told, noise = number(float(row["information"])), number(float(row["chance"]))
    return f"{text} An expert tells {told} bits of the domain; counting noise alone would tell {noise}."


def settling(frame: pl.DataFrame, layer: int) -> str:
    """How early the final choice was made in a layer."""
    rows = (
        frame.filter((pl.col("layer") == layer) & pl.col("saturation").is_not_null()).sort("step").to_dicts()
    )
    if len(rows) < 2:
        return "With a single probe nothing can be said of choices that settle."
    told = [
        f"{number(100 * row['saturation'])} % after {counted(row['step'], 'update')}" for row in rows[:-1]
    ]
    chance = rows[0]["chance"]
    tail = "" if chance is None else f"; {number(100 * chance)} % would be chance"
    last = f"Of the choices that layer {layer} makes after {counted(rows[-1]['step'], 'update')}"
    return f"{last} it had made {join(told)}{tail}."

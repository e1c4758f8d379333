"""Sentences on the probe batch, computed from what is shown. Plain text, no markup."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from explorer.charts.captions import number
from explorer.figures.probe_batch import RoutedBatch, visible
from explorer.wording import and_list, counted, domain_name, signed


def experts(ids: Sequence[int]) -> str:
    """`expert 3`, `experts 1 and 3`, `no expert`."""
    names = [str(e) for e in sorted(ids)]
    if not names:
        return "no expert"
    return f"expert {names[0]}" if len(names) == 1 else f"experts {and_list(names)}"


def overview(batch: RoutedBatch) -> str:
    """The whole batch: how many tokens the bias moved, and the expert with the most first choices."""
    if batch.logits is None:
        return f"Routes of {counted(batch.num_tokens, 'token')} in layer {batch.layer}. {_busiest(batch)}"
    where = f"After {counted(batch.step, 'update')}, in layer {batch.layer},"
    moved = batch.moved
    if moved is None:
        first = f"{where} the scores alone decide." if batch.bias is None else f"{where} a bias is applied."
    else:
        first = (
            f"{where} the bias changes the experts of {int(moved.sum()):,} of {batch.num_tokens:,} tokens."
        )
    return f"{first} {most_frequent_sentence(batch)}"


def most_frequent(batch: RoutedBatch) -> tuple[int, int, int]:
    """The expert that is first choice most often, for how many tokens, and of how many tokens.

    Of routes without order, every slot counts. (0, 0, 0) where no token has an expert.
    """
    is_ordered = batch.logits is not None and batch.after.shape[1]
    firsts = batch.after[:, 0] if is_ordered else batch.after.ravel()
    counts = np.bincount(firsts[firsts < batch.num_experts], minlength=batch.num_experts)
    top = int(counts.argmax())
    return top, int(counts[top]), int(counts.sum())


def most_frequent_sentence(batch: RoutedBatch) -> str:
    """The expert that is first choice most often, and the domain that most of its tokens come from."""
    top, count, firsts = most_frequent(batch)
    if not firsts:
        return "No token has an expert."
    even = firsts / batch.num_experts
    text = f"Expert {top} is the first choice of {counted(count, 'token')} ({_count(even)} would be even)"
    if not batch.text.is_known:
        return f"{text}."
    domains = batch.text.domains
    domain, own = Counter(
        domains[t] for t in range(batch.num_tokens) if (c := batch.chosen_by(t)) and c[0] == top
    ).most_common(1)[0]
    base = sum(name == domain for name in domains[: batch.num_tokens]) / batch.num_tokens
    of_them = f"{_percent(own / count)} of them are {domain_name(domain)}"
    return f"{text}; {of_them}, against {_percent(base)} of all tokens."


def _busiest(batch: RoutedBatch) -> str:
    """The expert with most assignments."""
    top, count, slots = most_frequent(batch)
    if not slots:
        return "No token has an expert."
    even = slots / batch.num_experts
    return f"Expert {top} receives most: {counted(count, 'token')} ({_count(even)} would be even)."


def token(batch: RoutedBatch, at: int, table: pl.DataFrame) -> str:
    """Where one token is routed, and what the bias changes. table: of `probe_batch.token_table`."""
    after, before = batch.chosen_by(at), batch.would_choose(at)
    name = f"Token {at}, “{visible(batch.text.texts[at])}”"
    if batch.text.is_known:
        name += f" of {domain_name(batch.text.domains[at])},"
    if batch.before is None:
        return f"{name} is routed to {experts(after)}."
    if batch.bias is None:
        return f"{name} is routed to {experts(after)}, by its scores alone."
    if set(before) == set(after):
        order = "" if before[:1] == after[:1] else " Only their order changes."
        return f"{name} is routed to {experts(after)}, with and without the bias.{order}"
    biases = dict(table.select("expert", "bias").rows())
    gained = [e for e in after if e not in before]
    lost = [e for e in before if e not in after]
    parts = [f"brings in {_with_bias(gained, biases)}"] if gained else []
    parts += [f"pushes out {_with_bias(lost, biases)}"] if lost else []
    return f"{name} would go to {experts(before)} by its scores alone; the bias {and_list(parts)}."


def _with_bias(ids: Sequence[int], biases: Mapping[int, float]) -> str:
    return and_list([f"expert {e} ({signed(biases[e], 3)})" for e in sorted(ids)])


def mismatch_sentence(batch: RoutedBatch) -> str:
    """A warning if recorded choices do not follow from the recorded logits and biases; else empty."""
    if not batch.mismatched:
        return ""
    return (
        f"For {batch.mismatched} of {batch.num_tokens} tokens the recorded experts are not those that "
        "follow from the recorded logits and biases; the chart marks the recorded experts as chosen."
    )


def texts(frame: pl.DataFrame, expert: int, tokens: int, total: int) -> str:
    """The texts that an expert receives most often. frame: of `queries.probe.expert_texts`."""
    if frame.is_empty():
        return f"Expert {expert} received none of the {total:,} probe tokens."
    rows = frame.head(3).to_dicts()
    names = [f"“{visible(row['text'])}” ({row['tokens']} of {row['occurrences']})" for row in rows]
    return f"Expert {expert} received {tokens:,} of {total:,} probe tokens, most often {and_list(names)}."


def domains(frame: pl.DataFrame, expert: int) -> str:
    """The domains with an expert's highest and lowest load. frame: of `queries.probe.expert_domains`."""
    usable = frame.filter(pl.col("load_ratio").is_not_null())
    if usable.is_empty() or not usable["tokens"].sum():
        return f"Expert {expert} received no token of any domain of the probe."
    ranked = usable.sort("load_ratio", "domain", descending=[True, False])
    top, low = ranked.row(0, named=True), ranked.row(-1, named=True)
    most, least = (f"{number(row['load_ratio'])}×" for row in (top, low))
    text = f"Expert {expert} receives {most} the uniform load in {domain_name(top['domain'])}"
    return text + (f" and {least} in {domain_name(low['domain'])}." if ranked.height > 1 else ".")


def coselected(rows: pl.DataFrame, expert: int, even: float) -> str:
    """The expert of the same layer that shares most tokens. even: the share under uniform routing."""
    if rows.is_empty() or rows["share"].null_count() == rows.height:
        return f"Expert {expert} received no token of the probe, so it has no co-selected experts."
    top = rows.row(0, named=True)
    text = f"Expert {expert} shares {_percent(top['share'])} of its tokens with {top['name']}"
    return f"{text}; {_expected(top['expected'], even)}"


def across_layers(rows: pl.DataFrame, expert: int, layer: int, even: float) -> str:
    """The expert of another layer that receives most of an expert's tokens."""
    if rows.is_empty() or rows["share"].null_count() == rows.height:
        return f"Expert {expert} received no token of the probe."
    top = rows.row(0, named=True)
    text = f"{_percent(top['share'])} of the tokens of expert {expert} go to {top['name']} in layer {layer}"
    return f"{text}; {_expected(top['expected'], even)}"


def _expected(from_loads: float, even: float) -> str:
    return f"the loads alone predict {_percent(from_loads)}, uniform routing {_percent(even)}."


def _percent(share: float) -> str:
    return f"{number(100 * share)} %"


def _count(value: float) -> str:
    """Whole numbers unchanged, others with three digits."""
    return f"{value:,.0f}" if float(value).is_integer() else number(value)


def history(one: pl.DataFrame, expert: int, step: int, *, quantity: str) -> str:
    """An expert's load or bias at the probe and at the end of training.

    one: x, value (NULL: not finite, or no load). quantity: "load" or "bias".
    """
    usable = one.filter(pl.col("value").is_not_null())
    missing = "is unknown (nothing was routed)" if quantity == "load" else "is not finite (NaN or infinite)"
    if one.is_empty():
        return f"No {quantity} of expert {expert} was recorded."
    if usable.is_empty():
        return f"The {quantity} of expert {expert} {missing} in any step."
    last = usable.sort("x").row(-1, named=True)
    gaps = one.filter(pl.col("value").is_null())["x"].sort()
    since = gaps.filter(gaps > last["x"])
    inside = usable.filter(pl.col("x") <= step)
    then = (
        (usable if inside.is_empty() else inside)
        .sort("x")
        .row(-1 if not inside.is_empty() else 0, named=True)
    )
    if quantity == "load":
        values = [f"{number(row['value'])}× the uniform load" for row in (then, last)]
    else:
        values = [f"{signed(row['value'], 3)}" for row in (then, last)]
    start = f"The {quantity} of expert {expert} is {values[0]} around step {min(step, int(then['x'])):,}"
    if len(since):
        return f"{start}; it {missing} from step {int(since[0]):,} to the end."
    end = f" and {values[1]} at the end." if last["x"] > then["x"] else "."
    return start + end + (f" In some steps between, it {missing}." if len(gaps) else "")


def saturation(frame: pl.DataFrame, layer: int) -> str:
    """The share of the final choices of a layer that each earlier probe already made.

    frame: of `queries.specialisation.saturation`.
    """
    rows = (
        frame.filter((pl.col("layer") == layer) & pl.col("saturation").is_not_null()).sort("step").to_dicts()
    )
    if len(rows) < 2:
        return "Router saturation needs two probes; this run has one."
    shares = [f"{_percent(row['saturation'])} after {counted(row['step'], 'update')}" for row in rows[:-1]]
    chance = rows[0]["chance"]
    tail = "" if chance is None else f"; random routing gives {_percent(chance)}"
    last = counted(rows[-1]["step"], "update")
    start = f"Share of the choices of layer {layer} after {last} that earlier probes already made"
    return f"{start}: {and_list(shares)}{tail}."

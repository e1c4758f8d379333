"""Sentences on two routings of the same tokens, computed from the counts. Plain text, no markup."""

from collections.abc import Mapping

import numpy as np

from explorer.charts.captions import number
from explorer.figures.layer_fit import percent, shift_sentence
from explorer.figures.two_routings import Comparison
from explorer.routing.agreement import Agreement
from explorer.wording import counted


def overlap(pair: Comparison, *, relabelled: bool) -> str:
    """Lowest and highest shared assignments over the layers, and a shift of layers where one fits better."""
    low, high = _ends({n: one.overlap for n, one in pair.layers.items()})
    share = f"{low} of the assignments in every layer"
    if low != high:
        share = f"{low} to {high} of the assignments per layer"
    text = f"{pair.names[0]} and {pair.names[1]} share {share}"
    chance = _ends({n: one.overlap_by_loads for n, one in pair.layers.items()})
    text += f"; their loads alone predict {_range(chance)}"
    if relabelled:
        matched = _ends({n: one.matched_overlap for n, one in pair.layers.items()})
        text += f", and relabelling the experts gives {_range(matched)}"
    text += "."
    if pair.mismatched:
        text += (
            f" For {counted(pair.mismatched, 'token')} the recorded experts do not follow from the recorded "
            "scores and biases."
        )
    return text + pair.note + (shift_sentence(pair.shift) if pair.shift else "")


def differing(layers: Mapping[int, Agreement]) -> str:
    """The layers with the fewest and most tokens that differ, as counts."""
    most = max(layers, key=lambda n: (layers[n].differing, -n))
    least = min(layers, key=lambda n: (layers[n].differing, n))
    top, low = layers[most], layers[least]
    if not top.differing:
        return f"All {top.tokens:,} tokens go to the same experts in every layer."
    text = (
        f"{top.differing:,} of {top.tokens:,} tokens ({percent(top.differing_share)}) differ in layer {most}"
    )
    if most == least:
        return text + "."
    return f"{text}, {low.differing:,} ({percent(low.differing_share)}) in layer {least}."


def probes(by_probe: list[tuple[int, dict[int, Agreement]]], layer: int, *, fixed: int | None) -> str:
    """Shared assignments of one layer at the first and the last probe."""
    shares = [(step, layers[layer].overlap) for step, layers in by_probe if layer in layers]
    if not shares:
        return f"Layer {layer} was not probed in both."
    parts = [f"{percent(share)} after {counted(step, 'update')}" for step, share in (shares[0], shares[-1])]
    against = "" if fixed is None else f" with the probe after {counted(fixed, 'update')}"
    return f"Shared assignments in layer {layer}{against}: {parts[0]}, {parts[1]}."


def differing_at_probes(by_probe: list[tuple[int, dict[int, Agreement]]], layer: int) -> str:
    """The probes at which fewest and most tokens of one layer differ."""
    counts = {step: layers[layer] for step, layers in by_probe if layer in layers}
    if not counts:
        return f"Layer {layer} was not probed in both."
    most = max(counts, key=lambda step: (counts[step].differing, -step))
    least = min(counts, key=lambda step: (counts[step].differing, step))
    top, low = counts[most], counts[least]
    text = f"Tokens of layer {layer} that differ: {low.differing:,} of {low.tokens:,} after "
    text += f"{counted(least, 'update')}"
    return f"{text}." if most == least else f"{text}, {top.differing:,} after {counted(most, 'update')}."


def swaps(agreement: Agreement) -> str:
    """The pair of experts that most tokens swap."""
    left, gained = np.unravel_index(int(agreement.swaps_EE.argmax()), agreement.swaps_EE.shape)
    top, back = int(agreement.swaps_EE[left, gained]), int(agreement.swaps_EE[gained, left])
    verb = "swaps" if agreement.differing == 1 else "swap"
    return (
        f"{counted(agreement.differing, 'token')} of {agreement.tokens:,} {verb} experts; most often expert "
        f"{left} for expert {gained} ({counted(top, 'token')}, {back:,} the other way)."
    )


def loads(agreement: Agreement) -> str:
    """Busiest load of both routings, and the expert whose load changes most."""
    change = agreement.other_loads_E - agreement.loads_E
    expert = int(np.abs(change).argmax())
    tops = [
        number(float(loads_E.max()) * agreement.num_experts / max(int(loads_E.sum()), 1))
        for loads_E in (agreement.loads_E, agreement.other_loads_E)
    ]
    text = f"Busiest expert: {tops[0]}× the uniform load in the first, {tops[1]}× in the second routing."
    if not change[expert]:
        return f"{text} No load changes."
    return f"{text} Expert {expert} changes most, by {_signed(int(change[expert]))} tokens."


def _signed(number: int) -> str:
    """With a real minus sign."""
    return f"{number:+,d}".replace("-", "−")


def _ends(values: Mapping[int, float]) -> tuple[str, str]:
    return percent(min(values.values())), percent(max(values.values()))


def _range(ends: tuple[str, str]) -> str:
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"

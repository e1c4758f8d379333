"""Two routings of the same probe tokens: whose they are, their routes, and why some cannot be compared."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from explorer.figures.arm_set import ArmSet
from explorer.figures.arms import Run
from explorer.figures.layer_fit import shift_sentence
from explorer.figures.probe_batch import probe_document
from explorer.figures.store import Trace
from explorer.figures.token_identity import OTHER_TOKENS, SharedTokens, shared_tokens
from explorer.queries import probe as queries
from explorer.routing import routing_math
from explorer.routing.agreement import Agreement, LayerShift, agreement, layer_shift
from explorer.routing.precision import rounded
from explorer.routing.routing_math import RouterSettings, settings_of
from explorer.wording import counted

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
BIASES = {"recorded": "", "bf16": "bias in bf16", "fp16": "bias in fp16", "none": "without the bias"}
"""How the second routing holds its bias: name in the address -> what a label adds."""
TYPES = {"bf16": "bfloat16", "fp16": "float16"}
NO_SHARED_LAYER = "The two routings share no layer number."
NO_ROUTES = (
    "One of the two probes keeps no route per token. Imports of counts have none; traces of routes and runs "
    "with a probe batch have."
)


@dataclass(frozen=True, kw_only=True)
class Side:
    """One routing: a probe of a run."""

    run_id: str
    step: int
    """Updates before the probe."""
    bias: str = "recorded"
    """One of BIASES; anything but `recorded` is recomputed from the recorded scores and biases."""

    def label(self, run: Run) -> str:
        """`loss-free 0.003 after 800 updates, bias in bf16`; the name of an imported trace."""
        if run.is_imported:
            return run.title or run.run_id
        name = f"{run.short} after {counted(self.step, 'update')}"
        return f"{name}, {BIASES[self.bias]}" if BIASES[self.bias] else name


@dataclass(frozen=True, kw_only=True)
class TwoRoutings:
    """Two routings, and the MoE layer of the panels that show one."""

    first: Side
    second: Side
    layer: int

    @property
    def is_one_training(self) -> bool:
        """Whether expert numbers of both name the same experts."""
        return self.first.run_id == self.second.run_id

    @property
    def is_rebiased(self) -> bool:
        """Whether the second is recomputed from scores of the same run."""
        return self.is_one_training and self.second.bias != "recorded"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The two routings, compared layer by layer."""

    labels: tuple[str, str]
    """Legend labels."""
    names: tuple[str, str]
    """The same in a sentence, where the second need not repeat the first."""
    layers: dict[int, Agreement]
    """Layer -> agreement, for the layers that both have."""
    shift: LayerShift | None
    """Where other pairs of layers fit clearly better."""
    mismatched: int = 0
    """Tokens, over all layers, whose recorded experts do not follow from the recorded scores and biases."""
    note: str = ""
    """How the tokens were matched, where that is an assumption."""


def runs_of(arms: ArmSet, settings: TwoRoutings) -> tuple[Run, Run]:
    """The runs of both sides, which may be the same."""
    by_id = {run.run_id: run for run in arms.runs}
    return by_id[settings.first.run_id], by_id[settings.second.run_id]


def compare(
    trace: Trace,
    arms: ArmSet,
    settings: TwoRoutings,
    *,
    layer: int | None = None,
    with_shift: bool = False,
    steps: Sequence[int] = (),
) -> Comparison | str:
    """Compare two routings; or the sentence that says why they cannot be.

    layer: only this one; with_shift: whether shifted layers are searched for; steps: of all probes that will
    be compared, which one statement then reads.
    """
    one, other = runs_of(arms, settings)
    if layer is not None and not (layer in one.layers and layer in other.layers):
        return f"The two routings do not share layer {layer}."
    tokens = _same_tokens(trace, one, other)
    if isinstance(tokens, str):
        return tokens
    first = _routes(trace, one, settings.first, layer, steps, scored=settings.is_rebiased)
    second = _routes(trace, other, settings.second, layer, steps)
    if isinstance(first, str):
        return first
    if isinstance(second, str):
        return second
    routes = _of_tokens(first, second, tokens)
    if routes is None:
        return OTHER_TOKENS
    experts = one.num_experts
    shift = layer_shift(*routes, experts) if with_shift else None
    shared = [n for n in routes[0] if n in routes[1]]
    if not shared:
        return NO_SHARED_LAYER + (shift_sentence(shift) if shift else "")
    return Comparison(
        labels=_labels(settings, one, other),
        names=_names(settings, one, other),
        layers={n: agreement(routes[0][n], routes[1][n], experts) for n in shared},
        shift=shift,
        mismatched=first.mismatched + second.mismatched,
        note="" if tokens is None else tokens.note,
    )


def _labels(settings: TwoRoutings, one: Run, other: Run) -> tuple[str, str]:
    """Legend labels that differ: by seed, or by run id, where the rules and probes are alike."""
    labels = settings.first.label(one), settings.second.label(other)
    if labels[0] != labels[1]:
        return labels
    if settings.is_one_training:
        return labels[0], f"{labels[1]}, again"
    marks = ("seed " + str(one.seed), "seed " + str(other.seed))
    marks = marks if marks[0] != marks[1] else (one.run_id, other.run_id)
    return f"{labels[0]}, {marks[0]}", f"{labels[1]}, {marks[1]}"


def _names(settings: TwoRoutings, one: Run, other: Run) -> tuple[str, str]:
    first, second = _labels(settings, one, other)
    if not settings.is_one_training:
        return first, second
    bias = BIASES[settings.second.bias]
    if settings.second.step == settings.first.step:
        return first, f"the same {'with its ' if bias.startswith('bias') else ''}{bias or 'routing'}"
    return first, f"its probe after {counted(settings.second.step, 'update')}" + (f", {bias}" if bias else "")


def over_probes(
    trace: Trace, arms: ArmSet, settings: TwoRoutings, most: int = 12
) -> list[tuple[int, dict[int, Agreement]]]:
    """(updates, layer -> agreement) at the probes: of both, or of the first against every probe of one run.

    Two probes of one run: each probe of the second is compared with the first. Otherwise each probe is
    compared with that of the other after as many updates. At most `most` probes, evenly chosen.
    """
    one, other = runs_of(arms, settings)
    is_fixed = settings.is_one_training and not settings.is_rebiased
    steps = _probed(trace, other)
    if not settings.is_one_training:
        steps = [step for step in steps if step in _probed(trace, one)]
    if len(steps) < 2:
        return []
    if len(steps) > most:
        steps = [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]
    by_probe = []
    # The probes of the page are read by its other panels.
    further = [step for step in steps if step not in (settings.first.step, settings.second.step)]
    for step in steps:
        first = Side(run_id=one.run_id, step=settings.first.step if is_fixed else step)
        second = Side(run_id=other.run_id, step=step, bias=settings.second.bias)
        now = TwoRoutings(first=first, second=second, layer=settings.layer)
        pair = compare(trace, arms, now, steps=further)
        if isinstance(pair, Comparison):
            by_probe.append((step, pair.layers))
    return by_probe


def _probed(trace: Trace, run: Run) -> list[int]:
    return trace.ask(queries.probed_steps, run, run.layers[0])


def _same_tokens(trace: Trace, one: Run, other: Run) -> SharedTokens | str | None:
    """The tokens that two runs share, None for all of one run; or why there are no such tokens."""
    if one.run_id == other.run_id:
        return None
    tokens = shared_tokens(probe_document(trace, one), probe_document(trace, other))
    if not isinstance(tokens, str) and one.num_experts != other.num_experts:
        return f"The runs have {one.num_experts} and {other.num_experts} experts, so no expert corresponds."
    return tokens


@dataclass(frozen=True, kw_only=True)
class _Routes:
    layers: dict[int, Ids]
    """Layer -> [T, K]."""
    mismatched: int = 0


def _routes(
    trace: Trace, run: Run, side: Side, layer: int | None, steps: Sequence[int], *, scored: bool = False
) -> _Routes | str:
    """The routes of one side, in one MoE layer or all; or why there are none. steps: as for `compare`.

    All layers are read for one, too: a view has panels of both kinds. scored: take recorded routes from the
    probes with scores, which the other side reads anyway.
    """
    routes = _all_routes(trace, run, side, steps, scored)
    if isinstance(routes, str) or layer is None:
        return routes
    only = {n: ids for n, ids in routes.layers.items() if n == layer}
    return replace(routes, layers=only) if only else NO_ROUTES


def _all_routes(trace: Trace, run: Run, side: Side, steps: Sequence[int], scored: bool) -> _Routes | str:
    probes = tuple(steps) if side.step in steps else (side.step,)
    if side.bias == "recorded" and scored:
        read = trace.ask(queries.layer_probes_at, run, probes).get(side.step, {})
        return _Routes(layers={n: _slots(p, run.num_experts) for n, p in read.items()}) if read else NO_ROUTES
    if side.bias == "recorded":
        recorded = trace.ask(queries.routes_at, run, probes, run.num_experts).get(side.step)
        return _Routes(layers=recorded) if recorded else NO_ROUTES
    layers, mismatched = {}, 0
    settings = settings_of(json.loads(run.config), top_k=run.top_k, step=side.step)
    for layer, probe in trace.ask(queries.layer_probes_at, run, probes).get(side.step, {}).items():
        if probe.bias is None or settings.score_func is None or not settings.chooses:
            return cannot_recompute(run, side)
        scores = routing_math.scores(probe.logits, settings.score_func)
        exact = _choose(scores, probe.bias, settings)
        mismatched += int((~routing_math.same_sets(exact, probe.routes, probe.num_experts)).sum())
        held = None if side.bias == "none" else rounded(probe.bias, TYPES[side.bias])
        layers[layer] = _choose(scores, held, settings)
    return _Routes(layers=layers, mismatched=mismatched) if layers else NO_ROUTES


def _slots(probe: queries.LayerProbe, num_experts: int) -> Ids:
    """The recorded experts of a probe, with `num_experts` in an empty slot."""
    return np.where(probe.routes < probe.num_experts, probe.routes, num_experts)


def _of_tokens(
    first: _Routes, second: _Routes, tokens: SharedTokens | None
) -> tuple[dict[int, Ids], dict[int, Ids]] | None:
    """The routes of the shared tokens; None where a probe has fewer tokens than its document says."""
    if tokens is None:
        sizes = {len(ids) for ids in (*first.layers.values(), *second.layers.values())}
        return (first.layers, second.layers) if len(sizes) == 1 else None
    picked = []
    for side, places in ((first, tokens.first_C), (second, tokens.second_C)):
        if any(len(ids) <= places.max() for ids in side.layers.values()):
            return None
        picked.append({layer: ids[places] for layer, ids in side.layers.items()})
    return picked[0], picked[1]


def _choose(scores_TE: Floats, bias_E: Floats | None, settings: RouterSettings) -> Ids:
    return routing_math.choose(routing_math.compared(scores_TE, bias_E, settings), scores_TE, settings)


def cannot_recompute(run: Run, side: Side) -> str:
    """The sentence on a routing whose selection does not follow from scores and a bias."""
    return (
        f"{run.short} has no routing {BIASES[side.bias]}: it uses no bias after "
        f"{counted(side.step, 'update')}, or its selection does not follow from the recorded scores."
    )

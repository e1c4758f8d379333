"""Panels of lessons that are made for one question: chance, one step of the bias rule, seeds, simulations."""

from functools import partial

import numpy as np
import polars as pl
import streamlit as st

from explorer import metrics
from explorer.charts import captions, lessons, loads
from explorer.course.lessons import Key
from explorer.figures import bias_step as bias_step_text
from explorer.figures import simulation
from explorer.figures.panel import Question
from explorer.figures.views import rule_change
from explorer.figures.views.playground_choices import BY_KEY, rule_of, scores_of
from explorer.metrics import power
from explorer.routing.bias_step import BiasStep
from explorer.ui.lessons import bias as lesson_bias
from explorer.ui.lessons import facts_quality as lesson_facts_quality
from explorer.ui.lessons import runs as lesson_runs
from explorer.ui.lessons import simulations as lesson_simulations
from explorer.ui.lessons.panels import ARM, HEIGHT, LAYER, Elsewhere, Keys, panel
from explorer.ui.shared import bias_step as bias_update
from explorer.ui.shared import cached, show, specs

CONTROLS = {key: Key(kind="text", words=f"the Playground's control {key}") for key in (*BY_KEY, "seed")}
SIDE = Key(kind="text", words="A or B", needed=True)


@panel("chance", arm=ARM)
def chance(keys: Keys, name: str) -> Elsewhere | None:
    """MaxVio against the number of tokens counted together, measured (seed 0) and by random routing."""
    arm = lesson_runs.find(keys["arm"], 0)
    run = arm.first
    groups = cached.computation_batches(run.version)
    measured = groups.group_by("sequences", maintain_order=True).agg(pl.col("tokens", "max_vio").mean())
    held_out = round(int(cached.held_out_figures(run.version)["tokens"][0]) / run.top_k)
    whole = cached.summary((run.version,))
    rows = [
        (round(tokens), violation, f"{sequences} sequence{'s' if sequences > 1 else ''}")
        for sequences, tokens, violation in measured.rows()
    ]
    counted = cached.references(run.version)["tokens"] or run.tokens_per_step
    rows.append((round(counted), float(whole["max_vio_batch"][0]), "a training step"))
    rows.append((held_out, float(whole["max_vio_global"][0]), "the held-out text"))
    frame = pl.DataFrame(
        [(n, v, metrics.uniform_reference(run.num_experts, run.top_k, n)[0], w) for n, v, w in rows],
        schema={"tokens": pl.Int64, "max_vio": pl.Float64, "uniform_mean": pl.Float64, "words": pl.String},
        orient="row",
    )
    first, last = frame.row(0, named=True), frame.row(-1, named=True)
    show.figure(
        specs.kept(("lesson chance", run.version), partial(lessons.noise_floor, frame, family=run.family)),
        subject=f"MaxVio of {arm.label}, seed 0, against the tokens counted",
        finding=f"Over {first['words']} MaxVio is {captions.number(first['max_vio'])}, over "
        f"{last['words']} {captions.number(last['max_vio'])}; the random-routing baseline is "
        f"{captions.number(first['uniform_mean'])} and {captions.number(last['uniform_mean'])}.",
        how="Both axes are logarithmic. From left to right: groups of sequences of one step (mean over the "
        f"last {metrics.LAST_RECORDED} recorded steps), a whole step (the last {metrics.LAST_STEPS} "
        "steps), the held-out text after the last step. Means over layers, all at the end of the training.",
        table=frame,
        sources=(groups, whole),
        key=name,
    )
    return Elsewhere(page="compare", words="Compare", query={"runs": [arm.token]})


@panel("bias_step", arm=ARM, layer=LAYER, step=Key(kind="integer", words="a recorded step", needed=True))
def bias_step(keys: Keys, name: str) -> Elsewhere | None:
    """The loads of one step, and the update of the bias that follows, with the recorded integers (seed 0)."""
    arm = lesson_runs.find(keys["arm"], 0)
    layer, step = int(keys["layer"]), int(keys["step"])
    found, rows = lesson_bias.opened(arm.first, layer, step)
    bars = cached.loads_at(arm.first.version, layer, step)
    show.figure(
        specs.kept(
            ("lesson bias step", arm.first.version, layer, step), partial(loads.load_bars, bars, height=220)
        ),
        subject=f"Loads of layer {layer} at step {step}, seed 0",
        finding=captions.load_bars(bars),
        how=f"{arm.label}. Every bar would reach the line at 1 if the work were shared evenly: "
        f"{float(found.mean):g} tokens each.",
        table=lesson_bias.table(found, rows),
        sources=(bars, rows),
        key=name,
    )
    for which in ("busiest", "idlest"):
        st.latex(_formula(found, lesson_bias.expert_of(found, which)))
    bias_update.compare(found, rows)
    return Elsewhere(
        page="replay", words="Replay", query={"run": arm.first.run_id, "layer": layer, "step": step}
    )


def _formula(found: BiasStep, expert: int) -> str:
    """The arithmetic of one expert with the integers of the step; of the plain sign rule, in two parts."""
    rule, i = found.force.rule, rf"_{{{expert}}}"
    if rule.update_rule != "sign" or rule.centred:
        return bias_step_text.gathered(found, expert)
    tokens, error = int(found.tokens_E[expert]), float(found.mean - int(found.tokens_E[expert]))
    sign = "+" if error > 0 else "-" if error < 0 else r"\pm 0\cdot"
    return show.stacked(
        rf"e{i} = \bar c - c{i} = {float(found.mean):g} - {tokens} = {error:+g}"
        rf"\qquad b{i} \leftarrow {found.before_E[expert]:.4f} {sign} {found.force.rate:g} "
        rf"= {found.after_E[expert]:.4f}"
    )


@panel(
    "seeds",
    arms=Key(kind="texts", words="the arms whose difference from `base` is looked for", needed=True),
    base=Key(kind="text", words="the arm that they are compared with", needed=True),
    nats=Key(kind="text", words="the difference that one would like to see", needed=True),
)
def seeds(keys: Keys, name: str) -> Elsewhere | None:
    """The held-out loss difference that n pairs of seeds find with a chance of 80 %, against n."""
    base = lesson_runs.find(keys["base"])
    wanted, rows, said, have = float(keys["nats"]), [], [], 0
    tokens = [base.token]
    for text in keys["arms"]:
        arm = lesson_runs.find(text)
        tokens.append(arm.token)
        found = lesson_facts_quality.paired(text, keys["base"], "lm_loss")
        deviation, have = lesson_facts_quality.spread_of(found, text, keys["base"]), found.n
        needed = power.pairs_needed(deviation, wanted)
        most = max(100, 2 * needed)
        counts = sorted({*range(2, 12), have, *np.geomspace(12, most, 40).round().astype(int).tolist()})
        rows += [(arm.label, arm.family, n, power.detectable(deviation, n)) for n in counts]
        said.append(
            f"{arm.label}: the differences of {have} seeds have a standard deviation of {deviation:.4f} "
            f"nats; {needed} pairs would find {wanted:g} nats four times in five."
        )
    frame = pl.DataFrame(
        rows,
        schema={"comparison": pl.String, "family": pl.String, "pairs": pl.Int64, "detectable": pl.Float64},
        orient="row",
    )
    show.figure(
        specs.kept(
            ("lesson seeds", tuple(rows)),
            partial(lessons.seeds_and_resolution, frame, wanted=wanted, have=have),
        ),
        subject=f"Seeds and resolution, against {base.label}",
        finding=" ".join(said),
        how="(t(0.975) + t(0.80)) · s / √n with n − 1 degrees of freedom; s is the standard deviation of the "
        "paired differences. The point marks the seeds that we have. Both axes are logarithmic.",
        table=frame,
        key=name,
    )
    return Elsewhere(page="compare", words="Compare", query={"runs": tokens, "base": base.token})


def _settings(keys: Keys) -> dict[str, str]:
    """The value of every setting of the Playground."""
    return lesson_simulations.values_of({key: str(value) for key, value in keys.items() if key in CONTROLS})


def _two_rules(keys: Keys) -> simulation.TwoRules:
    values = _settings(keys)
    a, b = (simulation.Side(rule=rule_of(values, side)) for side in simulation.SIDES)
    return simulation.TwoRules(scores=scores_of(values), steps=int(values["S"]), a=a, b=b, still_px=HEIGHT)


def _playground(keys: Keys) -> Elsewhere:
    values = _settings(keys)
    # All of them, and no change of rules: what the visitor has set there before must not stay.
    query = {**values, "at": int(values["S"]) - 1, **dict.fromkeys(rule_change.KEYS.values(), "")}
    return Elsewhere(page="playground", words="the Playground", query=query)


@panel("simulated_max_vio", **CONTROLS)
def simulated_max_vio(keys: Keys, name: str) -> Elsewhere | None:
    """MaxVio of two simulated rules, as in the Playground."""
    show.question(
        Question(key=name, build=simulation.max_vio, arms=simulation.NO_ARMS, settings=_two_rules(keys))
    )
    return _playground(keys)


@panel("simulated_biases", side=SIDE, **CONTROLS)
def simulated_biases(keys: Keys, name: str) -> Elsewhere | None:
    """The biases of one simulated rule, as in the Playground."""
    settings = simulation.OneSide(rules=_two_rules(keys), side=keys["side"])
    show.question(Question(key=name, build=simulation.biases, arms=simulation.NO_ARMS, settings=settings))
    return _playground(keys)

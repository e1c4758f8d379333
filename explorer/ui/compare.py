"""The Compare page: the same questions asked of every chosen arm."""

import json
from collections.abc import Sequence
from typing import Any

import polars as pl
import streamlit as st

from explorer.charts import balance, biases, captions, differences, heatmaps, losses, plane
from explorer.charts.theme import AXIS
from explorer.config import differences as config_differences
from explorer.metrics import t_interval
from explorer.ui import cached, merge, picker, show, urls
from explorer.ui.arms import Arm, chart_labels

X_AXES = {"step": "step", "tokens": "tokens_seen", "time": "wall_time_s"}
PAIRED = {"perplexity": "perplexity", "max_vio_global": "MaxVio held-out", "max_vio_batch": "MaxVio last "
"steps",
          "worst_max_vio": "MaxVio of the worst layer"}  # fmt: skip


def view(arms: Sequence[Arm]) -> None:
    """Every section, for two to six arms (one arm is shown too)."""
    labels = chart_labels(arms)
    _warnings(arms, labels)
    _figures(arms, labels)
    by_layer(arms, labels)
    over_time(arms, labels)
    _plane(arms)
    paired_panel(arms, labels)


def _warnings(arms: Sequence[Arm], labels: dict[str, str]) -> None:
    """What differs besides the balancing rule."""
    if len(arms) == 1:
        st.info("Only one run is chosen; add another in the picker to compare.", icon=":material/add:")
    first = json.loads(arms[0].first.config)
    for arm in arms[1:]:
        other = json.loads(arm.first.config)
        names = config_differences(first, other)
        if names:
            details = ", ".join(f"{n} ({_field(first, n)} against {_field(other, n)})" for n in names[:6])
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""
            st.warning(
                f"{labels[arms[0].token]} and {labels[arm.token]} differ in more than the balancing rule: "
                f"{details}{more}. What you see below may come from that.",
                icon=":material/balance:",
            )
    seeds = {frozenset(run.seed for run in arm.runs) for arm in arms}
    if len(seeds) > 1:
        st.warning(
            "The runs have different seeds, so different initial weights and data. Choose the same seeds for "
            "a fair pair.",
            icon=":material/casino:",
        )


def _field(config: dict[str, Any], name: str) -> object:
    section, _, field = name.partition(".")
    return config.get(section, {}).get(field, "not set")


def _figures(arms: Sequence[Arm], labels: dict[str, str]) -> None:
    """Final figures, the worst layer beside every average."""
    rows = []
    for arm in arms:
        found = cached.summary(tuple(run.version for run in arm.runs))
        worst = found.sort("worst_max_vio", descending=True, nulls_last=True).row(0, named=True)
        rows.append(
            {
                "balancing": labels[arm.token],
                "runs": arm.seeds,
                "perplexity": _spread(found["perplexity"]),
                "MaxVio held-out": _spread(found["max_vio_global"]),
                "worst layer": "–" if worst["worst_max_vio"] is None
                else f"{worst['worst_max_vio']:.2f} (layer {worst['worst_layer']})",
                "MaxVio last steps": _spread(found["max_vio_batch"]),
                "effective experts": _spread(found["effective_experts"]),
                "tokens per second": _spread(found["tokens_per_second"]),
            }
        )  # fmt: skip
    show.figures_table(rows, alt_text="Final figures of the compared runs")


def _spread(values: pl.Series) -> str:
    """Mean ± half width of the 95 % interval over seeds; the value alone for one run."""
    known = [float(v) for v in values.drop_nulls().to_list()]
    if not known:
        return "–"
    interval = t_interval(known)
    digits = 0 if abs(known[0]) >= 1000 else 2 if abs(known[0]) >= 1 else 3
    if interval is None:
        return f"{known[0]:,.{digits}f}"
    return f"{interval[0]:,.{digits}f} ± {interval[1]:,.{digits}f}"


@st.fragment
def by_layer(arms: Sequence[Arm], labels: dict[str, str]) -> None:
    """Loads and biases of one layer."""
    layers = list(range(max(arm.first.num_moe_layers for arm in arms)))
    urls.settle(
        "layer", layers, 0,
        lambda value: f"The link names layer {value}; these runs have mixture layers 0 to {layers[-1]}. "
        "Layer 0 is shown.",
    )  # fmt: skip
    urls.show_notices()
    st.subheader("Who gets the tokens?")
    layer = int(
        st.segmented_control("Mixture layer", layers, key="layer", bind="query-params", required=True) or 0
    )
    names = {arm.token: _one_seed(arm, labels) for arm in arms}
    frames = {names[arm.token]: cached.load_heatmap(arm.first.version, layer, 150) for arm in arms}
    table = pl.concat(
        [f.with_columns(run=pl.lit(name)) for name, f in frames.items()], how="vertical_relaxed"
    )
    show.figure(
        heatmaps.compare_heatmaps(frames),
        subject=f"Loads of layer {layer}",
        finding=captions.compare_heatmaps(frames),
        how="One row an expert, time to the right; orange takes more than its share, purple less. All runs "
        "have the same colours. Expert 3 of one run is not expert 3 of another: compare patterns, not rows.",
        table=table,
        key="compare_loads",
    )
    st.subheader("How does the bias get there?")
    biased = [arm for arm in arms if not cached.bias_trajectories(arm.first.version, layer, 150).is_empty()]
    if not biased:
        st.caption("None of these runs has a bias rule, so there are no biases to show.")
    for arm in biased:
        frame = cached.bias_trajectories(arm.first.version, layer, 150)
        show.figure(
            biases.bias_trajectories(frame, title=names[arm.token], highlight=_extremes(frame)),
            subject=f"Expert biases of {names[arm.token]}, layer {layer}",
            finding=captions.bias_trajectories(frame),
            how="One line an expert. The rule raises the bias of whoever had too little and lowers that of "
            "whoever had too much.",
            table=frame,
            key=f"compare_bias_{arm.token}",
        )


def _one_seed(arm: Arm, labels: dict[str, str]) -> str:
    seed = f", seed {arm.first.seed}" if arm.is_group else ""
    return f"{labels[arm.token]}{seed}"


def _extremes(frame: pl.DataFrame) -> list[int]:
    last = frame.filter(pl.col("last_step") == pl.col("last_step").max()).sort("bias_last")
    return [int(last["expert"][-1]), int(last["expert"][0])] if last.height else []


@st.fragment
def over_time(arms: Sequence[Arm], labels: dict[str, str]) -> None:
    """MaxVio and perplexity over steps, tokens or time."""
    urls.settle("x", list(X_AXES), "step", lambda value: f"The link asks for x = {value}; steps are shown.")
    left, right = st.columns(2)
    with left:
        x = (
            st.segmented_control("Horizontal axis", list(X_AXES), key="x", bind="query-params", required=True)
            or "step"
        )
    with right:
        log = st.toggle("Logarithmic perplexity", key="log", value=True, bind="query-params")
    runs = tuple(run.version for arm in arms for run in arm.runs)
    families = {arm.token: arm.family for arm in arms}
    x_title = AXIS[X_AXES[x]]
    frame = merge.series(cached.max_vio_series(runs, None, x), arms, ["max_vio"])
    known, missing = _references(arms)
    st.subheader("How uneven is every step?")
    show.figure(
        balance.max_vio_curves(frame, labels=labels, families=families, references=known, x_title=x_title),
        subject="MaxVio over training",
        finding=captions.max_vio_curves(frame, labels=labels, references=known),
        how="The mean over layers of how far the busiest expert lies above the mean. The band spans the "
        "lowest and the highest step behind each point (and all seeds). Below the dashed lines is what "
        "chance alone would show." + missing,
        table=frame,
        key="compare_max_vio",
    )
    st.subheader("What does balance cost?")
    train = merge.series(cached.loss_series(runs, x), arms, ["lm_loss", "perplexity"])
    held = merge.evals(cached.eval_series(runs, x), arms)
    show.figure(
        losses.loss_curves(train, held, labels=labels, families=families, x_title=x_title, log_y=log),
        subject="Perplexity over training",
        finding=captions.loss_curves(train, held, labels=labels),
        how="Lines are training batches, points are held-out text with every domain weighing the same. Lower "
        "is better.",
        table=held,
        key="compare_loss",
    )


def _references(arms: Sequence[Arm]) -> tuple[dict[str, tuple[float, float]], str]:
    """The two lines of chance, of the best balanced arm; none where the sizes differ."""
    sizes = {
        (a.first.num_experts, a.first.top_k, a.first.tokens_per_step, a.first.num_moe_layers) for a in arms
    }
    if len(sizes) > 1:
        return {}, " No reference is drawn: these runs have different sizes."
    arm = next((a for a in arms if a.family == "loss_free"), arms[-1])
    found = cached.references(arm.first.version)
    known = {}
    for name in ("uniform", "resampled"):
        mean, p95 = found[f"{name}_mean"], found[f"{name}_p95"]
        if mean is not None and p95 is not None:
            known[name] = (mean, p95)
    return known, ""


def _plane(arms: Sequence[Arm]) -> None:
    """Perplexity against imbalance, over every finished run that ships and those chosen."""
    st.subheader("Balance against quality: the dilemma plane")
    chosen = [run for arm in arms for run in arm.runs]
    others = [
        run for run in picker.all_runs() if run.shipped and run.state == "finished" and run not in chosen
    ]
    same = [run for run in others if run.pair_key in {c.pair_key for c in chosen}]
    frame = cached.summary(tuple(run.version for run in [*chosen, *same]))
    show.figure(
        plane.dilemma_plane(frame),
        subject="Perplexity against MaxVio of the held-out set",
        finding=captions.dilemma_plane(frame),
        how="Lower left is better in both. One point a run, the large ones are means over seeds; runs of one "
        "rule with different strengths are joined.",
        table=frame,
        key="compare_plane",
    )


@st.fragment
def paired_panel(arms: Sequence[Arm], labels: dict[str, str]) -> None:
    """Differences between arms, seed by seed."""
    st.subheader("Which differences are real?")
    if len(arms) < 2:
        st.caption("A difference needs two runs.")
        return
    tokens = [arm.token for arm in arms]
    start = next((arm.token for arm in arms if arm.family == "aux_loss"), tokens[0])
    urls.settle(
        "base",
        tokens,
        start,
        lambda value: f"The link compares with “{value}”, which is not among the chosen runs.",
    )
    base_token = st.selectbox(
        "Compared with", tokens, key="base", bind="query-params", format_func=None or str
    )
    base = next(arm for arm in arms if arm.token == base_token)
    rows = [row for arm in arms if arm is not base for row in _paired_rows(arm, base, labels)]
    show.figure(
        differences.paired_differences(rows),
        subject=f"Differences from {labels[base.token]}",
        finding=captions.paired_differences(rows),
        how="Each tick is one seed: the same initial weights and data under both rules. The bar is the 95 % "
        "t interval; one that covers 0 is not resolved.",
        table=pl.DataFrame([{k: v for k, v in row.items() if k != "values"} for row in rows])
        if rows
        else None,
        key="compare_paired",
    )
    for sentence in _resolutions(rows):
        st.caption(sentence)


def _paired_rows(arm: Arm, base: Arm, labels: dict[str, str]) -> list[dict[str, Any]]:
    rows = []
    for metric, words in PAIRED.items():
        found = cached.paired(tuple(r.version for r in arm.runs), tuple(r.version for r in base.runs), metric)
        if found.mean is not None:
            rows.append(
                {
                    "metric": words,
                    "arm": labels[arm.token],
                    "mean": found.mean,
                    "half_width": found.half_width,
                    "resolved": found.resolved,
                    "values": list(found.differences.values()),
                    "family": arm.family,
                }
            )
    return rows


def _resolutions(rows: Sequence[dict[str, Any]]) -> list[str]:
    """How small a difference this comparison can tell from zero."""
    said = []
    for metric in dict.fromkeys(row["metric"] for row in rows):
        widths = [
            row["half_width"] for row in rows if row["metric"] == metric and row["half_width"] is not None
        ]
        if widths:
            said.append(f"{metric}: differences below about {max(widths):.2g} cannot be told from zero here.")
        else:
            said.append(f"{metric}: one seed, so there is no interval and nothing is resolved.")
    return said

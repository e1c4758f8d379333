"""Findings from the auxiliary loss, and from the loads of sequences and domains."""

import numpy as np
import polars as pl

from explorer import metrics
from explorer.health.finding import Finding
from explorer.health.loads import FEWEST_STEPS, window
from explorer.health.rows import Floats, LayerRows, RunRows
from explorer.wording import percent

CONSTANT = 1e-6
"""Range of the loss over its mean below which it is constant. The last place of float32 is 1e-7."""
MOVING = 0.02
"""Range of E Σ f² over its mean from which on the loads move. bfloat16 alone rounds away less than 0.8 %."""
NARROW = 0.25
"""Effective experts of a sequence over E, from which downwards it is narrow. In the shipped runs that are
balanced over the batch it is at least 0.43."""
NARROW_K = 1.5
"""And in units of K: with few experts a quarter of them is what one token takes."""
BALANCED = 0.75
"""Effective experts over E from which on the batch is balanced."""
TOKENS_PER_EXPERT = 4.0
"""Assignments per expert that a sequence needs: of a short one few experts are in effect by chance."""


def constant_aux_loss(run: RunRows) -> list[Finding]:
    """An auxiliary loss that stays the same while the loads move."""
    if run.is_inference:
        return []
    result = [_constant(layer, layer.aux_loss, layer.layer) for layer in run.layers]
    if not any(np.isfinite(layer.aux_loss).any() for layer in run.layers) and run.layers:
        first = run.layers[0]
        result = [_constant(first, _run_loss(run, first), None)]
    return [finding for finding in result if finding is not None]


def _run_loss(run: RunRows, layer: LayerRows) -> Floats:
    """[S] the loss of the whole model at the layer's steps; NaN where NULL."""
    rows = pl.DataFrame({"step": layer.steps}).join(run.steps, on="step", how="left", maintain_order="left")
    return rows["aux_loss"].cast(pl.Float64).to_numpy()


def _constant(layer: LayerRows, loss: Floats, number: int | None) -> Finding | None:
    size = window(layer)
    last, shares = loss[-size:], layer.shares[-size:]
    if len(last) < FEWEST_STEPS or not np.isfinite(last).all():
        return None
    level = float(np.abs(last).mean())
    concentration = np.nan_to_num(np.square(shares).mean(-1))
    moving = float(np.ptp(concentration) / max(float(concentration.mean()), 1e-12))
    if float(np.ptp(last)) > CONSTANT * max(level, 1e-12) or moving < MOVING:
        return None
    changes = np.flatnonzero(np.abs(loss - last[-1]) > CONSTANT * max(level, 1e-12))
    step = int(layer.steps[int(changes[-1]) + 1 if len(changes) else 0])
    where = "" if number is None else f" of layer {number}"
    return Finding(
        kind="constant_aux_loss",
        layer=number,
        first_step=step,
        counts={"aux_loss": float(last[-1]), "load_range": moving, "steps": size},
        measured=moving,
        threshold=MOVING,
        sentence=f"The auxiliary loss{where} has been {float(last[-1]):.6g} in every step since step "
        f"{step:,}, while the loads move by {percent(moving)}: it does not see them.",
        try_this="Compute f from the experts that were selected and P from the router's probabilities, and "
        "check that the loss reaches the router: detach f only.",
    )


def sequence_imbalance(run: RunRows) -> list[Finding]:
    """Layers whose batch is balanced, and whose sequences or domains use few experts each."""
    result = []
    for layer in run.layers:
        for rows, keys, group in (
            (run.sequence_loads, ["step", "micro_batch", "sequence"], "sequence"),
            (run.domain_loads, ["domain"], "domain"),
        ):
            finding = _narrow(run, layer, rows.filter(pl.col("layer") == layer.layer), keys, group)
            if finding is not None:
                result.append(finding)
                break
    return result


def _narrow(
    run: RunRows, layer: LayerRows, rows: pl.DataFrame, keys: list[str], group: str
) -> Finding | None:
    wide = _matrix(rows, keys, layer.width)
    wide = wide[wide.sum(-1) >= TOKENS_PER_EXPERT * layer.width]
    if len(wide) < 2:
        return None
    batch = float(metrics.effective_experts(wide.sum(0)))
    inside = float(np.mean(metrics.effective_experts(wide)))
    limit = max(NARROW * layer.width, NARROW_K * run.info.top_k)
    if batch < BALANCED * layer.width or inside > limit or 2 * inside > batch:
        return None
    return Finding(
        kind="sequence_imbalance",
        layer=layer.layer,
        first_step=int(rows["step"].min() if "step" in rows.columns else layer.steps[-1]),  # type: ignore[arg-type]
        counts={"effective_experts": inside, "of_batch": batch, "experts": layer.width, "groups": len(wide)},
        measured=inside,
        threshold=limit,
        sentence=f"Layer {layer.layer} is balanced over the batch ({batch:.1f} of {layer.width} effective "
        f"experts) and not within its {group}s: one {group} uses {inside:.1f} on average.",
        try_this="Add a sequence-wise auxiliary loss with a small coefficient (DeepSeek-V3: 0.0001), and mix "
        "domains within a batch.",
    )


def _matrix(rows: pl.DataFrame, keys: list[str], width: int) -> np.ndarray:
    """[G, E] counts of each group."""
    groups = rows.select(keys).unique().with_row_index("group")
    joined = rows.join(groups, on=keys)
    counts = np.zeros((groups.height, width), dtype=np.int64)
    np.add.at(counts, (joined["group"].to_numpy(), joined["expert"].to_numpy()), joined["tokens"].to_numpy())
    return counts

"""Random-routing baselines of a comparison: the same lines and numbers on every page that shows MaxVio."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from explorer.figures.arms import Arm
from explorer.ui.shared import cached

KINDS = ("uniform", "resampled", "held_out")
SAME_TOKENS = 0.01
"""Arms whose tokens per step differ by a larger share have no baseline in common."""


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """What chance alone would show, (mean, 95th percentile) each, means over the seeds of one arm."""

    known: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """`uniform` and `resampled`, over the last 100 steps: as `charts.balance` takes them."""
    held_out: tuple[float, float] | None = None
    """As uniform, for the tokens of the held-out text."""
    curve: pl.DataFrame | None = None
    """Columns of `queries.balance.uniform_series` where the tokens per step change, so that no level line is
    right; averaged over seeds."""
    missing: str = ""
    """Why a line is left out; a sentence."""


def baselines(arms: Sequence[Arm], *, x: str = "step", max_bins: int = 300) -> Baselines:
    """The baselines of the best balanced arm; none where the arms have different sizes.

    The second line resamples whole sequences of a run as if every expert's expected load were equal. A
    collapsed run has too few experts at work for that, so it gives no such line. A mean over seeds is held
    against the mean of the seeds' own baselines.
    """
    arms = [arm for arm in arms if arm.first.has_loads]
    if not arms:
        return Baselines()
    found = {arm.token: _of_arm(arm) for arm in arms}
    if _different(arms, [found[arm.token].get("tokens") for arm in arms]):
        return Baselines(missing="No random-routing baseline: these runs have different sizes.")
    if any(arm.first.experts_per_layer is not None for arm in arms):
        return Baselines(missing="No random-routing baseline: layers have different numbers of experts.")
    arm = min(arms, key=_mean_max_vio)
    own = found[arm.token]
    pairs = {kind: (own[f"{kind}_mean"], own[f"{kind}_p95"]) for kind in KINDS if f"{kind}_mean" in own}
    held_out = pairs.pop("held_out", None)
    missing = ""
    if _is_collapsed(arm):
        pairs.pop("resampled", None)
        missing = (
            "The dashed line is the random-routing baseline of independent tokens; that of whole sequences "
            "is left out, since all of these runs have collapsed."
        )
    return Baselines(known=pairs, held_out=held_out, curve=_curve(arm, x, max_bins), missing=missing)


def _of_arm(arm: Arm) -> dict[str, float]:
    """`queries.references` averaged over seeds; what a seed lacks is left out."""
    rows = [cached.references(run.version) for run in arm.runs]
    result = {}
    for name in rows[0]:
        values = [value for row in rows if (value := row[name]) is not None]
        if len(values) == len(rows):
            result[name] = sum(values) / len(values)
    return result


def _different(arms: Sequence[Arm], tokens: Sequence[float | None]) -> bool:
    sizes = {(a.first.num_experts, a.first.top_k, a.first.num_moe_layers) for a in arms}
    known = [n for n in tokens if n]
    return len(sizes) > 1 or (len(known) > 1 and max(known) > (1 + SAME_TOKENS) * min(known))


def _curve(arm: Arm, x: str, max_bins: int) -> pl.DataFrame | None:
    frames = [cached.uniform_series(run.version, x, max_bins) for run in arm.runs]
    every = pl.concat(frames)
    if every.is_empty() or every["tokens"].n_unique() == 1:
        return None
    means = pl.col("x", "tokens", "uniform_mean", "uniform_p95").mean()
    return every.group_by("bin").agg(pl.col("first_step").min(), pl.col("last_step").max(), means).sort("bin")


def _is_collapsed(arm: Arm) -> bool:
    # Not whether it ever was: the sequences are those of its last quarter.
    working = cached.layer_balance(cached.versions(arm.runs))["effective_experts"]
    return bool((working <= arm.first.num_experts / 2).any())


def _mean_max_vio(arm: Arm) -> float:
    """How uneven the last steps of the arm's runs are; infinite where nothing is known."""
    known = cached.layer_balance(cached.versions(arm.runs))["max_vio_batch"].drop_nulls().drop_nans()
    return float(known.mean()) if len(known) else math.inf  # type: ignore[arg-type]

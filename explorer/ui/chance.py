"""Random-routing baselines of a comparison: the same lines and numbers on every page that shows MaxVio."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from explorer.ui import cached
from explorer.ui.arms import Arm

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
    arm: str = ""
    """Token of the arm whose lines these are."""
    is_shared: bool = True
    """Whether every arm has a baseline of independent tokens of its own, which is then this one."""
    missing: str = ""
    """Why a line is left out; a sentence."""

    @property
    def has_line(self) -> bool:
        """Whether there is a baseline of independent tokens to draw."""
        return "uniform" in self.known or self.curve is not None


def baselines(arms: Sequence[Arm], *, x: str = "step", max_bins: int = 300) -> Baselines:
    """The baselines of the best balanced arm that has some; none where the arms have different sizes.

    Expert choice is even by construction, so its lines are drawn only where no other arm has any. The second
    line resamples whole sequences of a run as if every expert's expected load were equal. A collapsed run has
    too few experts at work for that, so it gives no such line. A mean over seeds is held against the mean of
    the seeds' own baselines.
    """
    arms = [arm for arm in arms if arm.first.has_loads]
    if not arms:
        return Baselines(missing="No random-routing baseline: none of these runs has experts.")
    found = {arm.token: _of_arm(arm) for arm in arms}
    reason = _why_none(arms, found)
    if reason:
        return Baselines(missing=f"No random-routing baseline: {reason}.")
    with_line = [arm for arm in arms if "uniform_mean" in found[arm.token]]
    by_tokens = [arm for arm in with_line if arm.family != "expert_choice"]
    arm = min(by_tokens or with_line or arms, key=_mean_max_vio)
    own = found[arm.token]
    pairs = {kind: (own[f"{kind}_mean"], own[f"{kind}_p95"]) for kind in KINDS if f"{kind}_mean" in own}
    held_out = pairs.pop("held_out", None)
    missing = "" if with_line else "No random-routing baseline: no tokens were counted in the last steps."
    if with_line and _is_collapsed(arm):
        pairs.pop("resampled", None)
        missing = "The baseline of whole sequences is left out, since the run has collapsed."
    return Baselines(
        known=pairs,
        held_out=held_out,
        curve=_curve(arm, x, max_bins),
        arm=arm.token,
        is_shared=len(with_line) == len(arms),
        missing=missing,
    )


def line_note(found: Baselines, labels: Mapping[str, str]) -> str:
    """What the dashed line of a figure is that draws the baseline of independent tokens alone."""
    if not found.has_line:
        return found.missing
    whose = "" if found.is_shared else f" for “{labels[found.arm]}”"
    return f"The dashed line is the random-routing baseline of independent tokens{whose}."


def lines_note(found: Baselines, labels: Mapping[str, str]) -> str:
    """What the dashed lines are in a figure of both baselines, and whose: sequences are an arm's own."""
    if "resampled" in found.known:
        whose = f" for “{labels[found.arm]}”" if len(labels) > 1 else ""
        return f"The dashed lines are the random-routing baselines{whose}."
    said = line_note(found, labels)
    return f"{said} {found.missing}" if found.has_line and found.missing else said


def _of_arm(arm: Arm) -> dict[str, float]:
    """`queries.references` averaged over seeds; what a seed lacks is left out."""
    rows = [cached.references(run.version) for run in arm.runs]
    result = {}
    for name in rows[0]:
        values = [value for row in rows if (value := row[name]) is not None]
        if len(values) == len(rows):
            result[name] = sum(values) / len(values)
    return result


def _why_none(arms: Sequence[Arm], found: Mapping[str, Mapping[str, float]]) -> str:
    """Why these arms have no baseline in common; empty where they have one."""
    sizes = {(a.first.num_experts, a.first.top_k, a.first.num_moe_layers) for a in arms}
    if len(sizes) > 1:
        return "these runs have different numbers of MoE layers, experts or experts per token"
    if any(arm.first.experts_per_layer is not None for arm in arms):
        return "layers have different numbers of experts"
    if not any(found.values()):
        if not all(next(iter(sizes))):
            return "the numbers of experts and of experts per token are not recorded"
        return "the number of experts varies between tokens"
    counted = [tokens for arm in arms if (tokens := found[arm.token].get("tokens"))]
    if not counted or max(counted) <= (1 + SAME_TOKENS) * min(counted):
        return ""
    steps = {arm.first.tokens_per_step for arm in arms}
    dropped = ", since dropped slots are not counted" if len(steps) == 1 and any(steps) else ""
    return (
        f"these runs count different numbers of tokens per step ({min(counted):,.0f} to "
        f"{max(counted):,.0f}{dropped})"
    )


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

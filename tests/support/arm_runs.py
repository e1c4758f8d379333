"""Runs as the picker sees them, without folders."""

from dataclasses import replace

from explorer.config.run import BalancerConfig
from explorer.figures.arms import (
    Run,
)


def run(run_id: str, balancer: str = "none", seed: int | None = 0, **changes: object) -> Run:
    config = BalancerConfig.parse(balancer)
    made = Run(
        run_id=run_id, path=f"/runs/{run_id}", name="", state="finished", shipped=True, preset="standard",
        seed=seed, balancer=str(config), label=config.label, family=config.family, scope=config.count_scope,
        pair_key="key", config="{}", num_moe_layers=2, num_experts=4, top_k=2, tokens_per_step=64,
        num_steps=40,
        last_step=39, generation=1, created_at="2026-11-22T10:00:00+00:00", problem=None, message=None,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]

"""The field's balancing strategies, one configuration each: benchmarked and pinned by golden series.

A new rule or routing gets a line here (`docs/strategies.md` has the whole recipe).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from explorer.config.presets import arm_config
from explorer.config.run import RunConfig


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A balancer or routing with its settings."""

    arm: str
    """The arm as given on the command line, e.g. `loss_free:update_rule=rms`."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Further settings, `section.field` -> value."""

    def config(self, base: RunConfig, preset: str | None = None) -> RunConfig:
        """The experiment of `base` with this strategy."""
        return arm_config(base, self.arm, preset).with_settings(self.settings)


STRATEGIES: dict[str, Strategy] = {
    "none": Strategy(arm="none"),
    # The loss-free family.
    "loss-free": Strategy(arm="loss_free"),
    "loss-free, proportional": Strategy(arm="loss_free:update_rule=proportional"),
    "loss-free, RMS-normalised": Strategy(arm="loss_free:update_rule=rms"),
    "loss-free, centred": Strategy(arm="loss_free:centred=true"),
    "loss-free, multiplicative": Strategy(arm="loss_free:bias_form=multiplicative"),
    "loss-free, u/√n": Strategy(arm="loss_free:step_decay=sqrt,u=0.03"),
    "loss-free, u/n": Strategy(arm="loss_free:step_decay=harmonic,u=0.1"),
    "loss-free, EMA of loads": Strategy(arm="loss_free:load_ema=0.9"),
    "loss-free + V3 sequence loss": Strategy(arm="loss_free+seq_aux"),
    "loss-free, softmax gates": Strategy(arm="loss_free", settings={"model.gate_func": "softmax"}),
    "loss-free, groups": Strategy(arm="loss_free", settings={"model.num_groups": 2, "model.top_k_groups": 1}),
    "SMEBU": Strategy(arm="smebu"),
    "quantile": Strategy(arm="quantile"),
    "quantile, exact": Strategy(arm="quantile:num_bins=0"),
    "quantile, linear": Strategy(arm="quantile:estimator=linear"),
    "quantile, by sequence": Strategy(arm="mqb"),
    "BIP": Strategy(arm="bip"),
    # The loss family.
    "auxiliary loss, global": Strategy(arm="aux_loss"),
    "auxiliary loss, buffered": Strategy(
        arm="aux_loss:scope=global_buffered", settings={"training.gradient_accumulation_steps": 2}
    ),
    "auxiliary loss, micro-batch": Strategy(arm="aux_loss:scope=micro_batch"),
    "auxiliary loss, sequence": Strategy(arm="aux_loss:scope=sequence"),
    "Switch loss": Strategy(arm="switch_loss"),
    "GShard loss": Strategy(arm="gshard_loss"),
    "SimBal": Strategy(arm="simbal"),
    "z-loss": Strategy(arm="z_loss"),
    # Other gates and selections.
    "softmax scores": Strategy(arm="loss_free", settings={"model.score_func": "softmax"}),
    "sqrt-softplus scores": Strategy(arm="loss_free", settings={"model.score_func": "sqrt_softplus"}),
    "router noise": Strategy(arm="aux_loss", settings={"model.router_noise": 0.3}),
    "noisy top-K": Strategy(arm="aux_loss", settings={"model.noisy_top_k": True}),
    "top-p": Strategy(arm="aux_loss", settings={"model.top_p": 0.2}),
    "capacity 1.25": Strategy(arm="aux_loss", settings={"model.capacity_factor": 1.25}),
    "capacity 1.25, by position": Strategy(
        arm="aux_loss", settings={"model.capacity_factor": 1.25, "model.drop_policy": "position"}
    ),
    "random second expert": Strategy(arm="aux_loss", settings={"model.random_second": True}),
    # Other routings, and controls.
    "expert choice": Strategy(arm="expert_choice"),
    "expert threshold": Strategy(arm="expert_threshold"),
    "hash": Strategy(arm="hash"),
    "random": Strategy(arm="random"),
    "dense": Strategy(arm="dense"),
}
"""Name -> strategy; every rule and every routing is in it."""

"""Runs whose router is healthy, or wrong in one way on purpose. S steps, L layers, E = 8 experts, K = 2."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.health import Finding, diagnose, read_folder
from explorer.recording import RunFolder, RunInfo
from explorer.recording.run_writer import RunWriter
from explorer.records.records import LayerRecord, LoadRecord, SequenceLoadRecord, StepRecord

E, K, T = 8, 2, 512
"""Experts, experts per token, tokens per step."""
U = 0.003
Counts = NDArray[np.int64]
Bias = NDArray[np.float64]
Update = Callable[[int, Bias, Counts], Bias]
"""Step, bias [E] and counts [E] of the step -> the next bias."""


def sign_rule(u: float = U) -> Update:
    """Algorithm 1 of the loss-free paper."""
    return lambda step, bias, counts: bias + u * np.sign(counts.mean() - counts)


@dataclass(kw_only=True)
class Router:
    """Everything that a run records of its routers, and how."""

    layers: int = 2
    steps: int = 240
    skew: float = 0.5
    """Standard deviation of the logit offsets of the experts: what a rule has to even out."""
    update: Update | None = field(default_factory=sign_rule)
    """None: no bias at all."""
    keep: Callable[[Bias], Bias] = lambda bias: bias
    """What storage makes of a bias, e.g. rounding."""
    times: int = 1
    """Updates per step."""
    offsets: NDArray[np.float64] | None = None
    """[L, E] in place of drawn ones."""
    seed: int = 0

    def run(self) -> tuple[Counts, NDArray[np.float32]]:
        """Counts [S, L, E] and biases [S, L, E] (0 without a rule)."""
        rng = np.random.default_rng(self.seed)
        offsets = self.offsets
        if offsets is None:
            offsets = rng.normal(scale=self.skew, size=(self.layers, E))
        bias = np.zeros((self.layers, E))
        counts = np.zeros((self.steps, self.layers, E), dtype=np.int64)
        biases = np.zeros((self.steps, self.layers, E), dtype=np.float32)
        for step in range(self.steps):
            biases[step] = bias
            for layer in range(self.layers):
                logits = offsets[layer] + rng.normal(size=(T, E))
                scores = 1 / (1 + np.exp(-logits)) + bias[layer]
                expert_ids = np.argpartition(-scores, K - 1)[:, :K]
                counts[step, layer] = np.bincount(expert_ids.ravel(), minlength=E)
                if self.update is not None:
                    for _ in range(self.times):
                        bias[layer] = self.keep(self.update(step, bias[layer], counts[step, layer]))
        return counts, biases


def record(
    base: Path,
    counts: Counts,
    biases: NDArray[np.float32] | None,
    *,
    aux_loss: NDArray[np.float64] | None = None,
    sequences: NDArray[np.int64] | None = None,
    rates: NDArray[np.float64] | None = None,
    run_id: str = "run",
    **info: Any,
) -> Path:
    """Write a run folder. aux_loss: [S, L]. sequences: [B, L, E], recorded at the last step.
    rates: [S] u after each step.
    """
    steps, layers, experts = counts.shape
    values: dict[str, Any] = {"balancer": f"loss_free:u={U}" if biases is not None else "none"}
    values |= {"run_id": run_id, "name": run_id, "num_moe_layers": layers, "num_experts": experts, "top_k": K}
    values |= {"tokens_per_step": T, "num_steps": steps, "config": {"model": {"score_func": "sigmoid"}}}
    recorder = RunWriter.create(base, RunInfo(**(values | info)))
    for step in range(steps):
        u = None if rates is None else float(rates[step])
        recorder.record(StepRecord(step=step, tokens_seen=(step + 1) * T, lm_loss=2.0, bias_update_rate=u))
        bias = None if biases is None else biases[step]
        recorder.record(LoadRecord(step=step, tokens_LE=counts[step], expert_bias_LE=bias))
        if aux_loss is not None:
            recorder.record(LayerRecord(step=step, aux_loss_L=aux_loss[step].astype(np.float32)))
        if sequences is not None and step == steps - 1:
            domains = ["text"] * len(sequences)
            loads = SequenceLoadRecord(
                step=step, split="train", micro_batch=0, domains_B=domains, tokens_BLE=sequences
            )
            recorder.record(loads)
        recorder.step_done(step)
    recorder.finish("finished")
    return base / run_id


def write(base: Path, router: Router, **info: Any) -> Path:
    """Run the router and write its folder; without a rule there is no bias."""
    counts, biases = router.run()
    return record(base, counts, biases if router.update else None, **info)


def findings_of(path: Path) -> list[Finding]:
    """What is wrong with the run in this folder."""
    return diagnose(read_folder(RunFolder(path)))

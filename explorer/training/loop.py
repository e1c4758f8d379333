"""`train(config, recorder, should_stop)`: a complete run, without printing or UI."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from explorer import metrics
from explorer.config.rule_text import label_rules
from explorer.config.run import RunConfig, ScheduledRules
from explorer.corpus import Corpus, load_corpus
from explorer.errors import TrainingError
from explorer.model import MoETransformer, build_model
from explorer.model.balancers import CombinedBalancer
from explorer.records.records import EventRecord, Recorder
from explorer.training import checkpoints
from explorer.training.devices import StepClock, pick_device, quiet_cpu
from explorer.training.evaluation import Evaluation, evaluate, record_probe, save_probe_document
from explorer.training.ranks import SINGLE_PROCESS, Ranks, check_shares
from explorer.training.schedules import learning_rate, probe_steps
from explorer.training.step import train_step
from explorer.training.step_log import DeviceLog
from explorer.training.switching import NO_SWITCHES, Switches, reject_pending, switched


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The outcome of a run."""

    state: str
    """`finished`, or `stopped` if `should_stop` returned true."""
    last_step: int
    """Completed optimizer steps."""
    figures: dict[str, Any]
    """perplexity, max_vio_batch, max_vio_global, worst_layer …; see `explorer.metrics`."""
    wall_time_s: float
    tokens_per_second: float
    config: RunConfig
    """The final configuration, including rule changes requested during the run."""


def never() -> bool:
    return False


def train(
    config: RunConfig,
    recorder: Recorder,
    should_stop: Callable[[], bool] = never,
    *,
    corpus: Corpus | None = None,
    checkpoint_dir: Path | None = None,
    resume_from: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
    ranks: Ranks = SINGLE_PROCESS,
    switches: Switches = NO_SWITCHES,
    on_finished: Callable[[MoETransformer, CombinedBalancer, RunConfig], None] | None = None,
) -> TrainResult:
    """Train one run and record it.

    `should_stop` is polled between steps. `resume_from` continues after that many updates from
    `checkpoint_dir`; on a CPU with the same number of threads the result equals an uninterrupted run
    bit for bit. `on_step(done, total)` is called after every step. `switches` are polled between steps, too:
    their changes are recorded, and in force from the next step on (the second at the earliest, because
    a run begins with the rules that it was started with). The caller finishes the recorder.
    `on_finished` gets the model of a finished run, its balancer and its final configuration, on every rank.
    Under `torchrun` every process calls this with its `ranks`; only rank 0's recorder should
    write, and all ranks must be able to read `checkpoint_dir`.
    """
    check_shares(config, ranks)
    with quiet_cpu(config.training.num_threads):
        run = _Run(config, recorder, should_stop, corpus, checkpoint_dir, on_step, ranks, switches)
        result = run.run(resume_from)
        if on_finished is not None and result.state == "finished":
            on_finished(run.model, run.balancer, run.config)
        return result


class _Run:
    """The state of one call of `train`."""

    def __init__(
        self,
        config: RunConfig,
        recorder: Recorder,
        should_stop: Callable[[], bool],
        corpus: Corpus | None,
        checkpoint_dir: Path | None,
        on_step: Callable[[int, int], None] | None,
        ranks: Ranks = SINGLE_PROCESS,
        switches: Switches = NO_SWITCHES,
    ) -> None:
        self.config, self.recorder, self.ranks, self.switches = config, recorder, ranks, switches
        self.should_stop, self.checkpoint_dir, self.on_step = should_stop, checkpoint_dir, on_step
        self.device = pick_device(config.training.device)
        self.corpus = corpus or load_corpus(config.corpus)
        self.model = build_model(
            config.model, self.corpus.vocab_size, config.training.sequence_length, config.training.seed
        ).to(self.device)
        self.optimizer = make_optimizer(self.model, config)
        self.balancer = CombinedBalancer(config.balancer.rules)
        self.model.reset_bias(self.balancer.neutral_bias)
        self.log = DeviceLog(recorder, self.device)
        self.counts: deque[NDArray[np.int64]] = deque(maxlen=metrics.LAST_STEPS)
        probes = config.training.probe_tokens and config.model.num_moe_layers
        self.probe_steps = set(probe_steps(config.training.num_steps)) if probes else set()
        self.clock = StepClock(self.device)

    def run(self, resume_from: int | None) -> TrainResult:
        start = self._resume(resume_from) if resume_from else 0
        if self.probe_steps:
            save_probe_document(self.config, self.corpus, self.recorder)
        total = self.config.training.num_steps
        for step in range(start, total):
            stop, switch = self.ranks.any(self.should_stop(), step > 0 and self.switches.waiting())
            if stop:
                return self._stopped(step, start)
            if switch:
                self._switch(step)
            self._before_step(step)
            stop_clock = self.clock.start()
            log = train_step(
                self.model,
                self.optimizer,
                self.balancer,
                self.config,
                self.corpus,
                step,
                learning_rate(self.config.training, step),
                self.ranks,
            )
            log.duration = stop_clock()
            self.log.add(log, self.counts)
            if self.on_step:
                self.on_step(step + 1, total)
        return self._finished(total, start)

    def _switch(self, step: int) -> None:
        """Record requested rule changes; `_before_step` applies them like any scheduled change."""
        self._drain()
        self.config = switched(self.config, step, self.switches, self.recorder, self.ranks)

    def _drain(self) -> None:
        self.log.drain_into(self.counts)

    def _before_step(self, step: int) -> None:
        training = self.config.training
        interval = training.checkpoint_interval
        if interval and step and step % interval == 0:
            self._save(step)
        for change in self.config.balancer.schedule:
            if change.step == step:
                self._change_rules(change)
        if step % training.eval_interval == 0:
            self._evaluate(step, training.eval_tokens)
        if step in self.probe_steps:
            self._probe(step)

    def _change_rules(self, change: ScheduledRules) -> None:
        """Apply a rule change. The bias is kept only between rules of the same bias form."""
        before, self.balancer = self.balancer, CombinedBalancer(change.rules, since=change.step)
        if before.bias_form != self.balancer.bias_form:
            self.model.reset_bias(self.balancer.neutral_bias)
        self._drain()
        self.recorder.record(
            EventRecord(step=change.step, kind="balancer_changed", detail=f"now {label_rules(change.rules)}")
        )

    def _evaluate(self, step: int, num_tokens: int, per_sequence: bool = False) -> Evaluation:
        self._drain()
        return evaluate(
            self.model,
            self.balancer,
            self.config,
            self.corpus,
            self.recorder,
            step=step,
            num_tokens=num_tokens,
            per_sequence=per_sequence,
        )

    def _probe(self, step: int) -> None:
        self._drain()
        record_probe(self.model, self.balancer, self.config, self.corpus, self.recorder, step)

    def _finished(self, total: int, start: int) -> TrainResult:
        if total in self.probe_steps:
            self._probe(total)
        evaluation = self._evaluate(total, self.config.training.final_eval_tokens, per_sequence=True)
        self._reject_pending(total, f"the last of the {total} steps is done")
        return self._result("finished", total, start, final_figures(np.stack(self.counts), total, evaluation))

    def _stopped(self, step: int, start: int) -> TrainResult:
        self._drain()
        self._reject_pending(step, f"the run stops before step {step}; resume it and ask again")
        if step and self.checkpoint_dir:
            self._save(step)
        return self._result("stopped", step, start, {})

    def _reject_pending(self, step: int, why: str) -> None:
        if self.ranks.is_first:
            reject_pending(step, why, self.switches, self.recorder)

    def _result(self, state: str, step: int, start: int, figures: dict[str, Any]) -> TrainResult:
        tokens, seconds = step * self.config.training.tokens_per_step, self.log.seconds
        return TrainResult(
            state=state,
            last_step=step,
            figures=figures,
            wall_time_s=seconds,
            tokens_per_second=tokens / seconds if seconds else 0.0,
            config=self.config,
        )

    def _save(self, step: int) -> None:
        if self.checkpoint_dir is None or not self.ranks.is_first:
            return
        self._drain()
        # Without it, steps between the rows on disk and the checkpoint would be missing after a resume.
        self.recorder.flush()
        state = {
            # Later rule changes are not part of it: one may be requested before a resume.
            "config_digest": self.config.digest_until(step),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "balancer": self.balancer.memory(),
            "seconds": self.log.seconds,
            "counts": [torch.from_numpy(c) for c in self.counts],
        }
        checkpoints.save(self.checkpoint_dir, step, state)

    def _resume(self, step: int) -> int:
        assert self.checkpoint_dir is not None
        state = checkpoints.load(self.checkpoint_dir, step, self.device)
        # The whole digest: checkpoints carried it before rules could be switched.
        if state["config_digest"] not in (self.config.digest_until(step), self.config.digest):
            raise TrainingError(
                f"resume_from = {step}: the checkpoint in {self.checkpoint_dir} belongs to another"
                f" configuration (digest {state['config_digest']}, not {self.config.digest_until(step)});"
                " resume with that one or train anew."
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.log.seconds = state["seconds"]
        self.counts.extend(c.cpu().numpy() for c in state["counts"])
        # The loop applies and records a change at exactly this step once more.
        since = max((c.step for c in self.config.balancer.schedule if c.step < step), default=0)
        self.balancer = CombinedBalancer(self.config.balancer.rules_at(step - 1), since=since)
        self.balancer.recall(state["balancer"])
        return step


def make_optimizer(model: MoETransformer, config: RunConfig) -> torch.optim.Optimizer:
    """AdamW with weight decay on matrices, not on norms. The selection bias is a buffer, in neither group."""
    training = config.training
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": training.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
        betas=(training.adam_beta1, training.adam_beta2),
        fused=True,
    )


def final_figures(counts_SLE: NDArray[np.int64], num_steps: int, evaluation: Evaluation) -> dict[str, Any]:
    """The metrics of a finished run, as `explorer.metrics` defines them.

    Load metrics are None for a model without MoE layers.
    """
    return {
        "perplexity": metrics.perplexity(evaluation.losses),
        "lm_loss": evaluation.lm_loss,
        "bits_per_byte": evaluation.bits_per_byte,
        **_load_figures(counts_SLE, num_steps, evaluation),
        "perplexity_by_domain": {d: float(np.exp(loss)) for d, loss in evaluation.losses.items()},
    }


LOAD_FIGURES = ("max_vio_batch", "max_vio_global", "worst_layer", "worst_max_vio", "effective_experts")


def _load_figures(
    counts_SLE: NDArray[np.int64], num_steps: int, evaluation: Evaluation
) -> dict[str, float | int | None]:
    if not counts_SLE.shape[1]:
        return dict.fromkeys(LOAD_FIGURES)
    held_out_LE = evaluation.counts_LE
    layer, violation = metrics.worst_layer(held_out_LE)
    return {
        "max_vio_batch": metrics.max_vio_batch(counts_SLE, num_steps),
        "max_vio_global": metrics.max_vio_global(held_out_LE),
        "worst_layer": layer,
        "worst_max_vio": violation,
        "effective_experts": float(metrics.effective_experts(held_out_LE).mean()),
    }

"""Tiny runs in memory with their initial weights, batches and final model."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tiny import make_tiny_config, make_tiny_corpus

from explorer.config.run import RunConfig
from explorer.corpus import Corpus
from explorer.model import MoETransformer
from explorer.records.records import MemoryRecorder
from explorer.training import TrainResult, loop

ARMS = (
    "none",
    "loss_free:u=0.01",
    "loss_free:u=0.01,update_rule=proportional,centred=true",
    "loss_free:bias_form=multiplicative,update_rule=rms",
    "loss_free:u=0.01,freeze_after_step=5",
    "aux_loss:coeff=0.1",
    "aux_loss:score_norm=raw",
    "aux_loss:scope=micro_batch",
    "aux_loss:scope=sequence",
    "loss_free+seq_aux",
    "loss_free+aux_loss",
    "z_loss",
)


@dataclass
class Trained:
    """One call of `train`."""

    config: RunConfig
    result: TrainResult
    recorder: MemoryRecorder
    model: MoETransformer
    initial: dict[str, torch.Tensor]
    """State before the first step."""
    batches: dict[tuple[int, int], str] = field(default_factory=dict)
    """Digest of the tokens per (step, micro-batch)."""

    def of(self, kind: type) -> list[Any]:
        return self.recorder.of(kind)

    def weights_equal(self, other: "Trained") -> bool:
        """Whether both ended with the same weights and biases, bit for bit."""
        mine, theirs = self.model.state_dict(), other.model.state_dict()
        return mine.keys() == theirs.keys() and all(torch.equal(v, theirs[k]) for k, v in mine.items())


class WatchedCorpus:
    """A corpus that logs every training batch drawn from it."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus, self.seen = corpus, {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._corpus, name)

    def batch(self, **where: Any) -> Any:
        batch = self._corpus.batch(**where)
        self.seen[where["step"], where["micro_batch"]] = hashlib.sha256(batch.tokens.tobytes()).hexdigest()
        return batch


class _WatchedRun(loop._Run):
    """Keeps the initial state."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.initial = {name: value.clone() for name, value in self.model.state_dict().items()}


def train_tiny(
    balancer: str = "none",
    *,
    stop_after: int | None = None,
    checkpoint_dir: Path | None = None,
    resume_from: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
    **changes: Any,
) -> Trained:
    """Train `make_tiny_config(balancer, **changes)`, as `explorer.training.train` does."""
    config = make_tiny_config(balancer, **changes)
    recorder, corpus = MemoryRecorder(), WatchedCorpus(make_tiny_corpus())
    done = [resume_from or 0]

    def count(step: int, total: int) -> None:
        done[0] = step
        if on_step:
            on_step(step, total)

    with loop.quiet_cpu(1):
        run = _WatchedRun(
            config,
            recorder,
            lambda: stop_after is not None and done[0] >= stop_after,
            corpus,
            checkpoint_dir,
            count,
        )
        result = run.run(resume_from)
    return Trained(config, result, recorder, run.model, run.initial, corpus.seen)


trained = cache(train_tiny)
"""For tests that only look: the same arguments are trained once per process."""


def plain(value: Any) -> Any:
    """Comparable with ==: arrays become nested lists of exact values with their type."""
    if isinstance(value, np.ndarray):
        return (str(value.dtype), value.tolist())
    return value


def rows(run: Trained, kind: type = object) -> list[dict[str, Any]]:
    """Every record as a plain table row, without the clock."""
    result = []
    for record in run.of(kind):
        row = {name: plain(value) for name, value in asdict(record).items() if name != "wall_time_s"}
        result.append({"table": type(record).__name__, **row})
    return result

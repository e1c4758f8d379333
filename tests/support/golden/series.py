"""The first 25 of 50 steps of one strategy on synthetic text: CPU, float32, one thread.

PYTHONPATH=tests/support .venv/bin/python -m golden.series [NAME …]

Writes these strategies' series to series.json anew, and any that is missing; without a name, all.
"""

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tiny import make_tiny_config, make_tiny_corpus

from explorer.config.strategies import STRATEGIES
from explorer.records.records import LoadRecord, MemoryRecorder, StepRecord
from explorer.training import train

FILE = Path(__file__).with_name("series.json")
STEPS = 25
PLANNED_STEPS = 50
"""Length of the learning-rate schedule."""


def series(name: str) -> dict[str, Any]:
    """What a strategy's run looks like: language loss of every step, loads and biases of some."""
    # Evaluations do not affect training (P16).
    base = make_tiny_config(
        "none",
        num_experts=8,
        num_steps=PLANNED_STEPS,
        gradient_accumulation_steps=2,
        micro_batch_size=4,
        eval_interval=PLANNED_STEPS,
    )
    recorder = MemoryRecorder()
    train(
        STRATEGIES[name].config(base),
        recorder,
        should_stop=lambda: len(recorder.of(StepRecord)) == STEPS,
        corpus=make_tiny_corpus(),
    )
    loads = {r.step: r for r in recorder.of(LoadRecord)}
    dropped = [r.dropped_tokens_LE for r in loads.values() if r.dropped_tokens_LE is not None]
    last = loads.get(STEPS - 1)
    return {
        "lm_loss": [round(r.lm_loss, 6) for r in recorder.of(StepRecord)],
        "tokens": {str(s): loads[s].tokens_LE.tolist() for s in (0, 1, 2, 24) if s in loads},
        "dropped": int(np.sum(dropped)) if dropped else None,
        "expert_bias": None
        if last is None or last.expert_bias_LE is None
        else np.round(last.expert_bias_LE.astype(float), 5).tolist(),
    }


def renewed(kept: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The series of every strategy: as kept, except for these names and for those that are missing."""
    return {name: series(name) if name in names or name not in kept else kept[name] for name in STRATEGIES}


if __name__ == "__main__":
    series_by_name = renewed(json.loads(FILE.read_text(encoding="utf-8")), sys.argv[1:] or STRATEGIES)
    FILE.write_text(json.dumps(series_by_name, indent=0) + "\n", encoding="utf-8")

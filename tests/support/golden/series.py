"""Fifty steps of one strategy on made text: CPU, float32, one thread.

python -m golden.series     (in tests/support/; writes series.json anew after a change that is meant)
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from tiny import make_tiny_config, make_tiny_corpus

from explorer.config.strategies import STRATEGIES
from explorer.records.records import LoadRecord, MemoryRecorder, StepRecord
from explorer.training import train

FILE = Path(__file__).with_name("series.json")
STEPS = 50


def series(name: str) -> dict[str, Any]:
    """What a strategy's run looks like: language loss of every step, loads and biases of some."""
    base = make_tiny_config(
        "none", num_experts=8, num_steps=STEPS, gradient_accumulation_steps=2, micro_batch_size=4
    )
    recorder = MemoryRecorder()
    train(STRATEGIES[name].config(base), recorder, corpus=make_tiny_corpus())
    loads = {r.step: r for r in recorder.of(LoadRecord)}
    dropped = [r.dropped_tokens_LE for r in loads.values() if r.dropped_tokens_LE is not None]
    last = loads.get(STEPS - 1)
    return {
        "lm_loss": [round(r.lm_loss, 6) for r in recorder.of(StepRecord)],
        "tokens": {str(s): loads[s].tokens_LE.tolist() for s in (0, 1, 2, 24, 49) if s in loads},
        "dropped": int(np.sum(dropped)) if dropped else None,
        "expert_bias": None
        if last is None or last.expert_bias_LE is None
        else np.round(last.expert_bias_LE.astype(float), 5).tolist(),
    }


if __name__ == "__main__":
    FILE.write_text(
        json.dumps({name: series(name) for name in STRATEGIES}, indent=0) + "\n", encoding="utf-8"
    )

"""Trains several arms in one `torchrun` of four processes; rank 0 writes what it recorded.

torchrun --nproc-per-node 4 ranks_worker.py OUT ARM...
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from switch_requests import ScheduledSwitches
from tiny import make_tiny_config, make_tiny_corpus

from explorer.config.presets import arm_config
from explorer.records.records import (
    LoadRecord,
    MemoryRecorder,
    RankLoadRecord,
    SequenceLoadRecord,
    StepRecord,
)
from explorer.training import loop
from explorer.training.ranks import process_group

SWITCHES = {3: "loss_free:u=0.01", 5: "aux_loss:scope=global_buffered", 6: "aux_loss:coeff=0.1"}


def made(arm: str, micro_batches: int, ranks, *, stop_after: int | None = None, switch: dict = {}) -> dict:  # noqa: B006
    """One arm with 16 sequences a step, in so many micro-batches; what the recorder of this rank kept.

    `switch`: step -> rules that are asked for on the way, on the first rank.
    """
    base = make_tiny_config(
        num_steps=8,
        gradient_accumulation_steps=micro_batches,
        micro_batch_size=16 // micro_batches,
        eval_interval=100,
        sequence_load_interval=1,
    )
    config = arm_config(base, arm)
    built = []
    build = loop.build_model
    loop.build_model = lambda *sizes: built.append(build(*sizes)) or built[-1]
    recorder, polls = MemoryRecorder(), []

    def should_stop() -> bool:
        # Only the last rank says so; all of them must hear it.
        polls.append(1)
        return stop_after is not None and ranks.rank == ranks.size - 1 and len(polls) > stop_after

    switches = ScheduledSwitches(switch if ranks.is_first else {})
    try:
        result = loop.train(
            config,
            recorder,
            should_stop,
            corpus=make_tiny_corpus(),
            ranks=ranks,
            switches=switches,
            on_step=switches.on_step,
        )
    finally:
        loop.build_model = build
    sequences = [r for r in recorder.of(SequenceLoadRecord) if r.split == "train"]
    return {
        "steps": result.last_step,
        "balancer": str(result.config.balancer),
        "answers": switches.answers,
        "tokens": torch.from_numpy(np.stack([r.tokens_LE for r in recorder.of(LoadRecord)])),
        "loss": [r.lm_loss for r in recorder.of(StepRecord)],
        "by_rank": [torch.from_numpy(r.tokens_RLE) for r in recorder.of(RankLoadRecord)],
        "by_sequence": sum(r.tokens_BLE.sum(0) for r in sequences),
        "micro_batches": sorted({r.micro_batch for r in sequences}),
        "state": built[0].state_dict(),
    }


def main() -> None:
    out, arms = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    with process_group(torch.device("cpu")) as ranks:
        results = {arm: made(arm, 4, ranks) for arm in arms}
        results["stopped"] = made("none", 4, ranks, stop_after=3)
        results["switched"] = made("none", 4, ranks, switch=SWITCHES)
        states = ranks.collect([results[arms[-1]]["state"]])
        balancers = ranks.collect([results["switched"]["balancer"]])
        if ranks.is_first:
            results["states"], results["balancers"] = states, balancers
            torch.save(results, out)


if __name__ == "__main__":
    main()

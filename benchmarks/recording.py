"""Cost of recording relative to a training step. Goal: at most 2 %, and 1 % of a large model's step.

    python -m benchmarks.recording [--preset standard] [--steps 150]
    python -m benchmarks.recording --loop [--steps 200]

A training run with a recorder that writes a run folder; the total time spent in the recorder's methods is
divided by the time of the steps themselves. `--loop`: `Recorder.log` at 61 layers of
256 experts in a loop whose steps take 50 ms, and the processor time of the recorder's threads beside it.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from explorer.config.presets import get_preset
from explorer.corpus import load_corpus
from explorer.recording import Recorder, run_info_from_config
from explorer.recording.run_writer import RunWriter
from explorer.training import train

LAYERS, EXPERTS, TOP_K, TOKENS = 61, 256, 8, 65_536
STEP_MS = 50.0


class Timed:
    """Forward every call and sum the time spent."""

    def __init__(self, recorder: Any) -> None:
        self._recorder, self.seconds = recorder, 0.0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._recorder, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        return call


def loop_cost(num_steps: int) -> None:
    """One line per form in which a loop has its counts."""
    rng = np.random.default_rng(0)
    counts = rng.multinomial(TOKENS * TOP_K, [1 / EXPERTS] * EXPERTS, size=LAYERS)
    bias = rng.normal(size=(LAYERS, EXPERTS)).astype(np.float32)
    forms = {
        "numpy arrays [L, E]": (counts, bias),
        "tensors [L, E]": (torch.from_numpy(counts), torch.from_numpy(bias)),
        "lists of L tensors": (list(torch.from_numpy(counts)), list(torch.from_numpy(bias))),
        "lists of L arrays": (list(counts), list(bias)),
    }
    print(f"{LAYERS} layers, {EXPERTS} experts, counts and biases of every step; goal {STEP_MS / 100:.2f} ms")
    for name, (given, biases) in forms.items():
        seconds, own = [], []
        with tempfile.TemporaryDirectory() as folder:
            sizes = {"num_layers": LAYERS, "num_experts": EXPERTS, "top_k": TOP_K}
            with Recorder(folder, report_every_s=None, **sizes) as recorder:
                threads = time.process_time() - time.thread_time()
                for step in range(num_steps):
                    start, begun = time.perf_counter(), time.thread_time()
                    recorder.log(step, tokens_per_expert=given, expert_bias=biases, lm_loss=2.5)
                    own.append(time.thread_time() - begun)
                    seconds.append(time.perf_counter() - start)
                    time.sleep(STEP_MS / 1e3)
                threads = time.process_time() - time.thread_time() - threads
        median, mean = statistics.median(seconds) * 1e3, statistics.mean(seconds) * 1e3
        print(
            f"{name:22} log: median {median:.3f} ms, mean {mean:.3f} ms, {mean / STEP_MS:.2%} of a step; "
            f"processor time of the loop's thread {statistics.mean(own) * 1e3:.3f} ms; "
            f"other threads {threads / num_steps * 1e3:.2f} ms of processor time; lost {recorder.num_lost}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--loop", action="store_true", help="the cost of Recorder.log in a foreign loop")
    options = parser.parse_args()
    if options.loop:
        loop_cost(options.steps)
        return
    config = get_preset(options.preset)
    config = replace(config, training=replace(config.training, num_steps=options.steps))
    config = config.with_setting("balancer", "loss_free")
    corpus = load_corpus(config.corpus)
    with tempfile.TemporaryDirectory() as folder:
        info = run_info_from_config(config, run_id="benchmark")
        with RunWriter.create(Path(folder), info) as recorder:
            timed = Timed(recorder)
            result = train(config, timed, corpus=corpus)
            during = timed.seconds
            recorder.finish("finished")
    step_ms = result.wall_time_s / options.steps * 1e3
    print(
        f"step {step_ms:.1f} ms, recording {during / options.steps * 1e3:.3f} ms: "
        f"{during / result.wall_time_s:.2%} of the step time; goal 2 %"
    )


if __name__ == "__main__":
    main()

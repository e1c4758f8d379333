"""Step time of each strategy relative to `none`. Goal: at most 5 % more.

    python -m benchmarks.balancers [--preset standard] [--rounds 15]

Whole optimizer steps of our own loop (forward, backward, clipping, AdamW, update, the step's records),
on one thread. Every strategy alternates with its own `none`; the result is the ratio. `top-p`, capacity and
the other routings compute a different number of assignments than `none`, so their ratio is not the cost of
balancing alone; the dense control has no router.
"""

import argparse
import statistics
from collections.abc import Callable

from benchmarks.side_by_side import ratio, time_in_turn
from explorer.config.presets import get_preset
from explorer.config.run import RunConfig
from explorer.config.strategies import STRATEGIES
from explorer.corpus import Corpus, load_corpus
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.records.records import NullRecorder
from explorer.training.devices import pick_device, quiet_cpu
from explorer.training.loop import make_optimizer
from explorer.training.step import train_step
from explorer.training.step_log import record_step


def stepper(config: RunConfig, corpus: Corpus) -> Callable[[], object]:
    """One optimizer step per call, on the tokens of consecutive steps."""
    training = config.training
    model = build_model(config.model, corpus.vocab_size, training.sequence_length, training.seed)
    model.to(pick_device("cpu"))
    balancer = CombinedBalancer(config.balancer.rules)
    model.reset_bias(balancer.neutral_bias)
    optimizer = make_optimizer(model, config)
    # Skips sampled steps (every 10th for loads by sequence, every 25th for gradients): 1, 2, ….
    steps = iter(step for step in range(10**6) if step % 5)

    def step() -> None:
        log = train_step(model, optimizer, balancer, config, corpus, next(steps), training.learning_rate)
        record_step(log, NullRecorder())

    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    base = get_preset(options.preset)
    corpus = load_corpus(base.corpus)
    # Each with its own `none`: on a busy machine only adjacent measurements are comparable.
    with quiet_cpu(1):
        for name, strategy in STRATEGIES.items():
            config = strategy.config(base, options.preset)
            pair = {"none": stepper(base, corpus), name: stepper(config, corpus)}
            if name == "none":
                pair = {"none": stepper(base, corpus), "none, again": stepper(base, corpus)}
            control, values = time_in_turn(pair, options.rounds).values()
            batches = config.training.tokens_per_step / base.training.tokens_per_step
            per_step = [value / batches for value in values]
            print(
                f"{name:<30}{statistics.median(per_step) * 1e3:8.1f} ms per step   "
                f"{ratio(per_step, control)} × none",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""How much the buffered global-batch auxiliary loss differs from the global-batch one, by accumulation steps.

    python -m benchmarks.buffered_scope [--preset quick] [--train-steps 0,100] [--steps 20]

With `scope=global_buffered` a micro-batch takes f from the micro-batches of its step so far; with
`global_batch` from all of them. The table compares their router gradients, on the same weights and the same
tokens of one step, split into 1, 2, 4 ... micro-batches. `per step`: relative difference
‖g - g_global‖ / ‖g_global‖, mean over the steps; `lasting`: the same for gradients summed over the steps,
the part that does not average out at fixed weights. The micro-batch and sequence scopes are listed for
comparison. No goal: this measures how two losses differ.
"""

import argparse
from dataclasses import replace

from explorer.config.presets import get_preset
from explorer.config.run import BalancerConfig
from explorer.corpus import load_corpus
from explorer.model import build_model
from explorer.model.balancers import CombinedBalancer
from explorer.training.devices import quiet_cpu
from explorer.training.gradients import scope_differences
from explorer.training.loop import make_optimizer
from explorer.training.schedules import learning_rate
from explorer.training.step import train_step

SHOWN = ("global_buffered", "micro_batch", "sequence")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--balancer", default="aux_loss", help="balancer that trains the model first")
    parser.add_argument("--train-steps", default="0,100", help="numbers of training steps before measuring")
    parser.add_argument("--steps", type=int, default=20, help="batches to measure on")
    options = parser.parse_args()
    base = get_preset(options.preset)
    config = replace(base, balancer=BalancerConfig.parse(options.balancer))
    corpus = load_corpus(config.corpus)
    with quiet_cpu(1):
        model = build_model(config.model, corpus.vocab_size, config.training.sequence_length, seed=0)
        optimizer, balancer = make_optimizer(model, config), CombinedBalancer(config.balancer.rules)
        done = 0
        for wanted in sorted(int(text) for text in options.train_steps.split(",")):
            while done < wanted:
                rate = learning_rate(config.training, done)
                train_step(model, optimizer, balancer, config, corpus, done, rate)
                done += 1
            print(f"\n{options.preset}, after {done} steps of {options.balancer}, {options.steps} batches")
            print(f"{'micro-batches':>13} {'scope':>16} {'per step':>10} {'cosine':>8} {'lasting':>8}")
            accumulation = 1
            while accumulation <= config.training.micro_batch_size:
                measured = range(10_000, 10_000 + options.steps)
                found = scope_differences(model, config, corpus, accumulation, measured)
                for scope in SHOWN:
                    d = found[scope]
                    numbers = f"{d.relative:>10.3f} {d.cosine:>8.3f} {d.lasting:>8.3f}"
                    print(f"{accumulation:>13} {scope:>16} {numbers}", flush=True)
                accumulation *= 2


if __name__ == "__main__":
    main()

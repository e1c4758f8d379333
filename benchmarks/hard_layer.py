"""Balancing rules on an easy and on a hard simulated layer: the table of docs/experiments.md.

    python -m benchmarks.hard_layer [--steps 800] [--seeds 0,1,2]

N = 32, K = 4, T = 2,048. MaxVio in the second half of every run: mean, 99th percentile and maximum over all
steps and seeds. `steps to balance`, per seed: updates until the mean of the following steps is below 1.5
times the random-routing baseline. No goal.
"""

import argparse

import numpy as np

from explorer.metrics import uniform_reference
from explorer.simulate import summary
from explorer.simulate.dynamics import simulate
from explorer.simulate.settings import RuleSettings, ScoreSettings

SIZES = {"num_experts": 32, "top_k": 4, "num_tokens": 2048}
LAYERS: dict[str, dict[str, float]] = {
    "easy": {"skew": 1.0, "noise": 1.0},
    # Tokens of a domain have similar scores and come in sequences, and the offsets rotate: loads jump.
    "hard": {
        "skew": 2.0,
        "noise": 0.3,
        "domains": 16,
        "domain_skew": 1.0,
        "sequence_tokens": 32,
        "drift": 2.0,
    },
}
RULES = (("sign", 0.001), ("sign", 0.01), ("rms", 0.01), ("proportional", 0.01), ("quantile", 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args()
    seeds = [int(text) for text in options.seeds.split(",")]
    print(f"random routing: {uniform_reference(32, 4, 2048)[0]:.2g}")
    for layer, settings in LAYERS.items():
        print(f"\n{layer}: {', '.join(f'{name} = {value:g}' for name, value in settings.items())}")
        for rule, rate in RULES:
            runs = [
                simulate(
                    ScoreSettings(**SIZES, **settings, seed=seed),  # type: ignore[arg-type]
                    RuleSettings(rule=rule, rate=rate),
                    steps=options.steps,
                )
                for seed in seeds
            ]
            late = np.concatenate([run.max_vio[options.steps // 2 :] for run in runs])
            balanced = [summary.steps_to_balance(run) for run in runs]
            print(
                f"  {rule}, {rate:g}: {late.mean():.3f} / {np.percentile(late, 99):.2f} / {late.max():.2f}"
                f"   steps to balance: {', '.join('never' if n is None else str(n) for n in balanced)}",
                flush=True,
            )


if __name__ == "__main__":
    main()

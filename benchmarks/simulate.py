"""Cost of a simulation. Goals for 1,000 steps: 200 ms at N = 16, T = 512; 1 s at N = 64, T = 2,048.

    OMP_NUM_THREADS=1 python -m benchmarks.simulate [--rounds 7] [--steps 1000]

The sizes alternate within one process. "rule changed": the pool of scores exists, as when a slider of a rule
is moved. "scores changed": scores and the selection without bias are recomputed, as when the skew changes.
Reports processor time, which a busy machine affects less, and wall time.
"""

import argparse
import statistics
import time
from collections.abc import Callable

from explorer.simulate import RuleSettings, ScoreSettings, simulate
from explorer.simulate.assignment import lp_optimum
from explorer.simulate.descent import descend
from explorer.simulate.scores import Scores

SIZES = {
    "N=16 T=512 K=2": {"num_experts": 16, "num_tokens": 512, "top_k": 2},
    "N=64 T=2048 K=2": {"num_experts": 64, "num_tokens": 2048, "top_k": 2},
    "N=64 T=2048 K=6": {"num_experts": 64, "num_tokens": 2048, "top_k": 6},
}
GOALS_MS = {"N=16 T=512 K=2": 200, "N=64 T=2048 K=2": 1000, "N=64 T=2048 K=6": 1000}


def _cases(steps: int) -> dict[str, Callable[[], object]]:
    cases: dict[str, Callable[[], object]] = {}
    for size, numbers in SIZES.items():
        still = Scores(ScoreSettings(**numbers))
        moving = Scores(ScoreSettings(**numbers, drift=0.25))

        def rule_moved(source: Scores = still, rule: str = "sign") -> object:
            return simulate(source.settings, RuleSettings(rule=rule), steps=steps, source=source)

        def scores_moved(settings: ScoreSettings = still.settings) -> object:
            return simulate(settings, RuleSettings(), steps=steps, source=Scores(settings))

        cases[f"{size}, rule changed"] = rule_moved
        cases[f"{size}, scores changed"] = scores_moved
        cases[f"{size}, drifting"] = lambda source=moving: rule_moved(source)
        cases[f"{size}, auxiliary loss"] = lambda source=still: rule_moved(source, "aux_loss")
    frozen = ScoreSettings(num_experts=8, top_k=1, num_tokens=256, source="frozen")
    source = Scores(frozen)
    table = source.of(source.weights, source.offset(0)).astype("float64")
    cases["theory: linear program, 256 tokens, 8 experts"] = lambda: lp_optimum(table, 1)
    cases["theory: 200 descent steps, recorded"] = lambda: descend(table, 1, RuleSettings(rate=5e-3), 200)
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1000)
    options = parser.parse_args()
    for name, (cpu, wall) in _measure(_cases(options.steps), options.rounds).items():
        goal = GOALS_MS.get(name.partition(",")[0])
        aim = f"  goal {goal} ms" if goal and options.steps == 1000 else ""
        print(f"{name:46} processor {_ms(cpu)} (best {_ms([min(cpu)])}), wall {_ms(wall)}{aim}")


def _measure(
    cases: dict[str, Callable[[], object]], rounds: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Processor and wall seconds, A B C A B C …; the first round is discarded."""
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in cases}
    for turn in range(rounds + 1):
        for name, case in cases.items():
            wall, cpu = time.perf_counter(), time.process_time()
            case()
            if turn:
                found[name][0].append(time.process_time() - cpu)
                found[name][1].append(time.perf_counter() - wall)
    return found


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:6.0f} ms"


if __name__ == "__main__":
    main()

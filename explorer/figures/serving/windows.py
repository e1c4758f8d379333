"""Windows of a run's loads: consecutive steps, or the held-out texts of the last evaluation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from explorer.figures.arms import Run
from explorer.figures.store import Store, Trace
from explorer.queries import serving as queries
from explorer.queries.serving import LoadBatches
from explorer.wording import domain_name

HELD_OUT = "held-out"
"""Beginning of the key of a window of held-out text; alone, all domains together."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The loads of one window in R batches."""

    key: str
    label: str
    """For legends and sentences, e.g. `steps 600–799`."""
    tokens: NDArray[np.int64]
    """[R, L, E] assignments."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """[L, E] assignments of the whole window."""
        return np.asarray(self.tokens.sum(0))


@dataclass(frozen=True, kw_only=True)
class WindowPair:
    """Which windows a view shows: its steps cut into `number`, the one that plans and the one that judges."""

    number: int
    plan: str
    """Key of window A, in the first run."""
    judge: str
    """Key of window B, in the last run (the same one, or another of the same shape)."""


def windows(trace: Trace, run: Run, number: int) -> dict[str, Window]:
    """Key -> window of a run, in the order of time: "1" … the number of windows, then held-out texts."""
    steps = trace.ask(queries.load_batches, run, run.num_moe_layers * run.num_experts)
    cut = [_of_steps(str(i + 1), steps, part) for i, part in enumerate(_parts(len(steps), number))]
    held_out = trace.ask(queries.held_out_batches, run)
    return {window.key: window for window in (*cut, *_of_texts(held_out))}


def labels_of(store: Store, run: Run, number: int) -> dict[str, str]:
    """Key -> label of these windows."""
    return {key: window.label for key, window in windows(Trace(store), run, number).items()}


def _parts(batches: int, number: int) -> list[NDArray[np.int64]]:
    """Indices of the batches of each window: equally many, as far as they divide."""
    return [part for part in np.array_split(np.arange(batches), number) if len(part)]


def _of_steps(key: str, steps: LoadBatches, part: NDArray[np.int64]) -> Window:
    first, last = int(steps.first_steps[part[0]]), int(steps.last_steps[part[-1]])
    label = f"step {first}" if first == last else f"steps {first}–{last}"
    return Window(key=key, label=label, tokens=steps.tokens[part])


def _of_texts(held_out: dict[str, LoadBatches]) -> list[Window]:
    """All held-out text together, then each domain where there are several."""
    if not held_out:
        return []
    together = np.concatenate([batches.tokens for batches in held_out.values()])
    parts = [Window(key=HELD_OUT, label="held-out text", tokens=together)]
    if len(held_out) > 1:
        parts += [
            Window(key=f"{HELD_OUT} {domain}", label=f"held-out {domain_name(domain)}", tokens=batches.tokens)
            for domain, batches in held_out.items()
        ]
    return parts


def pair_of(trace: Trace, runs: Sequence[Run], pair: WindowPair) -> tuple[Window, Window]:
    """Windows A and B; B is of the last run. Labels name the runs where there are two."""
    plan_run, judge_run = runs[0], runs[-1]
    plan = windows(trace, plan_run, pair.number)[pair.plan]
    judge = windows(trace, judge_run, pair.number)[pair.judge]
    if plan_run == judge_run:
        return plan, judge
    names = [name_of(plan_run), name_of(judge_run)]
    if names[0] == names[1]:
        names = [plan_run.run_id, judge_run.run_id]
    return _named(plan_run, names[0], plan), _named(judge_run, names[1], judge)


def _named(run: Run, name: str, window: Window) -> Window:
    """The window under its run's name; alone where the run is one snapshot."""
    label = name if run.last_step == 0 else f"{name}, {window.label}"
    return Window(key=window.key, label=label, tokens=window.tokens)


def has_seen(runs: Sequence[Run], plan: Window, judge: Window) -> bool:
    """Whether window A holds the loads of window B: the same one, or all held-out texts and one of them."""
    if runs[0].run_id != runs[-1].run_id:
        return False
    return plan.key == judge.key or (plan.key == HELD_OUT and judge.key.startswith(f"{HELD_OUT} "))


def name_of(run: Run) -> str:
    """A run's given name, else its rule and seed, else its id."""
    if run.title:
        return run.title
    return run.run_id if run.seed is None else f"{run.short}, seed {run.seed}"


def phase_of(run: Run) -> str:
    """`prefill`, `decode` … as an imported trace states it; empty for other runs."""
    phase = _import_details(run).get("phase")
    return phase if isinstance(phase, str) and phase != "unknown" else ""


def has_counts(run: Run) -> bool:
    """Whether the loads are counts; shares do not say how many tokens are behind them."""
    return not str(_import_details(run).get("unit", "")).startswith("shares")


def _import_details(run: Run) -> Mapping[str, Any]:
    """What an import noted in the run's configuration; empty for a run of our own."""
    try:
        details = json.loads(run.config)["import"]
    except (ValueError, KeyError, TypeError):
        return {}
    return details if isinstance(details, dict) else {}


def fits(run: Run, other: Run) -> bool:
    """Whether a placement planned for `run` can serve `other`: same MoE layers and experts."""
    return (
        other.has_loads
        and list(run.layers) == list(other.layers)
        and run.num_experts == other.num_experts
        and other.experts_per_layer is None
    )

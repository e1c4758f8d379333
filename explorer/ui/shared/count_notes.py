"""One sentence on a run whose counts do not add up to K × tokens."""

from collections.abc import Sequence

import streamlit as st

from explorer.figures.arms import Run
from explorer.metrics.sums import CountSums
from explorer.queries import sums as queries
from explorer.ui.shared import store
from explorer.ui.shared.plain import plain
from explorer.wording import listed


def show_notes(runs: Sequence[tuple[str, Run]]) -> None:
    """A warning per run that needs one; runs: name in the sentence, run."""
    for name, run in runs:
        for sentence in sentences(run):
            st.warning(plain(f"{name}: {sentence}" if name else sentence), icon=":material/calculate:")


def sentences(run: Run) -> list[str]:
    """What is wrong with the sums of a run's counts; empty where nothing is."""
    if not run.has_loads:
        return []
    sums, shared = store.ask(queries.count_sums, run), store.ask(queries.shared_expert, run)
    parts = [] if sums is None else [off_sentence(sums, run)]
    if shared is not None:
        parts.append(
            f"Expert {shared} receives every token in every layer: it is a shared expert counted as "
            "a routed one. Exclude it from the counts; otherwise it distorts MaxVio and every other metric."
        )
    return parts


def off_sentence(sums: CountSums, run: Run) -> str:
    """The ratio, its numbers and the likely cause."""
    where = "" if sums.all_layers else f" of layer{'s' * (len(sums.layers) > 1)} {listed(sums.layers)}"
    cause = f", as if {sums.cause}" if sums.cause else ""
    return (
        f"The counts{where} add up to {sums.ratio:.3g} × K × tokens ({sums.counted:,} instead of "
        f"{sums.promised:,} at step {sums.step:,}){cause}. The random-routing baseline is that of the "
        "tokens that were counted."
    )
